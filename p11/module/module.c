#include "p11/module/state.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum err_code tok_module_load(const char *path, CK_FUNCTION_LIST **out_fn, struct err *e)
{
    /* Never unloaded: vendors' modules leave threads and exit handlers behind, and crash when their code is
     * gone. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL)
        return err_set(e, ERR_NOT_FOUND, "cannot load the PKCS#11 module: %s", dlerror());
    CK_C_GetFunctionList get_list;
    *(void **)&get_list = dlsym(library, "C_GetFunctionList");
    if (get_list == NULL)
        return err_set(e, ERR_INPUT, "%s is no PKCS#11 module: it has no C_GetFunctionList", path);
    CK_FUNCTION_LIST *fn = NULL;
    TRY(tok_rv(get_list(&fn), "C_GetFunctionList", e));
    /* The list has not changed since v2.01, and what a module claims for it says little: openCryptoki 3.8.1
     * has 2.1 here and 2.20 in C_GetInfo. */
    if (fn == NULL || fn->version.major != 2 || fn->version.minor < 1)
        return err_set(e, ERR_UNSUPPORTED, "%s does not speak PKCS#11 v2.01 to v2.40", path);
    *out_fn = fn;
    return ERR_OK;
}

/* NSS takes a string where the standard has pReserved, and then reads one more pointer, which must be NULL.
 */
struct init_args {
    CK_C_INITIALIZE_ARGS standard;
    void *after;
};

enum err_code tok_module_initialize(CK_FUNCTION_LIST *fn, const char *init_string, struct err *e)
{
    struct init_args args = {.standard.flags = CKF_OS_LOCKING_OK,
                             .standard.pReserved = (void *)(uintptr_t)init_string};
    return tok_rv(fn->C_Initialize(&args), "C_Initialize", e);
}

/* Fields of PKCS#11 structures are padded with blanks and have no NUL. */
static void copy_padded(char *out_text, const unsigned char *field, size_t len)
{
    while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0'))
        len--;
    memcpy(out_text, field, len);
    out_text[len] = '\0';
}

static void fill_info(struct tok_info *info, const CK_TOKEN_INFO *token, const CK_INFO *library)
{
    copy_padded(info->manufacturer, token->manufacturerID, sizeof token->manufacturerID);
    copy_padded(info->model, token->model, sizeof token->model);
    copy_padded(info->serial, token->serialNumber, sizeof token->serialNumber);
    copy_padded(info->label, token->label, sizeof token->label);
    copy_padded(info->library, library->libraryDescription, sizeof library->libraryDescription);
    info->library_major = library->libraryVersion.major;
    info->library_minor = library->libraryVersion.minor;
}

static bool is_wanted(const struct tok_info *info, const struct tok_options *options)
{
    return strcmp(info->label, options->token_label) == 0 &&
           (options->token_serial == NULL || strcmp(info->serial, options->token_serial) == 0);
}

static enum err_code pick_slot(struct tok *tok, const struct tok_options *options, const CK_SLOT_ID *slots,
                               CK_ULONG count, struct err *e)
{
    CK_INFO library;
    TRY(tok_rv(tok->fn->C_GetInfo(&library), "C_GetInfo", e));
    unsigned found = 0;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO token;
        struct tok_info info;
        if (tok->fn->C_GetTokenInfo(slots[i], &token) != CKR_OK)
            continue; /* a slot of another token that is broken is no reason to fail */
        fill_info(&info, &token, &library);
        if (!is_wanted(&info, options))
            continue;
        found++;
        tok->slot = slots[i];
        tok->info = info;
    }
    if (found == 0)
        return err_set(e, ERR_NOT_FOUND, "no token with label \"%s\"%s%s in %lu slots", options->token_label,
                       options->token_serial != NULL ? " and serial " : "",
                       options->token_serial != NULL ? options->token_serial : "", count);
    if (found > 1)
        return err_set(e, ERR_STATE, "%u tokens have label \"%s\"; give the serial of one", found,
                       options->token_label);
    return ERR_OK;
}

enum err_code tok_module_find(struct tok *tok, const struct tok_options *options, struct err *e)
{
    CK_ULONG count = 0;
    TRY(tok_rv(tok->fn->C_GetSlotList(CK_TRUE, NULL, &count), "C_GetSlotList", e));
    CK_SLOT_ID *slots = calloc(count + 1, sizeof *slots);
    if (slots == NULL)
        return err_set(e, ERR_LIMIT, "no memory for %lu slots", count);
    enum err_code code = tok_rv(tok->fn->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList", e);
    if (code == ERR_OK)
        code = pick_slot(tok, options, slots, count, e);
    free(slots);
    return code;
}
