/* A keeper: the process that holds the token. `posward-keeper OPTIONS`, started by the front with its
 * end of a socket pair as descriptor 3; it has no network, serves until the socket closes, and then finalises
 * the module.
 *
 * Exit status: 0 the front let it go, 1 the token could not be opened or was lost, 2 usage. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_KEEPER_H
#define POSWARD_HSM_SERVICE_KEEPER_KEEPER_H

int keeper_main(int argc, char **argv);

#endif
