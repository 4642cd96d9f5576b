"""What this machine can do at most: libcurl alone, ZeroMQ alone, SQLite alone; and at least: waiting."""

import rig
from result import Result


def all_limits(options, folder):
    http = rig.Limit()
    seconds = http.seconds
    yield Result("limit (a): libcurl alone", [http.measure() for _ in range(options.repeat)], "posts/s",
                 note=f"{http.best} concurrent, {rig.BODY_BYTES} bytes, sink on the other core")
    rig.progress("limit (b): ZeroMQ")
    rates = [float(rig.run_program("limit_zmq", seconds)) for _ in range(options.repeat)]
    yield Result("limit (b): ZeroMQ PUSH to PULL", rates, "msgs/s")
    rig.progress("limit (c): SQLite")
    rows = []
    for i in range(options.repeat):
        store = folder / f"limit{i}.db"
        rows.append(float(rig.run_program("limit_sqlite", store, seconds)))
        store.unlink()
    yield Result("limit (c): SQLite, 500 rows a commit", rows, "rows/s")
    rig.progress("limit (d): waiting")
    wakes = [float(rig.run_program("limit_idle", rig.WAKES, seconds)) for _ in range(options.repeat)]
    yield Result("limit (d): a process that only waits", wakes, "us/wake-up", lower=True)
