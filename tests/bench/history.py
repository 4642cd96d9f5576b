"""Five million records of history: what they cost new events, and how long a search among them takes."""

import random
import statistics
import time

import rig
from result import Result
from runs import ARRAY, count, repeat, steady_run

OBJECTS = 10000
SEARCHES = 20


def history(options, folder):
    """Full is made by fill_history: the auditor's own modules, without a pipeline."""
    n_records, n = count(options, 5000000, 20000), count(options, 50000, 1000)
    rates = {"empty": [], "full": []}
    searches, meters = [], []
    with rig.Sink() as sink, rig.pipeline(folder / "empty") as empty, \
            rig.pipeline(folder / "full", before=lambda p: fill(p, n_records)) as full:
        for p in (empty, full):
            p.add_handler(sink.url, "--secret", "generate")
            steady_run(p, sink, p.intake("--array", ARRAY, "--window", 2000), n // 4, n // 4, [])  # warms up
        for _ in repeat(options, "history"):
            for name, p, into in (("empty", empty, []), ("full", full, meters)):
                arguments = p.intake("--array", ARRAY, "--window", 2000, "--objects", OBJECTS)
                rates[name].append(steady_run(p, sink, arguments, n, n, into))
            searches.append([search(full, n_records // 2 // OBJECTS) for _ in range(SEARCHES)])
        stats = full.stats("auditor")
    note = f"{stats['last_audit_id']:,} records, {stats['segments']} segments, {stats['bytes'] / 1e9:.1f} GB"
    yield Result("history, steady", [a / b for a, b in zip(rates["empty"], rates["full"])], "times", 1.15, 1.05,
                 lower=True, rates=rates["full"], limits=rates["empty"], meters=meters, note=note)
    worst = max(ms for repetition in searches for ms, _ in repetition)
    found = statistics.median(n for repetition in searches for _, n in repetition)
    yield Result("history, search by object", [statistics.median(ms for ms, _ in r) for r in searches], "ms", 100, 20,
                 lower=True, note=f"{SEARCHES} objects each time, {found:.0f} attempts found; the slowest {worst:.1f} ms")


def fill(p, n_records):
    rig.progress(f"history: {n_records} records are made")
    folder = p.data / "history"
    folder.mkdir(mode=0o700, parents=True)
    rig.run_program("fill_history", folder, n_records, OBJECTS, 1, timeout=300)


def search(p, at_least):
    """-> ms, attempts found: all of one object."""
    question = {"op": "log", "object_id": str(random.randint(1, OBJECTS)), "since_ms": 1, "limit": 1000}
    began = time.monotonic()
    answer = p.question(question, timeout=60)
    ms = (time.monotonic() - began) * 1000
    n = len(answer.get("records", ()))
    if not answer["ok"] or n < at_least:
        raise rig.Failed(f"a search found {n} attempts, not {at_least}: {str(answer)[:300]}")
    return ms, n
