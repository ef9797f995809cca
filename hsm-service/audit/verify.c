#include "hsm-service/audit/verify.h"

#include "base/secret.h"
#include "hsm-service/audit/chain.h"
#include "hsm-service/audit/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROGRESS_BYTES 4194304 /* between two tellings */

struct paths {
    char **items;
    size_t count, capacity;
};

static void paths_drop(struct paths *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->items[i]);
    free(p->items);
}

struct run {
    const struct audit_verify_options *options;
    struct audit_chain chain;
    struct audit_summary summary;
    uint8_t (*hashes)[AUDIT_HASH_BYTES]; /* of the last records, by seq */
    uint64_t done_bytes, all_bytes, told_bytes;
    bool expected_seen;
};

static enum err_code add_path(struct paths *p, const char *dir, const char *name, struct err *e)
{
    if (p->count == p->capacity) {
        const size_t capacity = 2 * p->capacity + 16;
        char **const items = realloc(p->items, capacity * sizeof *items);
        if (items == NULL)
            return err_set(e, ERR_LIMIT, "no memory to list the log's files");
        p->items = items;
        p->capacity = capacity;
    }
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", dir, dir[0] != '\0' ? "/" : "", name) < 0)
        return err_set(e, ERR_LIMIT, "no memory to list the log's files");
    p->items[p->count++] = path;
    return ERR_OK;
}

static enum err_code add_folder(struct paths *p, const char *dir, struct err *e)
{
    char **names = NULL;
    size_t count = 0;
    TRY(audit_store_list(dir, &names, &count, e));
    enum err_code code = count > 0 ? ERR_OK : err_set(e, ERR_NOT_FOUND, "%s holds no audit log", dir);
    for (size_t i = 0; i < count; i++) {
        if (code == ERR_OK)
            code = add_path(p, dir, names[i], e);
        free(names[i]);
    }
    free(names);
    return code;
}

static enum err_code expand(const struct audit_verify_options *o, struct paths *p, struct err *e)
{
    struct stat st;
    for (size_t i = 0; i < o->path_count; i++) {
        if (stat(o->paths[i], &st) != 0)
            return err_errno(e, "cannot read %s", o->paths[i]);
        if (S_ISDIR(st.st_mode))
            TRY(add_folder(p, o->paths[i], e));
        else
            TRY(add_path(p, "", o->paths[i], e));
    }
    return ERR_OK;
}

/* ---- A record in its place ---- */

static enum err_code take_checkpoint(struct run *run, const struct audit_record *r, struct err *e)
{
    struct audit_head at;
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    if (audit_checkpoint_read(r->note, &at, signature, e) != ERR_OK)
        return err_set(e, ERR_CHECK, "record %" PRIu64 " is no sound checkpoint", r->seq);
    if (at.seq >= r->seq || r->seq - at.seq > AUDIT_CHECKPOINT_LAG)
        return err_set(e, ERR_CHECK,
                       "record %" PRIu64 " signs record %" PRIu64 ", which is not just before it", r->seq,
                       at.seq);
    if (at.seq >= run->summary.first_seq &&
        !secret_equal(run->hashes[at.seq % AUDIT_CHECKPOINT_LAG], at.hash, sizeof at.hash))
        return err_set(
            e, ERR_CHECK,
            "record %" PRIu64 " is not the one that was signed: it, or one before it, was replaced", at.seq);
    if (run->options->key != NULL && audit_checkpoint_check(run->options->key, &at, signature, e) != ERR_OK)
        return err_set(e, ERR_CHECK,
                       "the signature in record %" PRIu64 " over record %" PRIu64
                       " is not by this public key",
                       r->seq, at.seq);
    run->summary.checkpoints++;
    run->summary.signed_seq = at.seq;
    return ERR_OK;
}

static enum err_code check_first(struct run *run, const struct audit_record *r, struct err *e)
{
    static const uint8_t zeros[AUDIT_HASH_BYTES];
    run->summary.first_seq = r->seq;
    run->summary.first_ms = r->time_ms;
    if (!run->options->partial && r->seq != 1)
        return err_set(e, ERR_CHECK,
                       "the log starts with record %" PRIu64 ": record 1 is missing (--partial "
                       "accepts that)",
                       r->seq);
    if (r->seq == 1 && !secret_equal(r->prev, zeros, sizeof zeros))
        return err_set(e, ERR_CHECK, "record 1 was changed: it does not start a chain");
    return ERR_OK;
}

static enum err_code take_record(struct run *run, const struct audit_record *r, struct err *e)
{
    struct audit_summary *const s = &run->summary;
    if (s->records++ == 0)
        TRY(check_first(run, r, e));
    if (r->seq == run->options->expect_seq) {
        run->expected_seen = true;
        if (run->options->expect_hash != NULL &&
            !secret_equal(r->hash, run->options->expect_hash, sizeof r->hash))
            return err_set(e, ERR_CHECK, "record %" PRIu64 " does not have the expected hash", r->seq);
    }
    if (r->kind == AUDIT_CHECKPOINT)
        TRY(take_checkpoint(run, r, e));
    memcpy(run->hashes[r->seq % AUDIT_CHECKPOINT_LAG], r->hash, sizeof r->hash);
    s->lost += r->kind == AUDIT_LOST;
    s->last_ms = r->time_ms;
    return run->options->each != NULL ? run->options->each(run->options->context, r, e) : ERR_OK;
}

/* ---- What happened where a record is not in its place ---- */

/* Whether record `wanted` stands in the rest of the file: then it was moved, not dropped. */
static bool stands_later(FILE *file, uint64_t wanted)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    bool found = false;
    while (!found && (len = audit_read_line(&line, &capacity, file)) > 0) {
        struct audit_record r;
        struct err ignored = {0};
        found = line[len - 1] == '\n' && audit_record_parse(line, (size_t)len - 1, &r, &ignored) == ERR_OK &&
                r.seq == wanted;
    }
    free(line);
    return found;
}

static enum err_code explain(struct run *run, const char *path, FILE *file, struct err *e)
{
    if (run->chain.out_of_order && stands_later(file, run->chain.wanted))
        (void)err_set(e, ERR_CHECK, "record %" PRIu64 " was moved: it stands further down",
                      run->chain.wanted);
    else if (run->chain.out_of_order)
        (void)err_context(e, "records were dropped or repeated");
    return err_context(e, "%.80s line %" PRIu64, path, run->chain.lines);
}

static enum err_code take_line(struct run *run, const char *path, FILE *file, const char *line, size_t len,
                               struct err *e)
{
    struct audit_record r;
    bool is_record = false;
    if (audit_chain_take(&run->chain, line, len, &r, &is_record, e) != ERR_OK)
        return explain(run, path, file, e);
    if (is_record && take_record(run, &r, e) != ERR_OK)
        return err_context(e, "%.80s line %" PRIu64, path, run->chain.lines);
    run->done_bytes += len + 1;
    if (run->options->progress != NULL && run->done_bytes - run->told_bytes >= PROGRESS_BYTES) {
        run->told_bytes = run->done_bytes;
        run->options->progress(run->options->context, run->done_bytes, run->all_bytes);
    }
    return ERR_OK;
}

static enum err_code take_lines(struct run *run, const char *path, FILE *file, struct err *e)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    enum err_code code = ERR_OK;
    run->chain.lines = 0;
    while (code == ERR_OK && (len = audit_read_line(&line, &capacity, file)) > 0) {
        if (len == AUDIT_READ_BYTES && line[len - 1] != '\n')
            code = err_set(e, ERR_CHECK,
                           "%.80s line %" PRIu64 ": record %" PRIu64
                           " was changed: the line is longer than any record",
                           path, run->chain.lines + 1, run->chain.head.seq + 1);
        else if (line[len - 1] != '\n')
            code = err_set(e, ERR_CHECK, "%.80s line %" PRIu64 ": the log is cut within record %" PRIu64,
                           path, run->chain.lines + 1, run->chain.head.seq + 1);
        else
            code = take_line(run, path, file, line, (size_t)len - 1, e);
    }
    free(line);
    if (code == ERR_OK && ferror(file))
        return err_errno(e, "cannot read %s", path);
    if (code == ERR_OK && audit_chain_end(&run->chain, e) != ERR_OK)
        return err_context(e, "%.80s line %" PRIu64, path, run->chain.lines);
    return code;
}

static enum err_code take_file(struct run *run, const char *path, struct err *e)
{
    FILE *const file = fopen(path, "re");
    if (file == NULL)
        return err_errno(e, "cannot read %s", path);
    const enum err_code code = take_lines(run, path, file, e);
    fclose(file);
    run->summary.files++;
    return code;
}

static enum err_code check_end(const struct run *run, struct err *e)
{
    const uint64_t expected = run->options->expect_seq;
    if (run->summary.records == 0)
        return err_set(e, ERR_CHECK, "the log is empty");
    if (expected > 0 && !run->expected_seen)
        return err_set(e, ERR_CHECK,
                       "the log is truncated: it ends with record %" PRIu64 ", not with %" PRIu64
                       " or a later one",
                       run->chain.head.seq, expected);
    return ERR_OK;
}

static enum err_code take_files(struct run *run, const struct paths *p, struct err *e)
{
    struct stat st;
    for (size_t i = 0; i < p->count; i++)
        if (stat(p->items[i], &st) == 0)
            run->all_bytes += (uint64_t)st.st_size;
    for (size_t i = 0; i < p->count; i++)
        TRY(take_file(run, p->items[i], e));
    return check_end(run, e);
}

enum err_code audit_verify(const struct audit_verify_options *options, struct audit_summary *out_summary,
                           struct err *e)
{
    AUTO(paths) paths = {0};
    TRY(expand(options, &paths, e));
    struct run run = {.options = options};
    run.hashes = calloc(AUDIT_CHECKPOINT_LAG, sizeof *run.hashes);
    if (run.hashes == NULL)
        return err_set(e, ERR_LIMIT, "no memory to verify a log");
    const enum err_code code = take_files(&run, &paths, e);
    free(run.hashes);
    TRY(code);
    run.summary.head = run.chain.head;
    run.summary.torn = run.chain.torn;
    *out_summary = run.summary;
    return ERR_OK;
}
