/* intake: matched batches come in here, go into custody and are receipted. */
#ifndef PROVISOR_INTAKE_H
#define PROVISOR_INTAKE_H

#include "services/deliverer/deliverer.h"

/* Binds the intake (not read before intake_gate opens it) and the receipts. */
result_t intake_open(deliverer_t *deliverer, intake_t **ret_intake, fault_t *fault) MUST_CHECK;
void intake_close(intake_t **intake);
/* Reads when there is room, stops when not: back-pressure reaches the routers and so the journals.
 */
void intake_gate(intake_t *intake);
/* Looks at the disk and the handler table's version again; each 500 ms. */
void intake_poll(intake_t *intake);
/* Why nothing is taken, for people; NULL: it is. */
const char *intake_stopped(const intake_t *intake);
/* How many are connected. */
int intake_routers(const intake_t *intake);

void intake_receipt(intake_t *intake, slice_t node, int partition, slice_t event_id,
                    bool unmatched);
void intake_send_receipts(intake_t *intake);
int64_t intake_receipts(const intake_t *intake);

#endif
