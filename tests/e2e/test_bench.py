"""The benchmark runs and counts, with a few events. What it measures then means nothing and is not looked at."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from provisor import BIN

BENCH = pathlib.Path(__file__).parents[1] / "bench" / "bench.py"
# The last one of backlog is missing when the drain is over too soon.
ROWS = {"steady": 4, "latency": 12, "hot-object": 1, "history": 2, "backlog": 7, "slow-disk": 7}


@pytest.mark.skipif(not (BIN.parent / "bench").exists(), reason="the benchmark is not built here (PROVISOR_BENCH)")
def test_each_scenario_gives_its_rows_and_leaves_nothing_behind(tmp_path):
    env = {**os.environ, "PROVISOR_BENCH_DIR": str(tmp_path), "PROVISOR_DELIVERER_BREAKER_PROBE": "200ms"}
    done = subprocess.run([sys.executable, BENCH, "--scale", "0.001", "--repeat", "1", "--json", "--only",
                           ",".join(ROWS)], env=env, capture_output=True, text=True, timeout=140)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode in (0, 1), done.stderr  # 1: a bar was missed
    for name, n in ROWS.items():
        assert sum(row["scenario"].startswith(name.replace("-", " ")) for row in rows) >= n, (name, done.stdout)
    assert all(value > 0 for row in rows for value in row["values"]), done.stdout
    assert not list(tmp_path.iterdir())
