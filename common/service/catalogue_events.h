/* catalogue_events: the table of the 35 events of product.md, in its order. Only catalogue.c reads
 * it; everybody else asks a catalogue_t, which also knows the ids that an operator added. */
#ifndef PROVISOR_CATALOGUE_EVENTS_H
#define PROVISOR_CATALOGUE_EVENTS_H

#include "common/service/catalogue.h"

extern const catalogue_event_t catalogue_events[];
extern const size_t catalogue_n_events;

#endif
