#include "run/cli_internal.h"

#include <ctype.h>
#include <string.h>

/* Characters that all names share, up to and with an underscore; never a whole name. */
static size_t common_prefix(const ProtobufCEnumDescriptor *d)
{
    if (d->n_values < 2)
        return 0;
    const char *const first = d->values[0].name;
    size_t len = strlen(first);
    for (unsigned i = 1; i < d->n_values; i++) {
        size_t same = 0;
        while (same < len && d->values[i].name[same] == first[same])
            same++;
        len = same;
    }
    while (len > 0 && first[len - 1] != '_')
        len--;
    return len;
}

void cli_enum_short(const ProtobufCEnumDescriptor *descriptor, const ProtobufCEnumValue *value,
                    char out_name[CLI_ENUM_BYTES])
{
    const char *const name = value->name + common_prefix(descriptor);
    size_t n = 0;
    for (; name[n] != '\0' && n < CLI_ENUM_BYTES - 1; n++)
        out_name[n] = (char)(name[n] == '_' ? '-' : tolower((unsigned char)name[n]));
    out_name[n] = '\0';
}

const ProtobufCEnumValue *cli_enum_value(const ProtobufCEnumDescriptor *descriptor, const char *name)
{
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        const ProtobufCEnumValue *const value = &descriptor->values[i];
        char shorter[CLI_ENUM_BYTES];
        cli_enum_short(descriptor, value, shorter);
        if (strcasecmp(name, shorter) == 0 || strcmp(name, value->name) == 0)
            return value;
    }
    return NULL;
}
