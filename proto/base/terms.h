/* Limits of the numbers that every part of the system names. The one place for them. */
#ifndef POSWARD_BASE_TERMS_H
#define POSWARD_BASE_TERMS_H

/* A card number (PAN), check digit included: ISO/IEC 7812-1. */
#define PAN_DIGITS_MIN 12
#define PAN_DIGITS_MAX 19

/* The number of a PSAM card; the rightmost 16 digits are the TDES diversification factor. */
#define PSAM_DIGITS_MIN 16
#define PSAM_DIGITS_MAX 20

/* Of a key, from 1: it has one byte in blobs and device tables. */
#define KEY_VERSION_MAX 255

#endif
