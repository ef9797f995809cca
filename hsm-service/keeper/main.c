#include "hsm-service/keeper/keeper.h"

int main(int argc, char **argv)
{
    return keeper_main(argc, argv);
}
