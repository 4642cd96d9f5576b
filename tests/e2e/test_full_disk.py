"""A disk that is full and free again, with the real processes on a small file system."""

import os
import subprocess

import pytest

from provisor import event, wait_until


@pytest.fixture
def small_disk(tmp_path):
    """A mounted tmpfs of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine cannot mount: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_intake_is_busy_below_min_free_and_goes_on_by_itself(make_pipeline, handler, small_disk):
    pipeline = make_pipeline(start=False, env={"PROVISOR_DISK_MIN_FREE": "12MiB"})
    pipeline.data.symlink_to(small_disk)
    pipeline.start()
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        assert core.push(event(object_id=1))["status"] == "accepted"
        with open(small_disk / "ballast", "wb") as ballast:
            ballast.write(b"x" * (15 << 20))
        busy = wait_until(lambda: (a := core.push(event(object_id=2)))["status"] == "busy" and a, what="busy")
        assert busy["retry_after_ms"] > 0
        requests = h.count()
        (small_disk / "ballast").unlink()
        wait_until(lambda: core.push(event(object_id=3))["status"] == "accepted", what="accepted again")
    h.wait(requests + 1)


def test_a_disk_without_a_byte_left_loses_nothing(make_pipeline, handler, small_disk):
    """min_free is too small to help: writes fail, are kept, and succeed when there is room."""
    pipeline = make_pipeline(start=False, env={"PROVISOR_DISK_MIN_FREE": "0"})
    pipeline.data.symlink_to(small_disk)
    pipeline.start()
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(10)])
        h.wait(10)
        ballast = open(small_disk / "ballast", "wb", buffering=0)
        with pytest.raises(OSError):
            while True:
                ballast.write(b"x" * 65536)
        ballast.close()
        for n in range(200):
            core.send(event(object_id=n, data={"text": "y" * 4000}))
        full = lambda: any("full" in s.log_text() for s in pipeline.stages.values())  # noqa: E731
        wait_until(full, what="a stage that says that the disk is full")
        (small_disk / "ballast").unlink()
        answers = [core.recv(timeout=30) for _ in range(200)]
    accepted = sum(b'"accepted"' in a for a in answers)
    assert accepted + sum(b'"busy"' in a for a in answers) == 200
    h.wait(10 + accepted)
    for stage in pipeline.stages.values():
        assert stage.alive(), stage.log_text()
    wait_until(lambda: pipeline["emitter"].control("stats")["stats"]["journal_rows"] == 0, what="an empty journal")
    assert h.count() == 10 + accepted, "nobody was sent the same thing twice"
