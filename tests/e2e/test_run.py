"""The README's first command, twice in a row, and a second one beside it."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.skipif(not os.environ.get("PROVISOR_BIN", "").endswith("build/dev/bin"),
                    reason="scripts/run builds and runs the dev preset; this is another build")
def test_run_shows_35_successes_twice(tmp_path):
    env = {**os.environ, "PROVISOR_RUN_ONCE": "1", "PROVISOR_DATA": str(tmp_path / "data")}
    for _ in range(2):
        done = subprocess.run([ROOT / "scripts/run"], env=env, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "35 successes" in done.stdout
