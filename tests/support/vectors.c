#include "tests/support/vectors.h"

#include "base/hex.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory(void)
{
    static char path[512];
    const char *other = getenv("POSWARD_VECTORS");
    if (other != NULL && other[0] != '\0')
        return other;
    const char *source = getenv("POSWARD_SOURCE");
    snprintf(path, sizeof path, "%s/tests/vectors", source != NULL ? source : ".");
    return path;
}

bool vectors_open(struct vectors *out_vectors, const char *kind)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.json", directory(), kind);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        printf("vectors: no %s.json in %s, kind skipped\n", kind, directory());
        return false;
    }
    json_error_t why;
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &why);
    fclose(file);
    if (!json_is_array(root)) {
        fprintf(stderr, "vectors: %s is not a JSON list: line %d: %s\n", path, why.line, why.text);
        exit(EXIT_FAILURE);
    }
    *out_vectors = (struct vectors){.root = root, .kind = kind, .count = json_array_size(root)};
    return true;
}

void vectors_close(struct vectors *v)
{
    json_decref(v->root);
    *v = (struct vectors){0};
}

const char *vectors_id(const struct vectors *v, int index)
{
    const char *id = json_string_value(json_object_get(json_array_get(v->root, (size_t)index), "id"));
    return id != NULL ? id : "(no id)";
}

const json_t *vectors_section(const struct vectors *v, int index, const char *section)
{
    return json_object_get(json_array_get(v->root, (size_t)index), section);
}

static const json_t *value_of(const struct vectors *v, int index, const char *section, const char *name)
{
    return json_object_get(vectors_section(v, index, section), name);
}

const char *vectors_text(const struct vectors *v, int index, const char *section, const char *name)
{
    return json_string_value(value_of(v, index, section, name));
}

size_t vectors_hex(const struct vectors *v, int index, const char *section, const char *name, uint8_t *out,
                   size_t capacity)
{
    const char *text = vectors_text(v, index, section, name);
    if (text == NULL)
        return 0;
    const size_t digits = strlen(text);
    ck_assert_msg(digits / 2 <= capacity, "%s %s: %s is too long", v->kind, vectors_id(v, index), name);
    struct err e = {0};
    ck_assert_msg(hex_decode(text, digits, out, &e) == ERR_OK, "%s %s: %s: %s", v->kind, vectors_id(v, index),
                  name, e.note);
    return digits / 2;
}

long vectors_int(const struct vectors *v, int index, const char *section, const char *name, long absent)
{
    const json_t *value = value_of(v, index, section, name);
    return json_is_integer(value) ? (long)json_integer_value(value) : absent;
}

void vectors_expect_only(const struct vectors *v, int index, const char *const *known)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vectors_section(v, index, "expected"), name, value)
    {
        bool found = false;
        for (const char *const *k = known; *k != NULL && !found; k++)
            found = strcmp(*k, name) == 0;
        ck_assert_msg(found, "%s %s: expected.%s is a key this test does not know", v->kind,
                      vectors_id(v, index), name);
    }
}
