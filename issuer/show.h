/* What a card tells about itself, for people and as JSON. One thread. */
#ifndef POSWARD_ISSUER_SHOW_H
#define POSWARD_ISSUER_SHOW_H

#include "apdu/link.h"

#include <jansson.h>
#include <stdio.h>

/* Number, files and keys of a powered card; a file or key that it lacks is left out. A new reference. */
enum err_code show_read(struct card_link *card, json_t **out_json, struct err *e) MUST_CHECK;
void show_print(const json_t *json, FILE *out);

#endif
