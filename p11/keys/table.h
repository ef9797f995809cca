/* Inside p11 only: the table of the token's keys, which loading fills and looking up reads. */
#ifndef POSWARD_P11_KEYS_TABLE_H
#define POSWARD_P11_KEYS_TABLE_H

#include "p11/keys/find.h"
#include "p11/keys/role.h"
#include "p11/keys/state.h"
#include "p11/module/state.h"

struct tok_key_entry {
    struct tok_key_info info; /* state and times as the newest stamp says */
    struct tok_key_record record;
    unsigned generation; /* of that stamp; 0: none was found */
    CK_OBJECT_HANDLE handle, left;
    CK_OBJECT_HANDLE copy, left_copy; /* session objects of the holder, 0 where the token refuses to copy */
};

struct tok_keys {
    size_t count;
    struct tok_key_entry entries[];
};

#endif
