#include "run/service_options.h"

#include <getopt.h>
#include <stdlib.h>

static void print_help(const struct service_spec *spec)
{
    printf(
        "Usage: %s [--config FILE]\n"
        "%s\n\n"
        "  --config FILE   read the configuration from this YAML file; without it every key has its default\n"
        "  --check-config  validate the configuration, say what is wrong, and exit\n"
        "  --help-config   list every key of the configuration with its type, default and meaning\n"
        "  --version       print the version\n"
        "  --help          print this\n\n"
        "SIGTERM and SIGINT finish the calls in flight and stop. SIGHUP reads roles again, at once%s.\n"
        "Exit status: 0 orderly stop, 1 start or run failed, 2 usage.\n",
        spec->name, spec->summary, spec->reload != NULL ? ", and the token's keys" : "");
}

bool service_options_read(const struct service_spec *spec, int argc, char **argv,
                          struct service_options *out_options, int *out_status)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
        {"help-config", no_argument, NULL, 'H'},  {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0}};
    *out_status = EXIT_SUCCESS;
    for (int option; (option = getopt_long(argc, argv, "c:h", known, NULL)) != -1;) {
        switch (option) {
        case 'c':
            out_options->config_path = optarg;
            break;
        case 'k':
            out_options->check_config = true;
            break;
        case 'H':
            conf_print_help(spec->rows, stdout);
            return false;
        case 'v':
            printf("%s %s\n", spec->name, POSWARD_VERSION);
            return false;
        case 'h':
            print_help(spec);
            return false;
        default:
            fprintf(stderr, "See %s --help\n", spec->name);
            *out_status = SERVICE_EXIT_USAGE;
            return false;
        }
    }
    if (optind == argc)
        return true;
    fprintf(stderr, "%s: '%s' is no option. See %s --help\n", spec->name, argv[optind], spec->name);
    *out_status = SERVICE_EXIT_USAGE;
    return false;
}
