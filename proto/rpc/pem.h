/* The PEM files of a struct rpc_tls: what is in them, and whether they changed. Private to rpc. */
#ifndef POSWARD_RPC_PEM_H
#define POSWARD_RPC_PEM_H

#include "rpc/tls.h"

#include <sys/stat.h>

#define PEM_FILES 3

struct pem {
    char *ca, *cert, *key; /* file contents; NULL where the path is */
};

/* ERR_IO, or ERR_INPUT for a file that is empty or too large; pem_drop is due even then. */
enum err_code pem_read(struct pem *pem, const struct rpc_tls *tls, struct err *e) MUST_CHECK;
/* Wipes the private key. Accepts a zeroed or half-read one, and leaves it zeroed. */
void pem_drop(struct pem *pem);

/* How the files were at the last look; zeroed: never. */
struct pem_watch {
    struct stat seen[PEM_FILES];
};
/* Whether one of them is another since the last look, or is gone. */
bool pem_changed(struct pem_watch *watch, const struct rpc_tls *tls);

#endif
