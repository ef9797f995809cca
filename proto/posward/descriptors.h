/* The embedded FileDescriptorSet of every .proto that CMakeLists.txt here names, imports included: for
 * reflection and for what protobuf-c's own descriptors leave out (stream markers). Generated at build time.
 */
#ifndef POSWARD_POSWARD_DESCRIPTORS_H
#define POSWARD_POSWARD_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t posward_descriptor_set[];
extern const size_t posward_descriptor_set_len;

#endif
