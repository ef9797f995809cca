/* The descriptor set of echo.proto. */
#ifndef POSWARD_TESTS_SUPPORT_ECHO_DESCRIPTORS_H
#define POSWARD_TESTS_SUPPORT_ECHO_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t posward_test_descriptor_set[];
extern const size_t posward_test_descriptor_set_len;

#endif
