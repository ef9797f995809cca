/* The descriptor set of kinds.proto. */
#ifndef POSWARD_TESTS_SUPPORT_KINDS_H
#define POSWARD_TESTS_SUPPORT_KINDS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t kinds_descriptor_set[];
extern const size_t kinds_descriptor_set_len;

#endif
