#include "services/emitter/gate.h"

#include <string.h>

static gate_refused_t *find(gate_t *gate, uint64_t peer)
{
    for (size_t i = 0; i < gate->n_refused; i++)
        if (gate->refused[i].peer == peer)
            return &gate->refused[i];
    return NULL;
}

static void forget(gate_t *gate, size_t i)
{
    gate->n_refused--;
    memmove(&gate->refused[i], &gate->refused[i + 1],
            (gate->n_refused - i) * sizeof *gate->refused);
}

static void refuse(gate_t *gate, uint64_t peer, uint64_t request, int64_t now_ms)
{
    gate_refused_t refused = {peer, request, now_ms + GATE_HELD_MS};
    gate_refused_t *known = find(gate, peer);
    if (known) {
        refused.first = known->first;
        forget(gate, (size_t)(known - gate->refused));
    }
    if (gate->n_refused == GATE_PEERS_MAX)
        forget(gate, 0);
    gate->refused[gate->n_refused++] = refused;
}

bool gate_admits(gate_t *gate, uint64_t peer, uint64_t request, int64_t now_ms)
{
    while (gate->n_refused > 0 && gate->refused[0].until_ms <= now_ms)
        forget(gate, 0); /* they end in the order in which they began */
    if (gate->closed) {
        refuse(gate, peer, request, now_ms);
        return false;
    }
    gate_refused_t *known = gate->n_refused > 0 ? find(gate, peer) : NULL;
    if (known && known->first != request)
        return false;
    if (known)
        forget(gate, (size_t)(known - gate->refused));
    return true;
}
