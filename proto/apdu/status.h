/* Status words of PSAM cards: names for people, numbers for code. Source: ISO 7816-4, PBOC PSAM. */
#ifndef POSWARD_APDU_STATUS_H
#define POSWARD_APDU_STATUS_H

#include <stdint.h>

enum apdu_sw {
    SW_OK = 0x9000,
    SW_MORE = 0x6100,       /* low byte: bytes that GET RESPONSE fetches */
    SW_TRIES_LEFT = 0x63C0, /* low nibble: tries */
    SW_WRONG_LENGTH = 0x6700,
    SW_NO_LOGICAL_CHANNEL = 0x6900,
    SW_SECURITY_STATUS = 0x6982,
    SW_AUTH_BLOCKED = 0x6983,
    SW_CONDITIONS = 0x6985,
    SW_BAD_SM_DATA = 0x6988,
    SW_BAD_DATA = 0x6A80,
    SW_FILE_NOT_FOUND = 0x6A82,
    SW_NO_SPACE = 0x6A84,
    SW_BAD_P1P2 = 0x6A86,
    SW_BAD_OFFSET = 0x6B00,
    SW_EXACT_LENGTH = 0x6C00, /* low byte: the Le that fits */
    SW_BAD_INS = 0x6D00,
    SW_BAD_CLA = 0x6E00,
    SW_MEMORY = 0x6581, /* the card could not write */
    SW_MAC_WRONG = 0x9302,
    SW_LOCKED = 0x9303,
    SW_KEY_NOT_FOUND = 0x9403,
    SW_KEY_UNUSABLE = 0x9406
};

/* A phrase such as "MAC or check value wrong"; "unknown status" for others. */
const char *apdu_sw_text(uint16_t sw);

#endif
