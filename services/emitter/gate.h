/* gate: may intake take more? Below disk.min_free, or while the disk is full, it answers busy.
 * Pure.
 *
 * A core that pipelines has more requests on their way when it hears busy. It must stop there and
 * later begin again with the request that was refused; what it had sent after that must not be
 * taken before. So a connection that was told busy hears nothing else for as long as it was told to
 * wait, even if there is room again meanwhile. */
#ifndef PROVISOR_GATE_H
#define PROVISOR_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GATE_RETRY_AFTER_MS = 1000, GATE_PEERS_MAX = 1024 };

typedef struct {
    uint64_t peer;
    int64_t until_ms;
} gate_refused_t;

/* Zero-initialise: open. */
typedef struct {
    bool closed;
    gate_refused_t refused[GATE_PEERS_MAX]; /* who was told busy; the oldest is forgotten first */
    size_t n_refused;
} gate_t;

/* May a request of this peer (a hash of its connection) be taken now? False: answer busy. */
bool gate_admits(gate_t *gate, uint64_t peer, int64_t now_ms);

#endif
