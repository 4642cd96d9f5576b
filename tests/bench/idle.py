"""What the four processes cost when nothing happens: CPU share of one core over some seconds, how often they wake up,
and memory (PSS), after some work. Usage: PROVISOR_BIN=... idle.py [SECONDS] [--json]; exit 1 above 1 % or 60 MB."""

import json
import pathlib
import sys
import tempfile
import time

import rig  # before provisor: it knows where that is

import provisor

MAX_PERCENT, MAX_PSS_MB = 1.0, 60.0


def measure(folder, seconds):
    """A row per process, and one of all."""
    pipeline = provisor.Pipeline(folder)
    pipeline.dir.mkdir()
    try:
        pipeline.start()
        with provisor.handler() as h, pipeline.core() as core:
            pipeline.add_handler(h.url)
            core.accept([provisor.event(object_id=n % 100, data={"n": n}) for n in range(1000)])
            h.wait(1000)
            time.sleep(2)  # checkpoints and low_water after the last event
            pids = {name: stage.process.pid for name, stage in pipeline.stages.items()}
            before = {name: used(pid) for name, pid in pids.items()}
            time.sleep(seconds)
            rows = [measured(name, pid, before[name], seconds) for name, pid in pids.items()]
    finally:
        pipeline.kill()
    totals = {key: round(sum(r[key] for r in rows), 3) for key in rows[0] if key != "process"}
    return [*rows, {"process": "all", **totals}]


def used(pid):
    """CPU seconds and wake-ups so far."""
    return rig.cpu_seconds(pid), rig.switches(pid, ("voluntary",))


def measured(name, pid, before, seconds):
    cpu, wakes = (now - then for now, then in zip(used(pid), before))
    return {"process": name, "cpu_percent": round(cpu / seconds * 100, 3), "wakes_per_s": round(wakes / seconds, 1),
            "pss_mb": round(rig.watch.pss_mb(pid), 1)}


def show(row):
    return "{process:10} {cpu_percent:7.3f} % {wakes_per_s:6.1f} wake-ups/s {pss_mb:7.1f} MB".format(**row)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(pathlib.Path(folder) / "idle", float(arguments[0]) if arguments else 20)
    for row in rows:
        print(json.dumps(row) if "--json" in sys.argv else show(row))
    return 0 if rows[-1]["cpu_percent"] < MAX_PERCENT and rows[-1]["pss_mb"] < MAX_PSS_MB else 1


if __name__ == "__main__":
    sys.exit(main())
