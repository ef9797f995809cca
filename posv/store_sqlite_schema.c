#include "posv/store_sqlite.h"

/* card_key is device_card_key(): the two partial indexes are the rule "one card a terminal, one terminal a
 * card". */
static const char *const migrations[] = {
    "CREATE TABLE table_state ("
    " only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
    " revision INTEGER NOT NULL);"
    "INSERT INTO table_state VALUES (1, 0);"
    "CREATE TABLE device ("
    " terminal_id TEXT PRIMARY KEY NOT NULL CHECK (length(terminal_id) = 8),"
    " merchant_id TEXT NOT NULL CHECK (length(merchant_id) = 15),"
    " psam_number TEXT NOT NULL,"
    " card_key TEXT UNIQUE,"
    " suite INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 3),"
    " master_version INTEGER NOT NULL CHECK (master_version BETWEEN 1 AND 255),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),"
    " revision INTEGER NOT NULL UNIQUE,"
    " created_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL,"
    " reason TEXT NOT NULL,"
    " CHECK ((state = 3) = (card_key IS NULL))"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX device_by_state ON device (state);"
    "CREATE INDEX device_by_merchant ON device (merchant_id, terminal_id);"
    "CREATE TABLE card_stay ("
    " id INTEGER PRIMARY KEY,"
    " terminal_id TEXT NOT NULL REFERENCES device (terminal_id),"
    " psam_number TEXT NOT NULL,"
    " card_key TEXT NOT NULL CHECK (length(card_key) = 20),"
    " suite INTEGER NOT NULL,"
    " master_version INTEGER NOT NULL,"
    " from_ms INTEGER NOT NULL,"
    " to_ms INTEGER,"
    " reason TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "CREATE UNIQUE INDEX one_card_a_terminal ON card_stay (terminal_id) WHERE to_ms IS NULL;"
    "CREATE UNIQUE INDEX one_terminal_a_card ON card_stay (card_key) WHERE to_ms IS NULL;"
    "CREATE INDEX card_stay_by_card ON card_stay (card_key, from_ms);",
    /* Cards of before take their working keys under the TMK: version 1. */
    "ALTER TABLE device ADD COLUMN wrap_version INTEGER NOT NULL DEFAULT 1"
    " CHECK (wrap_version BETWEEN 1 AND 2);"
    "ALTER TABLE card_stay ADD COLUMN wrap_version INTEGER NOT NULL DEFAULT 1;",
};

const struct sqlite_schema store_sqlite_schema = {
    .application_id = 0x504F5356, /* "POSV" */
    .migrations = migrations,
    .version = (int)(sizeof migrations / sizeof migrations[0]),
    .key = "store.path",
};
