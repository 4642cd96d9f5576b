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

static void refuse(gate_t *gate, uint64_t peer, int64_t now_ms)
{
    gate_refused_t *known = find(gate, peer);
    if (known)
        forget(gate, (size_t)(known - gate->refused));
    if (gate->n_refused == GATE_PEERS_MAX)
        forget(gate, 0);
    gate->refused[gate->n_refused++] = (gate_refused_t){peer, now_ms + GATE_RETRY_AFTER_MS};
}

bool gate_admits(gate_t *gate, uint64_t peer, int64_t now_ms)
{
    if (gate->closed) {
        refuse(gate, peer, now_ms);
        return false;
    }
    while (gate->n_refused > 0 && gate->refused[0].until_ms <= now_ms)
        forget(gate, 0); /* they end in the order in which they began */
    return gate->n_refused == 0 || !find(gate, peer);
}
