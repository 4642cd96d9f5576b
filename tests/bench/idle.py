"""What the four processes cost when nothing happens: CPU share of one core over some seconds, and memory (PSS),
after some work. Usage: PROVISOR_BIN=... idle.py [SECONDS] [--json]; exit 1 above 1 % or 60 MB."""

import json
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))

import provisor  # noqa: E402

MAX_PERCENT, MAX_PSS_MB = 1.0, 60.0


def cpu_seconds(pid):
    """User and system time, from the fields behind the name in /proc/PID/stat."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss line")


def main():
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    seconds = float(arguments[0]) if arguments else 20
    with tempfile.TemporaryDirectory() as folder:
        pipeline = provisor.Pipeline(pathlib.Path(folder) / "idle")
        pipeline.dir.mkdir()
        try:
            pipeline.start()
            with provisor.handler() as h, pipeline.core() as core:
                pipeline.add_handler(h.url)
                core.accept([provisor.event(object_id=n % 100, data={"n": n}) for n in range(1000)])
                h.wait(1000)
                time.sleep(2)  # checkpoints and low_water after the last event
                pids = {name: stage.process.pid for name, stage in pipeline.stages.items()}
                before = {name: cpu_seconds(pid) for name, pid in pids.items()}
                time.sleep(seconds)
                rows = [{"process": name, "cpu_percent": round((cpu_seconds(pid) - before[name]) / seconds * 100, 3),
                         "pss_mb": round(pss_mb(pid), 1)} for name, pid in pids.items()]
        finally:
            pipeline.kill()
    total = {"process": "all", "cpu_percent": round(sum(r["cpu_percent"] for r in rows), 3),
             "pss_mb": round(sum(r["pss_mb"] for r in rows), 1)}
    for row in [*rows, total]:
        print(json.dumps(row) if "--json" in sys.argv else "{process:10} {cpu_percent:7.3f} % {pss_mb:7.1f} MB".format(**row))
    return 0 if total["cpu_percent"] < MAX_PERCENT and total["pss_mb"] < MAX_PSS_MB else 1


sys.exit(main())
