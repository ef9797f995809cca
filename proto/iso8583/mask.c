#include "iso8583/mask.h"

#include "base/hex.h"
#include "base/terms.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_DIGITS_MIN 13 /* a shorter one would be shown almost whole */
#define SHOWN_FIRST      6
#define SHOWN_LAST       4

enum exposure { HIDE, SHOW, MASK_PAN, MASK_TRACK };

/* Fields without a row are hidden: a new field is secret until someone has looked at it. */
static const uint8_t exposures[ISO_FIELD_LAST + 1] = {
    [2] = MASK_PAN, [3] = SHOW,  [4] = SHOW,  [11] = SHOW, [12] = SHOW, [13] = SHOW,
    [15] = SHOW,    [22] = SHOW, [25] = SHOW, [26] = SHOW, [32] = SHOW, [35] = MASK_TRACK,
    [36] = HIDE,    [37] = SHOW, [38] = SHOW, [39] = SHOW, [41] = SHOW, [42] = SHOW,
    [49] = SHOW,    [53] = SHOW, [60] = SHOW, [61] = SHOW,
};

static void mask_digits(const char *pan, size_t len, char *out_text)
{
    if (len > PAN_DIGITS_MAX || !digits_only(pan, len)) {
        memcpy(out_text, "?", 2);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        const bool shown = len >= SHOWN_DIGITS_MIN && (i < SHOWN_FIRST || i >= len - SHOWN_LAST);
        out_text[i] = shown ? pan[i] : '*';
    }
    out_text[len] = '\0';
}

void iso_mask_pan(const char *pan, char out_text[ISO_MASKED_BYTES])
{
    mask_digits(pan, strlen(pan), out_text);
}

void iso_mask_track(const char *track, char out_text[ISO_MASKED_BYTES])
{
    const size_t pan_digits = strcspn(track, "D=d");
    mask_digits(track, pan_digits, out_text);
    const size_t len = strlen(out_text);
    if (track[pan_digits] != '\0')
        snprintf(out_text + len, ISO_MASKED_BYTES - len, "=*");
}

void iso_mask_field(const struct iso_message *m, unsigned field, char out_text[ISO_MASKED_BYTES])
{
    size_t len = 0;
    const uint8_t *bytes = iso_view_bytes(m, field, &len);
    const char *text = iso_text(m, field);
    out_text[0] = '\0';
    if (bytes == NULL)
        return;
    switch (text != NULL ? (enum exposure)exposures[field] : HIDE) {
    case SHOW:
        snprintf(out_text, ISO_MASKED_BYTES, "%s", text);
        return;
    case MASK_PAN:
        iso_mask_pan(text, out_text);
        return;
    case MASK_TRACK:
        iso_mask_track(text, out_text);
        return;
    case HIDE:
        snprintf(out_text, ISO_MASKED_BYTES, "(%zu bytes)", len);
        return;
    }
}
