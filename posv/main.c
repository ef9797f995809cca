#include "posv/service.h"

int main(int argc, char **argv)
{
    return service_main(&posv_service, argc, argv);
}
