/* A PKCS#11 module that decorates another one and fails on command: one call or all, so often, in every process
 * that has loaded it. POSWARD_FAULT_MODULE names the module, POSWARD_FAULT_FILE a file of struct control that the
 * test maps too; keepers inherit both through keepers.environment. */
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum action {
    FAIL = 1, /* the call returns `rv` */
    HANG,     /* it does not return */
    DIE,      /* the process aborts */
    DROP,     /* all sessions are closed, as when the token restarts; returns CKR_SESSION_HANDLE_INVALID */
    LOGOUT,   /* the login is lost; returns CKR_USER_NOT_LOGGED_IN */
    LOSE,     /* the module has lost the token until it is initialised again; returns CKR_DEVICE_REMOVED */
    LEAK      /* a MiB stays behind */
};

/* tests/support/faults.py reads and writes it. */
struct control {
    char call[32];            /* "C_Encrypt"; "*": any but those that start or end the module */
    _Atomic uint32_t action;  /* 0: none */
    uint32_t rv;
    _Atomic int32_t times;    /* how often yet, over all processes; -1: always */
    uint32_t slot_shift;      /* added to slot numbers from the next C_Initialize on */
    uint32_t sessions_most;   /* of a process; 0: as many as the token has */
    _Atomic uint32_t away;    /* 1: there is no token */
    _Atomic uint32_t logins;  /* calls of C_Login so far */
    _Atomic uint32_t done;    /* faults so far */
    _Atomic uint64_t created; /* objects that calls made so far, over all processes */
    _Atomic uint64_t destroyed;
};

static CK_FUNCTION_LIST *real, faulty;
static struct control *control;
static CK_SLOT_ID shift;
static _Atomic bool lost; /* until C_Initialize */
static _Atomic uint32_t sessions;
static _Atomic(void *) kept; /* blocks that leaked, each with the one before in it: no sanitizer minds */

static void die(const char *what)
{
    fprintf(stderr, "fault module: %s\n", what);
    abort();
}

static bool takes_turn(const char *call)
{
    if (atomic_load(&control->action) == 0 || (control->call[0] != '*' && strcmp(control->call, call) != 0))
        return false;
    for (int32_t times = atomic_load(&control->times); times != 0;) {
        if (times < 0 || atomic_compare_exchange_weak(&control->times, &times, times - 1))
            return true;
    }
    return false;
}

static CK_RV act(CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info;
    const enum action action = (enum action)atomic_load(&control->action);
    atomic_fetch_add(&control->done, 1);
    switch (action) {
    case FAIL:
        return control->rv;
    case HANG:
        for (;;)
            pause();
    case DIE:
        abort();
    case DROP:
        if (real->C_GetSessionInfo(session, &info) == CKR_OK)
            real->C_CloseAllSessions(info.slotID);
        atomic_store(&sessions, 0);
        return CKR_SESSION_HANDLE_INVALID;
    case LOGOUT:
        real->C_Logout(session);
        return CKR_USER_NOT_LOGGED_IN;
    case LOSE:
        atomic_store(&lost, true);
        return CKR_DEVICE_REMOVED;
    case LEAK: {
        void **const block = malloc(1 << 20);
        if (block == NULL)
            return CKR_HOST_MEMORY;
        memset(block, 1, 1 << 20);
        *block = atomic_exchange(&kept, block);
        return CKR_OK;
    }
    }
    return CKR_OK;
}

/* What the call returns instead of being made; CKR_OK: it is made. */
static CK_RV enter(const char *call, CK_SESSION_HANDLE session)
{
    if (atomic_load(&control->away) != 0)
        atomic_store(&lost, true);
    if (atomic_load(&lost))
        return CKR_DEVICE_REMOVED;
    return takes_turn(call) ? act(session) : CKR_OK;
}

static CK_RV leave(const char *call, CK_RV rv)
{
    static const char *const makers[] = {"C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_DeriveKey",
                                         "C_UnwrapKey"};
    if (rv != CKR_OK)
        return rv;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(call, makers[i]) == 0)
            atomic_fetch_add(&control->created, 1);
    if (strcmp(call, "C_DestroyObject") == 0)
        atomic_fetch_add(&control->destroyed, 1);
    return rv;
}

#define H CK_SESSION_HANDLE s
#define WRAP(name, parameters, arguments)                                                                              \
    static CK_RV faulty_##name parameters                                                                              \
    {                                                                                                                  \
        const CK_RV rv = enter(#name, s);                                                                              \
        return rv != CKR_OK ? rv : leave(#name, real->name arguments);                                                 \
    }
#define CALLS(row)                                                                                                     \
    row(C_GetSessionInfo, (H, CK_SESSION_INFO * i), (s, i))                                                            \
    row(C_EncryptInit, (H, CK_MECHANISM * m, CK_OBJECT_HANDLE k), (s, m, k))                                           \
    row(C_DecryptInit, (H, CK_MECHANISM * m, CK_OBJECT_HANDLE k), (s, m, k))                                           \
    row(C_SignInit, (H, CK_MECHANISM * m, CK_OBJECT_HANDLE k), (s, m, k))                                              \
    row(C_Encrypt, (H, CK_BYTE * i, CK_ULONG n, CK_BYTE * o, CK_ULONG * l), (s, i, n, o, l))                           \
    row(C_Decrypt, (H, CK_BYTE * i, CK_ULONG n, CK_BYTE * o, CK_ULONG * l), (s, i, n, o, l))                           \
    row(C_Sign, (H, CK_BYTE * i, CK_ULONG n, CK_BYTE * o, CK_ULONG * l), (s, i, n, o, l))                              \
    row(C_GenerateRandom, (H, CK_BYTE * o, CK_ULONG n), (s, o, n))                                                     \
    row(C_GetAttributeValue, (H, CK_OBJECT_HANDLE o, CK_ATTRIBUTE * t, CK_ULONG n), (s, o, t, n))                      \
    row(C_FindObjectsInit, (H, CK_ATTRIBUTE * t, CK_ULONG n), (s, t, n))                                               \
    row(C_CreateObject, (H, CK_ATTRIBUTE * t, CK_ULONG n, CK_OBJECT_HANDLE * o), (s, t, n, o))                         \
    row(C_CopyObject, (H, CK_OBJECT_HANDLE k, CK_ATTRIBUTE * t, CK_ULONG n, CK_OBJECT_HANDLE * o), (s, k, t, n, o))    \
    row(C_DestroyObject, (H, CK_OBJECT_HANDLE o), (s, o))                                                              \
    row(C_GenerateKey, (H, CK_MECHANISM * m, CK_ATTRIBUTE * t, CK_ULONG n, CK_OBJECT_HANDLE * o), (s, m, t, n, o))     \
    row(C_DeriveKey, (H, CK_MECHANISM * m, CK_OBJECT_HANDLE k, CK_ATTRIBUTE * t, CK_ULONG n, CK_OBJECT_HANDLE * o),    \
        (s, m, k, t, n, o))                                                                                            \
    row(C_GenerateKeyPair,                                                                                             \
        (H, CK_MECHANISM * m, CK_ATTRIBUTE * t, CK_ULONG n, CK_ATTRIBUTE * u, CK_ULONG c, CK_OBJECT_HANDLE * o,        \
         CK_OBJECT_HANDLE * p),                                                                                        \
        (s, m, t, n, u, c, o, p))                                                                                      \
    row(C_WrapKey, (H, CK_MECHANISM * m, CK_OBJECT_HANDLE w, CK_OBJECT_HANDLE k, CK_BYTE * o, CK_ULONG * l),           \
        (s, m, w, k, o, l))                                                                                            \
    row(C_UnwrapKey,                                                                                                   \
        (H, CK_MECHANISM * m, CK_OBJECT_HANDLE u, CK_BYTE * i, CK_ULONG n, CK_ATTRIBUTE * t, CK_ULONG c,               \
         CK_OBJECT_HANDLE * o),                                                                                        \
        (s, m, u, i, n, t, c, o))

CALLS(WRAP)

static CK_RV faulty_C_Initialize(void *args)
{
    const CK_RV rv = real->C_Initialize(args);
    if (rv == CKR_OK) {
        atomic_store(&lost, false);
        atomic_store(&sessions, 0);
        shift = control->slot_shift;
    }
    return rv;
}

static CK_RV faulty_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    if (atomic_load(&control->away) != 0) {
        *count = 0;
        return CKR_OK;
    }
    const CK_RV rv = real->C_GetSlotList(present, slots, count);
    for (CK_ULONG i = 0; rv == CKR_OK && slots != NULL && i < *count; i++)
        slots[i] += shift;
    return rv;
}

static CK_RV faulty_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    return atomic_load(&lost) ? CKR_DEVICE_REMOVED : real->C_GetTokenInfo(slot - shift, info);
}

static CK_RV faulty_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
                                  CK_SESSION_HANDLE *out)
{
    const CK_RV fault = enter("C_OpenSession", 0);
    if (fault != CKR_OK)
        return fault;
    if (control->sessions_most != 0 && atomic_load(&sessions) >= control->sessions_most)
        return CKR_SESSION_COUNT;
    const CK_RV rv = real->C_OpenSession(slot - shift, flags, app, notify, out);
    if (rv == CKR_OK)
        atomic_fetch_add(&sessions, 1);
    return rv;
}

static CK_RV faulty_C_CloseSession(CK_SESSION_HANDLE s)
{
    const CK_RV rv = real->C_CloseSession(s);
    if (rv == CKR_OK && atomic_load(&sessions) > 0)
        atomic_fetch_sub(&sessions, 1);
    /* The end of a change of keys: it is in the token, and its answer is not sent. */
    return takes_turn("after:C_CloseSession") ? act(s) : rv;
}

static CK_RV faulty_C_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG len)
{
    atomic_fetch_add(&control->logins, 1);
    const CK_RV rv = enter("C_Login", s);
    return rv != CKR_OK ? rv : real->C_Login(s, user, pin, len);
}

static void map_control(void)
{
    const char *const path = getenv("POSWARD_FAULT_FILE");
    const int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        die("POSWARD_FAULT_FILE cannot be opened");
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (control == MAP_FAILED)
        die("POSWARD_FAULT_FILE cannot be mapped");
}

static void load_real(void)
{
    const char *const path = getenv("POSWARD_FAULT_MODULE");
    void *const library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = NULL;
    if (library == NULL)
        die("POSWARD_FAULT_MODULE cannot be loaded");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real) != CKR_OK)
        die("POSWARD_FAULT_MODULE is no PKCS#11 module");
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out_list);

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out_list)
{
    if (real == NULL) {
        map_control();
        load_real();
        faulty = *real;
#define SET(name, parameters, arguments) faulty.name = faulty_##name;
        CALLS(SET)
        faulty.C_Initialize = faulty_C_Initialize;
        faulty.C_GetSlotList = faulty_C_GetSlotList;
        faulty.C_GetTokenInfo = faulty_C_GetTokenInfo;
        faulty.C_OpenSession = faulty_C_OpenSession;
        faulty.C_CloseSession = faulty_C_CloseSession;
        faulty.C_Login = faulty_C_Login;
    }
    *out_list = &faulty;
    return CKR_OK;
}
