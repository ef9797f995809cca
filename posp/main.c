/* posward-posp: the terminal front end. */
#include "posp/daemon.h"

int main(int argc, char **argv)
{
    return service_main(&posp_service, argc, argv);
}
