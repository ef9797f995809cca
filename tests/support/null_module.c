/* The module of null_token.h. */
#include "tests/support/null_token.h"

#include <stdlib.h>
#include <string.h>

#define SESSIONS 64
#define OBJECTS  4096 /* lengths of that many session objects are remembered */
#define EXPORT   __attribute__((visibility("default")))

EXPORT struct null_token_control null_token;

static bool open_sessions[SESSIONS + 1];
static CK_ULONG next_find, object_count;
static CK_ULONG find_end; /* of the class that is looked for */
static bool oaep;         /* what is deciphered next */
static CK_ULONG lengths[OBJECTS];

static const char *const labels[] = {"posward/psam-master/tdes/1",      "posward/psam-master/aes-256/1",
                                     "posward/card-control/tdes/1",     "posward/card-control/aes-256/1",
                                     "posward/storage/aes-256/1",       "posward/blob-tag/aes-256/1",
                                     "posward/zone-pin/bank/tdes/1",    "posward/zone-pin/bank/aes-128/1",
                                     "posward/zone-mac/bank/tdes/1",    "posward/zone-mac/bank/aes-128/1",
                                     "posward/zone-data/bank/tdes/1",   "posward/zone-data/bank/aes-128/1",
                                     "posward/zone-master/bank/tdes/1", "posward/zone-master/bank/aes-256/1",
                                     "posward/transport/rsa-3072/1",    "posward/component/rsa-3072/1"};
#define LABELS  (sizeof labels / sizeof labels[0])
#define SECRETS (LABELS - 2) /* the last two are private keys */
#define MODULUS 384

/* ---- failing on demand ---- */

static CK_RV enter(const char *call, CK_SESSION_HANDLE session)
{
    const bool named = null_token.call != NULL && strcmp(call, null_token.call) == 0;
    null_token.made += named;
    if (named && null_token.times > 0) {
        null_token.times--;
        if (null_token.ends_sessions)
            memset(open_sessions, 0, sizeof open_sessions);
        return null_token.rv;
    }
    return session <= SESSIONS && open_sessions[session] ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

#define ENTER(call, session)                                                                                 \
    do {                                                                                                     \
        const CK_RV rv_ = enter((call), (session));                                                          \
        if (rv_ != CKR_OK)                                                                                   \
            return rv_;                                                                                      \
    } while (0)

/* ---- sessions ---- */

static CK_RV initialize(void *args)
{
    (void)args;
    return CKR_OK;
}

static CK_RV get_info(CK_INFO *out_info)
{
    memset(out_info, 0, sizeof *out_info);
    return CKR_OK;
}

static CK_RV slot_list(CK_BBOOL with_token, CK_SLOT_ID *out_slots, CK_ULONG *out_count)
{
    (void)with_token;
    if (out_slots != NULL)
        out_slots[0] = 1;
    *out_count = 1;
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *out_info)
{
    (void)slot;
    memset(out_info, 0, sizeof *out_info);
    out_info->flags = null_token.token_flags;
    memset(out_info->label, ' ', sizeof out_info->label);
    memcpy(out_info->label, "null", 4);
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *out_session)
{
    (void)slot;
    (void)flags;
    (void)application;
    (void)notify;
    for (CK_SESSION_HANDLE s = 1; s <= SESSIONS; s++) {
        if (open_sessions[s])
            continue;
        open_sessions[s] = true;
        *out_session = s;
        return CKR_OK;
    }
    return CKR_SESSION_COUNT;
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    ENTER("C_CloseSession", s);
    open_sessions[s] = false;
    return CKR_OK;
}

static CK_RV session_info(CK_SESSION_HANDLE s, CK_SESSION_INFO *out_info)
{
    ENTER("C_GetSessionInfo", s);
    *out_info = (CK_SESSION_INFO){.slotID = 1, .state = CKS_RO_USER_FUNCTIONS};
    return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
    (void)user;
    (void)pin;
    (void)len;
    ENTER("C_Login", s);
    return CKR_OK;
}

static CK_RV logout(CK_SESSION_HANDLE s)
{
    ENTER("C_Logout", s);
    return CKR_OK;
}

/* ---- objects ---- */

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *rows, CK_ULONG count)
{
    ENTER("C_FindObjectsInit", s);
    next_find = find_end = 0;
    for (CK_ULONG i = 0; i < count; i++) {
        const CK_ULONG class = rows[i].type == CKA_CLASS ? *(const CK_ULONG *)rows[i].pValue : CKO_DATA;
        if (class == CKO_SECRET_KEY)
            find_end = SECRETS;
        if (class == CKO_PRIVATE_KEY) {
            next_find = SECRETS;
            find_end = LABELS;
        }
    }
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out_found, CK_ULONG most, CK_ULONG *out_count)
{
    ENTER("C_FindObjects", s);
    CK_ULONG count = 0;
    for (; count < most && next_find < find_end; next_find++)
        out_found[count++] = next_find + 1;
    *out_count = count;
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    ENTER("C_FindObjectsFinal", s);
    return CKR_OK;
}

static CK_RV give(CK_ATTRIBUTE *row, const char *prefix, const char *text)
{
    const size_t first = strlen(prefix), second = strlen(text);
    if (first + second > row->ulValueLen)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(row->pValue, prefix, first);
    memcpy((char *)row->pValue + first, text, second);
    row->ulValueLen = first + second;
    return CKR_OK;
}

static CK_RV attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *row, CK_ULONG count)
{
    ENTER("C_GetAttributeValue", s);
    if (object < 1 || object > LABELS || count != 1)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (row->type == CKA_LABEL)
        return give(row, "", labels[object - 1]);
    if (row->type == CKA_ID)
        return give(row, "000000/000000/", labels[object - 1]);
    if (row->type == CKA_MODULUS || row->type == CKA_PUBLIC_EXPONENT) {
        row->ulValueLen = row->type == CKA_MODULUS ? MODULUS : 3;
        memset(row->pValue, row->type == CKA_MODULUS ? 0xA5 : 0x25, row->ulValueLen);
        return CKR_OK;
    }
    *(CK_BBOOL *)row->pValue = row->type == CKA_PRIVATE || row->type == CKA_SENSITIVE;
    return CKR_OK;
}

static CK_RV make(CK_ULONG len, CK_OBJECT_HANDLE *out_object)
{
    lengths[object_count % OBJECTS] = len;
    *out_object = 1 + LABELS + object_count++;
    return CKR_OK;
}

static CK_ULONG length_of(CK_OBJECT_HANDLE object)
{
    return object > LABELS ? lengths[(object - LABELS - 1) % OBJECTS] : 32;
}

/* What RSA-OAEP gives has the length that the first byte says. */
static CK_ULONG oaep_length(const CK_BYTE *cipher)
{
    return cipher[0] % 64;
}

/* Of the value that a template asks for. */
static CK_ULONG wanted(const CK_ATTRIBUTE *rows, CK_ULONG count)
{
    CK_ULONG len = 16;
    for (CK_ULONG i = 0; i < count; i++) {
        if (rows[i].type == CKA_VALUE_LEN)
            len = *(const CK_ULONG *)rows[i].pValue;
        if (rows[i].type == CKA_VALUE)
            len = rows[i].ulValueLen;
    }
    return len;
}

static CK_RV create(CK_SESSION_HANDLE s, CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    ENTER("C_CreateObject", s);
    return make(wanted(rows, count), out_object);
}

static CK_RV copy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows, CK_ULONG count,
                  CK_OBJECT_HANDLE *out_object)
{
    (void)object;
    (void)rows;
    (void)count;
    (void)out_object;
    ENTER("C_CopyObject", s);
    return CKR_ACTION_PROHIBITED;
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
    (void)object;
    ENTER("C_DestroyObject", s);
    return CKR_OK;
}

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_ATTRIBUTE *rows, CK_ULONG count,
                      CK_OBJECT_HANDLE *out_object)
{
    (void)mechanism;
    ENTER("C_GenerateKey", s);
    return make(wanted(rows, count), out_object);
}

static CK_RV derive(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *rows,
                    CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    (void)mechanism;
    (void)base;
    ENTER("C_DeriveKey", s);
    return make(wanted(rows, count), out_object);
}

static CK_RV wrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE object,
                  CK_BYTE *out, CK_ULONG *out_len)
{
    (void)key;
    ENTER("C_WrapKey", s);
    const CK_ULONG len = length_of(object) + (mechanism->mechanism == CKM_AES_KEY_WRAP ? 8 : 0);
    if (len > *out_len)
        return CKR_BUFFER_TOO_SMALL;
    memset(out, 0, len);
    *out_len = len;
    return CKR_OK;
}

static CK_RV unwrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_BYTE *wrapped,
                    CK_ULONG len, CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    (void)key;
    (void)rows;
    (void)count;
    ENTER("C_UnwrapKey", s);
    CK_BYTE sum = 0;
    for (CK_ULONG i = 0; i < len; i++) /* all of it can be read */
        sum ^= wrapped[i];
    (void)sum;
    if (mechanism->mechanism == CKM_RSA_PKCS_OAEP)
        return make(oaep_length(wrapped), out_object);
    return make(mechanism->mechanism == CKM_AES_KEY_WRAP ? len - 8 : len, out_object);
}

/* ---- data ---- */

static CK_RV begin(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    (void)key;
    ENTER("Init", s);
    oaep = mechanism->mechanism == CKM_RSA_PKCS_OAEP;
    return CKR_OK;
}

static CK_RV encrypt(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    ENTER("C_Encrypt", s);
    if (*out_len < len)
        return CKR_BUFFER_TOO_SMALL;
    memmove(out, data, len);
    *out_len = len;
    return CKR_OK;
}

static CK_RV decrypt(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    ENTER("C_Decrypt", s);
    if (oaep)
        len = oaep_length(data);
    if (*out_len < len)
        return CKR_BUFFER_TOO_SMALL;
    memmove(out, data, len);
    *out_len = len;
    return CKR_OK;
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    ENTER("C_Sign", s);
    CK_BYTE sum = 0;
    for (CK_ULONG i = 0; i < len; i++)
        sum ^= data[i];
    (void)sum;
    const CK_ULONG most = *out_len < 16 ? *out_len : 16;
    memset(out, 0, most);
    *out_len = most;
    return CKR_OK;
}

static CK_RV generate_random(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    ENTER("C_GenerateRandom", s);
    memset(out, 0x5A, len);
    return CKR_OK;
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out_list)
{
    static CK_FUNCTION_LIST list = {.version = {2, 40},
                                    .C_Initialize = initialize,
                                    .C_Finalize = initialize,
                                    .C_GetInfo = get_info,
                                    .C_GetSlotList = slot_list,
                                    .C_GetTokenInfo = token_info,
                                    .C_OpenSession = open_session,
                                    .C_CloseSession = close_session,
                                    .C_GetSessionInfo = session_info,
                                    .C_Login = login,
                                    .C_Logout = logout,
                                    .C_FindObjectsInit = find_init,
                                    .C_FindObjects = find,
                                    .C_FindObjectsFinal = find_final,
                                    .C_GetAttributeValue = attributes,
                                    .C_CreateObject = create,
                                    .C_CopyObject = copy,
                                    .C_DestroyObject = destroy,
                                    .C_GenerateKey = generate,
                                    .C_DeriveKey = derive,
                                    .C_WrapKey = wrap,
                                    .C_UnwrapKey = unwrap,
                                    .C_EncryptInit = begin,
                                    .C_Encrypt = encrypt,
                                    .C_DecryptInit = begin,
                                    .C_Decrypt = decrypt,
                                    .C_SignInit = begin,
                                    .C_Sign = sign,
                                    .C_GenerateRandom = generate_random};
    *out_list = &list;
    return CKR_OK;
}
