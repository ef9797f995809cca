/* posward-bank: a business unit with card accounts of its own, for the demo and tests. */
#ifndef POSWARD_CARD_EMU_BANK_BANK_H
#define POSWARD_CARD_EMU_BANK_BANK_H

#include "run/service.h"

extern const struct service_spec bank_service;

#endif
