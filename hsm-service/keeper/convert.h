/* Messages to what p11 takes, and back. Each refusal is ERR_INPUT and names the field as the .proto does.
 *
 * Results borrow from the message. No token is touched here. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_CONVERT_H
#define POSWARD_HSM_SERVICE_KEEPER_CONVERT_H

#include "p11/flow/flows.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "posward/hsm/v1/keys.pb-c.h"

/* A suite that must be given. */
enum err_code convert_suite(Posward__Types__V1__Suite suite, enum tok_suite *out_suite,
                            struct err *e) MUST_CHECK;
/* `field` is the name of the KeyRef in its message: "key", "source". */
enum err_code convert_key_ref(const Posward__Hsm__V1__KeyRef *ref, const char *field,
                              struct tok_key_ref *out_ref, struct err *e) MUST_CHECK;
enum err_code convert_psam_number(const char *psam_number, struct err *e) MUST_CHECK;
/* 12 to 19 digits; never repeats one in the note. */
enum err_code convert_pan(const char *pan, struct err *e) MUST_CHECK;
/* 1..255, or 0 where `newest_allowed`. */
enum err_code convert_version(uint32_t version, const char *field, bool newest_allowed,
                              struct err *e) MUST_CHECK;
/* 1, which 0 means too, or 2, which AES suites have. */
enum err_code convert_wrap_version(uint32_t version, enum tok_suite suite, unsigned *out_version,
                                   struct err *e) MUST_CHECK;
enum err_code convert_usage(Posward__Types__V1__KeyUsage usage, enum tok_usage *out_usage,
                            struct err *e) MUST_CHECK;
const char *convert_usage_name(enum tok_usage usage); /* "PIK" */
enum err_code convert_mac_algorithm(Posward__Hsm__V1__MacAlgorithm algorithm, enum tok_mac *out_algorithm,
                                    size_t *out_mac_bytes, struct err *e) MUST_CHECK;
/* As the .proto names it, without the prefix: "X9_19". */
const char *convert_mac_name(enum tok_mac algorithm);
enum err_code convert_pin_format(Posward__Hsm__V1__PinFormat format, const char *field,
                                 enum tok_pin_format *out_format, struct err *e) MUST_CHECK;
/* Unspecified is ECB. */
enum err_code convert_cipher(Posward__Hsm__V1__CipherMode mode, enum tok_cipher *out_mode,
                             struct err *e) MUST_CHECK;
/* Unspecified is AES. */
enum err_code convert_profile(Posward__Hsm__V1__CardProfile profile, enum tok_card_profile *out_profile,
                              struct err *e) MUST_CHECK;
/* A field of least..most bytes. */
enum err_code convert_length(size_t len, const char *field, size_t least, size_t most,
                             struct err *e) MUST_CHECK;

/* `field` as in convert_key_ref. Version 0 stays, for who knows what it means; all else fits together. */
enum err_code convert_key_name(const Posward__Hsm__V1__KeyName *key, const char *field,
                               struct tok_key_name *out_name, struct err *e) MUST_CHECK;

Posward__Hsm__V1__KeyState convert_state_back(enum tok_key_state state);
Posward__Types__V1__Grade convert_grade(enum tok_grade grade);
Posward__Types__V1__KeyUsage convert_usage_back(enum tok_usage usage);
/* The one that promises less. */
Posward__Types__V1__Grade convert_weaker(Posward__Types__V1__Grade a, Posward__Types__V1__Grade b);

#endif
