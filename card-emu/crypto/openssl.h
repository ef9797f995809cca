/* libcrypto's headers, kept apart from base/err.h: both have a name ERR_STATE, and the type of libcrypto is
 * not used here. */
#ifndef POSWARD_CARD_EMU_CRYPTO_OPENSSL_H
#define POSWARD_CARD_EMU_CRYPTO_OPENSSL_H

#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/core_names.h>
#include <openssl/evp.h>
#undef ERR_STATE

#endif
