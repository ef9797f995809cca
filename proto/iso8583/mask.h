/* What of a message may reach a log: PAN and tracks masked to the first 6 and last 4 digits, secrets as a
 * length. */
#ifndef POSWARD_ISO8583_MASK_H
#define POSWARD_ISO8583_MASK_H

#include "iso8583/message.h"

#define ISO_MASKED_BYTES 48 /* any masked value and a NUL */

/* "622575******6419"; fewer than 13 digits: all stars. Anything but digits and more than 19 characters: "?".
 */
void iso_mask_pan(const char *pan, char out_text[ISO_MASKED_BYTES]);
/* The PAN in front of the separator masked, what follows dropped: "622575******6419=*". */
void iso_mask_track(const char *track, char out_text[ISO_MASKED_BYTES]);
/* A field as it may be logged: plain, masked, or "(8 bytes)"; "" when absent. Cut to ISO_MASKED_BYTES. */
void iso_mask_field(const struct iso_message *m, unsigned field, char out_text[ISO_MASKED_BYTES]);

#endif
