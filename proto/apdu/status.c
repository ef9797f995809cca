#include "apdu/status.h"

#include <stddef.h>

struct sw_row {
    uint16_t sw, mask;
    const char *text;
};

static const struct sw_row rows[] = {
    {SW_OK, 0xFFFF, "done"},
    {SW_MORE, 0xFF00, "done, more data to fetch"},
    {SW_TRIES_LEFT, 0xFFF0, "refused, a few tries are left"},
    {SW_MEMORY, 0xFFFF, "the card could not write its memory"},
    {SW_WRONG_LENGTH, 0xFFFF, "wrong length"},
    {SW_NO_LOGICAL_CHANNEL, 0xFFFF, "not allowed in this state"},
    {SW_SECURITY_STATUS, 0xFFFF, "security status not satisfied"},
    {SW_AUTH_BLOCKED, 0xFFFF, "key blocked"},
    {SW_CONDITIONS, 0xFFFF, "conditions of use not satisfied: a challenge or an init is missing"},
    {SW_BAD_SM_DATA, 0xFFFF, "secure messaging data wrong"},
    {SW_BAD_DATA, 0xFFFF, "wrong data"},
    {SW_FILE_NOT_FOUND, 0xFFFF, "file not found"},
    {SW_NO_SPACE, 0xFFFF, "no space"},
    {SW_BAD_P1P2, 0xFFFF, "wrong P1 or P2"},
    {SW_BAD_OFFSET, 0xFFFF, "offset outside the file"},
    {SW_EXACT_LENGTH, 0xFF00, "wrong Le"},
    {SW_BAD_INS, 0xFFFF, "unknown command"},
    {SW_BAD_CLA, 0xFFFF, "unknown command class"},
    {SW_MAC_WRONG, 0xFFFF, "MAC or check value wrong"},
    {SW_LOCKED, 0xFFFF, "control key locked after three wrong MACs"},
    {SW_KEY_NOT_FOUND, 0xFFFF, "key not found"},
    {SW_KEY_UNUSABLE, 0xFFFF, "key cannot be used for this"},
};

const char *apdu_sw_text(uint16_t sw)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((sw & rows[i].mask) == rows[i].sw)
            return rows[i].text;
    }
    return "unknown status";
}
