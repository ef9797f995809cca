/* posward-bank: the business unit of the demo. */
#include "card-emu/bank/bank.h"

int main(int argc, char **argv)
{
    return service_main(&bank_service, argc, argv);
}
