#include "tests/support/vectors.h"

#include "base/hex.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

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

static int opened;

int vectors_exit(int status)
{
    return status == EXIT_SUCCESS && opened == 0 ? VECTORS_SKIPPED : status;
}

bool vectors_open(struct vectors *out_vectors, const char *kind)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.json", directory(), kind);
    FILE *file = fopen(path, "r");
    if (file == NULL && (errno != ENOENT || access(directory(), R_OK | X_OK) != 0)) {
        fprintf(stderr, "vectors: %s cannot be read (is POSWARD_VECTORS an absolute path?)\n", path);
        exit(EXIT_FAILURE);
    }
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
    opened++;
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
    const json_t *value = value_of(v, index, section, name);
    ck_assert_msg(value == NULL || json_is_string(value), "%s %s: %s.%s is not a string", v->kind,
                  vectors_id(v, index), section, name);
    return json_string_value(value);
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
    const char *text = json_string_value(value);
    if (value == NULL)
        return absent;
    if (text == NULL) {
        ck_assert_msg(json_is_integer(value), "%s %s: %s.%s is not a number", v->kind, vectors_id(v, index),
                      section, name);
        return (long)json_integer_value(value);
    }
    char *end = NULL;
    const long number = strtol(text, &end, 10);
    ck_assert_msg(end != text && *end == '\0', "%s %s: %s.%s is not a number", v->kind, vectors_id(v, index),
                  section, name);
    return number;
}

void vectors_expect_only(const struct vectors *v, int index, const char *const *known)
{
    const json_t *expected = vectors_section(v, index, "expected");
    const char *name;
    json_t *value;
    ck_assert_msg(json_object_size(expected) > 0, "%s %s: nothing is expected", v->kind,
                  vectors_id(v, index));
    json_object_foreach((json_t *)(uintptr_t)expected, name, value)
    {
        bool found = false;
        for (const char *const *k = known; *k != NULL && !found; k++)
            found = strcmp(*k, name) == 0;
        ck_assert_msg(found, "%s %s: expected.%s is a key this test does not know", v->kind,
                      vectors_id(v, index), name);
    }
}

static void expect_bytes(const struct vectors *v, int index, const char *name, const uint8_t *got,
                         size_t got_len, bool whole)
{
    const char *right = vectors_text(v, index, "expected", name);
    if (right == NULL)
        return;
    char text[2 * VECTORS_BYTES_MAX + 1];
    ck_assert_uint_le(got_len, VECTORS_BYTES_MAX);
    hex_encode(got, got_len, text);
    const size_t digits = strlen(right);
    const bool fits = whole ? digits == 2 * got_len : digits > 0 && digits % 2 == 0 && digits <= 2 * got_len;
    ck_assert_msg(fits && strncasecmp(right, text, digits) == 0,
                  "%s %s: %s is " VECTORS_CUT ", expected " VECTORS_CUT, v->kind, vectors_id(v, index), name,
                  text, right);
}

void vectors_expect_left(const struct vectors *v, int index, const char *name, const uint8_t *got,
                         size_t got_len)
{
    expect_bytes(v, index, name, got, got_len, false);
}

void vectors_expect_hex(const struct vectors *v, int index, const char *name, const uint8_t *got,
                        size_t got_len)
{
    expect_bytes(v, index, name, got, got_len, true);
}

void vectors_expect_text(const struct vectors *v, int index, const char *name, const char *got)
{
    const char *right = vectors_text(v, index, "expected", name);
    ck_assert_msg(right == NULL || strcmp(right, got) == 0,
                  "%s %s: %s is " VECTORS_CUT ", expected " VECTORS_CUT, v->kind, vectors_id(v, index), name,
                  got, right);
}

bool vectors_expects(const struct vectors *v, int index, const char *name)
{
    return value_of(v, index, "expected", name) != NULL;
}
