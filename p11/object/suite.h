/* How a key enciphers. */
#ifndef POSWARD_P11_OBJECT_SUITE_H
#define POSWARD_P11_OBJECT_SUITE_H

/* For a card: how its TMK does; working keys of both AES suites are AES-128. EC_P256 is the audit key's only:
 * it signs. RSA_3072 is for what travels to the token. */
enum tok_suite { TOK_TDES = 1, TOK_AES_128 = 2, TOK_AES_256 = 3, TOK_EC_P256 = 4, TOK_RSA_3072 = 5 };

#endif
