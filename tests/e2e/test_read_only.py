"""A data folder that cannot be written: every stage says so, loses nothing and goes on by itself."""

import os
import subprocess
import threading

import pytest

from provisor import event, wait_until
from shims import Shim

STORES = {"emitter": "journal", "deliverer": "queue", "auditor": "history"}


@pytest.fixture
def read_only(tmp_path):
    return Shim("read_only", tmp_path)


def unwritable(pipeline, name):
    log = pipeline[name].log_text()
    return f"event=store_unwritable store={STORES[name]}" in log and "Read-only file system" in log


def test_a_disk_that_becomes_read_only_is_waited_out(make_pipeline, handler, read_only):
    pipeline = make_pipeline(start=False, deliverers=1, env=read_only.env())
    pipeline.start()
    answering = threading.Event()
    h = handler(lambda request: 200 if answering.wait(60) else 503)
    pipeline.add_handler(h.url)
    with pipeline.core() as waiting, pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(10)])
        h.wait(10)
        read_only.on()
        answering.set()  # outcomes that cannot be committed
        waiting.send(event(object_id=100))  # its answer waits for its commit
        wait_until(lambda: unwritable(pipeline, "emitter"), what="emitter says so")
        assert "accepted" not in core.push(event("no.such.event")).values()  # a record for history
        answer = wait_until(lambda: (a := core.push(event(object_id=101)))["status"] == "busy" and a, what="busy")
        assert answer["retry_after_ms"] > 0
        for name in STORES:
            wait_until(lambda: unwritable(pipeline, name), what=f"{name} says so")
            ping = pipeline[name].control("ping")
            assert not ping["ready"] and "Read-only file system" in ping["why"], ping
        read_only.off()
        assert b'"accepted"' in waiting.recv()
        wait_until(lambda: core.push(event(object_id=102))["status"] == "accepted", what="accepted again")
    pipeline.wait_ready()
    for name in STORES:
        assert "event=store_writable" in pipeline[name].log_text()
    counts = {}
    wait_until(lambda: pipeline["emitter"].control("stats")["stats"]["journal_rows"] == 0, what="an empty journal")
    for body in h.bodies():
        object_id = body["event"]["object_id"]
        counts[object_id] = counts.get(object_id, 0) + 1
    sent = [request["headers"]["webhook-id"] for request in h.requests]
    assert len(sent) == len(set(sent)), "what could not be recorded is not sent again"
    assert {*range(10), 100, 102} <= set(counts) and set(counts.values()) == {1}, counts
    wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == len(counts), what="history of all")
    records = pipeline.records()
    assert [r["audit_id"] for r in records] == list(range(1, len(records) + 1))


@pytest.fixture
def mount(tmp_path):
    """mount(path, "ro" or "rw") remounts a tmpfs there."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = tmp_path / "disk"
    path.mkdir()

    def run(*args):
        return subprocess.run(["mount", *args, path], capture_output=True)

    if run("-t", "tmpfs", "tmpfs").returncode != 0:
        pytest.skip("this machine cannot mount")
    yield path, lambda mode: run("-o", f"remount,{mode}").check_returncode()
    subprocess.run(["umount", "-l", path], check=True)


def test_a_stage_that_finds_a_read_only_folder_says_so_and_is_to_be_tried_again(make_pipeline, handler, mount):
    path, remount = mount
    pipeline = make_pipeline(start=False, deliverers=1)
    pipeline.data.symlink_to(path)
    pipeline.start()
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.accept([event()])
    h.wait(1)
    pipeline.stop()
    remount("ro")
    for name in STORES:
        stage = pipeline[name].start()
        assert stage.wait() == 75, stage.log_text()
        last = stage.log_text().splitlines()[-1]
        assert "event=start_failed" in last and str(pipeline.data) in last and "read-only" in last.lower(), last
    remount("rw")
    pipeline.start()
    with pipeline.core() as core:
        core.accept([event()])
    h.wait(2)
