/* posward-psam: makes, shows and serves an emulated PSAM card. */
#include "apdu/psam.h"
#include "base/hex.h"
#include "base/log.h"
#include "card-emu/options/options.h"
#include "card-emu/psam/chip.h"
#include "card-emu/psam/maker.h"
#include "card-emu/psam/serve.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { EXIT_USAGE = 2 };

struct psam_options {
    const char *card, *psam_number, *terminal_number, *listen, *connect;
    struct option_list control_tdes, control_aes;
};

#define ROW_CARD                                                                                             \
    {                                                                                                        \
        .name = "card", .value = "FILE", .offset = offsetof(struct psam_options, card), .required = true,    \
        .help = "The card file."                                                                             \
    }

static const struct option_row new_rows[] = {
    ROW_CARD,
    {.name = "psam-number",
     .value = "N",
     .offset = offsetof(struct psam_options, psam_number),
     .required = true,
     .help = "Serial number of the card, 16 to 20 digits."},
    {.name = "control-tdes",
     .value = "FILE",
     .type = OPTION_LIST,
     .offset = offsetof(struct psam_options, control_tdes),
     .help = "Components of the TDES card-control master: 32 hex digits, mode 0400 or 0600."},
    {.name = "control-aes",
     .value = "FILE",
     .type = OPTION_LIST,
     .offset = offsetof(struct psam_options, control_aes),
     .help = "Components of the AES-256 card-control master: 64 hex digits, mode 0400 or 0600."},
    {.name = "terminal-number",
     .value = "HEX",
     .offset = offsetof(struct psam_options, terminal_number),
     .help = "EF 0016, 12 hex digits."},
    {0},
};

static const struct option_row serve_rows[] = {
    ROW_CARD,
    {.name = "listen",
     .value = "HOST:PORT",
     .offset = offsetof(struct psam_options, listen),
     .help = "Wait there for a reader, 127.0.0.1:7900 unless --connect is given."},
    {.name = "connect",
     .value = "HOST:PORT",
     .offset = offsetof(struct psam_options, connect),
     .help = "Be a card in a virtual reader (vpcd) there."},
    {0},
};

static const struct option_row show_rows[] = {ROW_CARD, {0}};

static enum err_code run_new(const struct psam_options *o, struct err *e)
{
    const struct card_order order = {.psam_number = o->psam_number,
                                     .terminal_number = o->terminal_number,
                                     .tdes_files = &o->control_tdes,
                                     .aes_files = &o->control_aes};
    AUTO(chip_image) image = {0};
    TRY(maker_make(&order, &image, e));
    TRY(chip_file_save(o->card, &image, true, e));
    printf("card %s made: PSAM number %s\n", o->card, o->psam_number);
    return ERR_OK;
}

static enum err_code save_file(void *state, const struct chip_image *image, struct err *e)
{
    const enum err_code code = chip_file_save(state, image, false, e);
    if (code != ERR_OK)
        log_failure(LOG_ERROR, "card file not written", e);
    return code;
}

static enum err_code run_serve(const struct psam_options *o, struct err *e)
{
    static struct chip chip;
    AUTO(chip_image) image = {0};
    if (o->listen != NULL && o->connect != NULL)
        return err_set(e, ERR_INPUT, "give --listen or --connect, not both");
    if (mlockall(MCL_CURRENT) != 0)
        log_event(LOG_DEBUG, "memory is not locked; the emulated card's keys may be swapped");
    TRY(chip_file_lock(o->card, e));
    TRY(chip_file_load(o->card, &image, e));
    char path[4096];
    snprintf(path, sizeof path, "%s", o->card);
    chip_init(&chip, &image, &(struct chip_memory){.save = save_file, .state = path});
    const enum err_code code = o->connect != NULL
                                   ? serve_connect(&chip, o->connect, e)
                                   : serve_listen(&chip, o->listen != NULL ? o->listen : "127.0.0.1:7900", e);
    chip_drop(&chip);
    return code;
}

static void print_file(const char *name, const uint8_t *bytes, size_t len)
{
    char text[2 * 32 + 1];
    hex_encode(bytes, len, text);
    printf("%-12s %s\n", name, text);
}

static enum err_code print_key(const char *name, const struct chip_key *stored, struct err *e)
{
    static const char *const algorithms[] = {"TDES", "DES", "AES-128", "AES-256"};
    AUTO(emu_key) key = {0};
    if (stored->len == 0) {
        printf("%-12s -\n", name);
        return ERR_OK;
    }
    uint8_t kcv[PSAM_KCV_BYTES];
    char text[2 * PSAM_KCV_BYTES + 1];
    TRY(chip_key_load(stored, &key, e));
    TRY(emu_kcv(&key, kcv, sizeof kcv, e));
    hex_encode(kcv, sizeof kcv, text);
    printf("%-12s usage %02X version %u algorithm %02X (%s) KCV %s\n", name, stored->usage, stored->version,
           stored->algorithm, algorithms[key.algorithm], text);
    return ERR_OK;
}

static enum err_code run_show(const struct psam_options *o, struct err *e)
{
    static const char *const names[CHIP_KEY_COUNT] = {"control TDES", "control AES", "TMK",
                                                      "MAK",          "TDK",         "PIK"};
    AUTO(chip_image) image = {0};
    TRY(chip_file_load(o->card, &image, e));
    print_file("3F00/0015", image.ef_serial, sizeof image.ef_serial);
    print_file("3F00/0016", image.ef_terminal, sizeof image.ef_terminal);
    print_file("3F00/0017", image.ef_public, sizeof image.ef_public);
    print_file("DF02/0019", image.ef_counter, sizeof image.ef_counter);
    for (size_t i = 0; i < CHIP_KEY_COUNT; i++)
        TRY(print_key(names[i], &image.keys[i], e));
    printf("%-12s %u of %d\n", "wrong MACs", image.wrong_macs, CHIP_WRONG_MACS_MAX);
    return ERR_OK;
}

static const struct command {
    const char *name, *help;
    const struct option_row *rows;
    enum err_code (*run)(const struct psam_options *o, struct err *e);
} commands[] = {
    {"new", "Make a card: its control keys are diversified from the control masters' components.", new_rows,
     run_new},
    {"serve", "Be the card in a reader. Every answered write is on disk; kill it as you like.", serve_rows,
     run_serve},
    {"show", "Print files, key headers and check values; never a key.", show_rows, run_show},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int help(FILE *out, int status)
{
    fprintf(out, "posward-psam %s: an emulated PSAM card\n\nusage: posward-psam COMMAND OPTIONS\n",
            POSWARD_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "\n%s: %s\n", commands[i].name, commands[i].help);
        options_print(commands[i].rows, out);
    }
    fprintf(out, "\nThe reader's line is vpcd's: 2-byte length, then a control byte or an APDU.\n"
                 "Exit status: 0 done, 1 failed (the reason on standard error), 2 usage.\n");
    return status;
}

int main(int argc, char **argv)
{
    log_setup("posward-psam", LOG_INFO, false);
    if (argc < 2)
        return help(stderr, EXIT_USAGE);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(stdout, EXIT_SUCCESS);
    if (strcmp(argv[1], "--version") == 0)
        return puts("posward-psam " POSWARD_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        struct psam_options o = {0};
        struct err e = {0};
        bool wants_help = false;
        if (options_parse(commands[i].rows, argc, argv, 2, &o, &wants_help, &e) != ERR_OK) {
            fprintf(stderr, "posward-psam: %s\n", e.note);
            return EXIT_USAGE;
        }
        if (wants_help)
            return help(stdout, EXIT_SUCCESS);
        if (commands[i].run(&o, &e) == ERR_OK)
            return EXIT_SUCCESS;
        fprintf(stderr, "posward-psam: %s\n", e.note);
        return EXIT_FAILURE;
    }
    fprintf(stderr, "posward-psam: unknown command \"%.40s\"; see --help\n", argv[1]);
    return EXIT_USAGE;
}
