/* A tap on the PKCS#11 boundary of a whole process: a module that decorates another one, forwards every call
 * and appends each byte that crosses, in both directions, to POSWARD_TAP_DIR/tap.<pid>. The module to
 * decorate is named by POSWARD_TAP_MODULE; keepers inherit both through keepers.environment.
 *
 * A record is a header of 32 bytes - length of the data (4, host order), function name (27, NUL-padded),
 * direction
 * ('i' into the token, 'o' out of it) - and the data. A function that the tap does not know ends the process:
 * what is not recorded must not be used. Any thread. */
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum direction { INTO = 'i', OUT_OF = 'o' };

struct header {
    uint32_t len;
    char function[27];
    char direction;
};
_Static_assert(sizeof(struct header) == 32, "tests/support/leaks.py reads 32 bytes");

static CK_FUNCTION_LIST *real, tapped;
static int tape = -1;

static void fail(const char *what)
{
    fprintf(stderr, "tap: %s\n", what);
    abort();
}

static void record(const char *function, enum direction direction, const void *bytes, CK_ULONG len)
{
    if (bytes == NULL || len == 0)
        return;
    struct header header = {.len = (uint32_t)len, .direction = (char)direction};
    snprintf(header.function, sizeof header.function, "%s", function);
    const struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)bytes, len}};
    if (writev(tape, parts, 2) !=
        (ssize_t)(sizeof header + len)) /* O_APPEND: records of threads do not mix */
        fail("cannot write the tape");
}

static CK_RV record_out(const char *function, CK_RV rv, const void *bytes, const CK_ULONG *len)
{
    if (rv == CKR_OK && len != NULL)
        record(function, OUT_OF, bytes, *len);
    return rv;
}

static void record_rows(const char *function, enum direction direction, const CK_ATTRIBUTE *rows,
                        CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (rows[i].ulValueLen != CK_UNAVAILABLE_INFORMATION)
            record(function, direction, rows[i].pValue, rows[i].ulValueLen);
    }
}

/* Parameters that point to further bytes; all others hold theirs. */
static void record_mechanism(const char *function, const CK_MECHANISM *mechanism)
{
    if (mechanism == NULL)
        return;
    record(function, INTO, mechanism->pParameter, mechanism->ulParameterLen);
    switch (mechanism->mechanism) {
    case CKM_DES3_ECB_ENCRYPT_DATA:
    case CKM_AES_ECB_ENCRYPT_DATA:
    case CKM_CONCATENATE_DATA_AND_BASE:
    case CKM_CONCATENATE_BASE_AND_DATA:
    case CKM_XOR_BASE_AND_DATA: {
        const CK_KEY_DERIVATION_STRING_DATA *data = mechanism->pParameter;
        record(function, INTO, data->pData, data->ulLen);
        break;
    }
    case CKM_RSA_PKCS_OAEP: {
        const CK_RSA_PKCS_OAEP_PARAMS *oaep = mechanism->pParameter;
        record(function, INTO, oaep->pSourceData, oaep->ulSourceDataLen);
        break;
    }
    case CKM_DES3_CBC_ENCRYPT_DATA:
    case CKM_AES_CBC_ENCRYPT_DATA:
    case CKM_ECDH1_DERIVE:
    case CKM_AES_GCM:
        fail("a mechanism whose parameter the tap cannot follow");
        break;
    default:
        break;
    }
}

/* ---- functions of the same form ---- */

#define SESSION CK_SESSION_HANDLE s

#define TAP_WHOLE(name)                                                                                      \
    static CK_RV tap_##name(SESSION, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)             \
    {                                                                                                        \
        record(#name, INTO, in, len);                                                                        \
        return record_out(#name, real->name(s, in, len, out, out_len), out, out_len);                        \
    }
#define TAP_LAST(name)                                                                                       \
    static CK_RV tap_##name(SESSION, CK_BYTE *out, CK_ULONG *out_len)                                        \
    {                                                                                                        \
        return record_out(#name, real->name(s, out, out_len), out, out_len);                                 \
    }
#define TAP_PART(name)                                                                                       \
    static CK_RV tap_##name(SESSION, CK_BYTE *in, CK_ULONG len)                                              \
    {                                                                                                        \
        record(#name, INTO, in, len);                                                                        \
        return real->name(s, in, len);                                                                       \
    }
#define TAP_INIT(name)                                                                                       \
    static CK_RV tap_##name(SESSION, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)                          \
    {                                                                                                        \
        record_mechanism(#name, mechanism);                                                                  \
        return real->name(s, mechanism, key);                                                                \
    }
#define WHOLE(row)                                                                                           \
    row(C_Encrypt) row(C_Decrypt) row(C_Sign) row(C_Digest) row(C_EncryptUpdate) row(C_DecryptUpdate)
#define LAST(row) row(C_EncryptFinal) row(C_DecryptFinal) row(C_SignFinal) row(C_DigestFinal)
#define PART(row)                                                                                            \
    row(C_SignUpdate) row(C_DigestUpdate) row(C_VerifyUpdate) row(C_VerifyFinal) row(C_SeedRandom)
#define INIT(row) row(C_EncryptInit) row(C_DecryptInit) row(C_SignInit) row(C_VerifyInit)
#define OTHER(row)                                                                                           \
    row(C_DigestInit) row(C_Verify) row(C_Login) row(C_CreateObject) row(C_CopyObject)                       \
        row(C_GetAttributeValue) row(C_SetAttributeValue) row(C_FindObjectsInit) row(C_GenerateKey)          \
            row(C_GenerateKeyPair) row(C_WrapKey) row(C_UnwrapKey) row(C_DeriveKey) row(C_GenerateRandom)
/* Handles, counts and descriptions only. */
#define PLAIN(row)                                                                                           \
    row(C_Initialize) row(C_Finalize) row(C_GetInfo) row(C_GetSlotList) row(C_GetSlotInfo)                   \
        row(C_GetTokenInfo) row(C_GetMechanismList) row(C_GetMechanismInfo) row(C_OpenSession)               \
            row(C_CloseSession) row(C_CloseAllSessions) row(C_GetSessionInfo) row(C_Logout)                  \
                row(C_DestroyObject) row(C_GetObjectSize) row(C_FindObjects) row(C_FindObjectsFinal)         \
                    row(C_DigestKey)

WHOLE(TAP_WHOLE)
LAST(TAP_LAST)
PART(TAP_PART)
INIT(TAP_INIT)

/* ---- the others ---- */

static CK_RV tap_C_DigestInit(SESSION, CK_MECHANISM *mechanism)
{
    record_mechanism("C_DigestInit", mechanism);
    return real->C_DigestInit(s, mechanism);
}

static CK_RV tap_C_Verify(SESSION, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG signature_len)
{
    record("C_Verify", INTO, data, len);
    record("C_Verify", INTO, signature, signature_len);
    return real->C_Verify(s, data, len, signature, signature_len);
}

static CK_RV tap_C_Login(SESSION, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
    record("C_Login", INTO, pin, len);
    return real->C_Login(s, user, pin, len);
}

static CK_RV tap_C_CreateObject(SESSION, CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    record_rows("C_CreateObject", INTO, rows, count);
    return real->C_CreateObject(s, rows, count, out_object);
}

static CK_RV tap_C_CopyObject(SESSION, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows, CK_ULONG count,
                              CK_OBJECT_HANDLE *out_object)
{
    record_rows("C_CopyObject", INTO, rows, count);
    return real->C_CopyObject(s, object, rows, count, out_object);
}

static CK_RV tap_C_GetAttributeValue(SESSION, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows, CK_ULONG count)
{
    const CK_RV rv = real->C_GetAttributeValue(s, object, rows, count);
    if (rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        record_rows("C_GetAttributeValue", OUT_OF, rows, count);
    return rv;
}

static CK_RV tap_C_SetAttributeValue(SESSION, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows, CK_ULONG count)
{
    record_rows("C_SetAttributeValue", INTO, rows, count);
    return real->C_SetAttributeValue(s, object, rows, count);
}

static CK_RV tap_C_FindObjectsInit(SESSION, CK_ATTRIBUTE *rows, CK_ULONG count)
{
    record_rows("C_FindObjectsInit", INTO, rows, count);
    return real->C_FindObjectsInit(s, rows, count);
}

static CK_RV tap_C_GenerateKey(SESSION, CK_MECHANISM *mechanism, CK_ATTRIBUTE *rows, CK_ULONG count,
                               CK_OBJECT_HANDLE *out_key)
{
    record_mechanism("C_GenerateKey", mechanism);
    record_rows("C_GenerateKey", INTO, rows, count);
    return real->C_GenerateKey(s, mechanism, rows, count, out_key);
}

static CK_RV tap_C_GenerateKeyPair(SESSION, CK_MECHANISM *mechanism, CK_ATTRIBUTE *open, CK_ULONG open_count,
                                   CK_ATTRIBUTE *closed, CK_ULONG closed_count, CK_OBJECT_HANDLE *out_open,
                                   CK_OBJECT_HANDLE *out_closed)
{
    record_mechanism("C_GenerateKeyPair", mechanism);
    record_rows("C_GenerateKeyPair", INTO, open, open_count);
    record_rows("C_GenerateKeyPair", INTO, closed, closed_count);
    return real->C_GenerateKeyPair(s, mechanism, open, open_count, closed, closed_count, out_open,
                                   out_closed);
}

static CK_RV tap_C_WrapKey(SESSION, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE wrapped,
                           CK_BYTE *out, CK_ULONG *out_len)
{
    record_mechanism("C_WrapKey", mechanism);
    return record_out("C_WrapKey", real->C_WrapKey(s, mechanism, key, wrapped, out, out_len), out, out_len);
}

static CK_RV tap_C_UnwrapKey(SESSION, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_BYTE *wrapped,
                             CK_ULONG len, CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_key)
{
    record_mechanism("C_UnwrapKey", mechanism);
    record("C_UnwrapKey", INTO, wrapped, len);
    record_rows("C_UnwrapKey", INTO, rows, count);
    return real->C_UnwrapKey(s, mechanism, key, wrapped, len, rows, count, out_key);
}

static CK_RV tap_C_DeriveKey(SESSION, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_ATTRIBUTE *rows,
                             CK_ULONG count, CK_OBJECT_HANDLE *out_key)
{
    record_mechanism("C_DeriveKey", mechanism);
    record_rows("C_DeriveKey", INTO, rows, count);
    return real->C_DeriveKey(s, mechanism, key, rows, count, out_key);
}

static CK_RV tap_C_GenerateRandom(SESSION, CK_BYTE *out, CK_ULONG len)
{
    return record_out("C_GenerateRandom", real->C_GenerateRandom(s, out, len), out, &len);
}

/* ---- the module ---- */

static CK_RV unknown(void)
{
    fail("the tap does not know the function that was called; add it to tests/support/tap_module.c");
    return CKR_GENERAL_ERROR;
}

static void open_tape(void)
{
    const char *dir = getenv("POSWARD_TAP_DIR");
    char path[4096];
    if (dir == NULL)
        fail("POSWARD_TAP_DIR is not set");
    snprintf(path, sizeof path, "%s/tap.%ld", dir, (long)getpid());
    tape = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (tape < 0)
        fail("cannot make the tape");
}

static void load_real(void)
{
    const char *path = getenv("POSWARD_TAP_MODULE");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    CK_C_GetFunctionList get_list = NULL;
    if (library != NULL)
        *(void **)&get_list = dlsym(library, "C_GetFunctionList");
    if (get_list == NULL || get_list(&real) != CKR_OK)
        fail("POSWARD_TAP_MODULE names no PKCS#11 module");
}

static void fill(void)
{
    /* Every slot of the list is a function pointer after the version. */
    CK_RV (**slots)(void) = (CK_RV(**)(void))(void *)&tapped.C_Initialize;
    const size_t count = (sizeof tapped - offsetof(CK_FUNCTION_LIST, C_Initialize)) / sizeof *slots;
    for (size_t i = 0; i < count; i++)
        slots[i] = unknown;
    tapped.version = real->version;
#define TAPPED(name)    tapped.name = tap_##name;
#define FORWARDED(name) tapped.name = real->name;
    WHOLE(TAPPED) LAST(TAPPED) PART(TAPPED) INIT(TAPPED) OTHER(TAPPED) PLAIN(FORWARDED)
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out_list)
{
    if (tape < 0) {
        load_real();
        open_tape();
        fill();
    }
    *out_list = &tapped;
    return CKR_OK;
}
