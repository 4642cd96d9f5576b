/* gate: may intake take more? Below disk.min_free, or while the disk is full, it answers busy.
 * Pure.
 *
 * A core that pipelines has more requests on their way when it hears busy. It must stop there and
 * later begin again with the request that was refused; what it had sent after that must not be
 * taken before, however long the network holds it up. So a connection that was told busy hears
 * nothing else until the first refused request comes again (go-back-N), even if there is room again
 * meanwhile. Who never sends that one again is let go on after GATE_HELD_MS. */
#ifndef PROVISOR_GATE_H
#define PROVISOR_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GATE_RETRY_AFTER_MS = 1000, GATE_HELD_MS = 10000, GATE_PEERS_MAX = 1024 };

typedef struct {
    uint64_t peer;
    uint64_t first; /* the first request that was refused */
    int64_t until_ms;
} gate_refused_t;

/* Zero-initialise: open. */
typedef struct {
    bool closed;
    gate_refused_t refused[GATE_PEERS_MAX]; /* who was told busy; the oldest is forgotten first */
    size_t n_refused;
} gate_t;

/* May this request (a hash of its bytes) of this peer (a hash of its connection) be taken now?
 * False: answer busy. */
bool gate_admits(gate_t *gate, uint64_t peer, uint64_t request, int64_t now_ms);

#endif
