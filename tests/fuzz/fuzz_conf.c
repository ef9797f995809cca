/* Configuration files: any bytes are filled in or refused. */
#include "base/conf.h"

struct item {
    char *text;
    struct conf_items plain;
};

struct config {
    char *text;
    int64_t number;
    bool flag;
    struct conf_items items;
};

static const struct conf_list plain_list = {
    .rows = (const struct conf_row[]){{.key = "", .type = CONF_STRING, .offset = 0}, CONF_END},
    .item_bytes = sizeof(char *)};

static const struct conf_list item_list = {
    .rows =
        (const struct conf_row[]){
            {.key = "text", .type = CONF_STRING, .offset = offsetof(struct item, text)},
            {.key = "plain", .type = CONF_LIST, .offset = offsetof(struct item, plain), .list = &plain_list},
            CONF_END},
    .item_bytes = sizeof(struct item)};

static const struct conf_row rows[] = {
    {.key = "text", .type = CONF_STRING, .offset = offsetof(struct config, text), .fallback = "x"},
    {.key = "deep.number",
     .type = CONF_INT,
     .offset = offsetof(struct config, number),
     .least = 0,
     .most = 9},
    {.key = "deep.flag", .type = CONF_BOOL, .offset = offsetof(struct config, flag)},
    {.key = "items", .type = CONF_LIST, .offset = offsetof(struct config, items), .list = &item_list},
    CONF_END};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config = {0};
    struct err e = {0};
    if (conf_parse("fuzz", (const char *)data, size, rows, &config, &e) == ERR_OK && config.text == NULL)
        __builtin_trap();
    conf_drop(rows, &config);
    return 0;
}
