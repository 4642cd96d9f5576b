"""The real emitter on a disk that becomes full and has room again. Needs root, for a small disk."""

import json
import os
import subprocess

import pytest

from emitter_peers import Emitter, encode, receive
from provisor import SLOW, event, wait_until


class SmallDisk:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", folder]
        self.mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True,
                                                           check=False).returncode == 0

    def fill(self):
        chunk = bytes(1 << 20)
        with open(self.folder / "ballast", "ab", buffering=0) as ballast:
            while len(chunk) >= 512:
                try:
                    written = ballast.write(chunk)
                except OSError:
                    written = 0
                if written < len(chunk):
                    chunk = chunk[:len(chunk) // 2]

    def free(self):
        (self.folder / "ballast").unlink()

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=False)


@pytest.fixture
def make_emitter(tmp_path):
    made = []

    def make(**env):
        emitter = Emitter(tmp_path, PROVISOR_DISK_MIN_FREE="0", **env)
        disk = SmallDisk(emitter.stage.data)
        made.extend([emitter, disk])
        if not disk.mounted:
            pytest.skip("no small disk can be mounted")
        return emitter.start(), disk

    yield make
    for thing in made:
        thing.close()


def fill(emitter, disk):
    """Returns the core whose event waits for room, and how many were accepted before it."""
    core, accepted = emitter.dealer(), 0
    disk.fill()
    while "cannot be written" not in emitter.stage.why():
        core.send(encode(event(data={"pad": "x" * 20000})))
        if core.poll(2000 * SLOW):
            assert json.loads(core.recv())["status"] == "accepted"
            accepted += 1
            disk.fill()
    return core, accepted


def test_busy_is_answered_however_long_the_disk_is_full(make_emitter):
    emitter, disk = make_emitter(PROVISOR_EMITTER_PENDING_BYTES="256KiB")
    core, _ = fill(emitter, disk)
    pending = emitter.stats()["pending_bytes"]
    other = emitter.dealer()
    for n in range(3000):  # more in all than may wait
        other.send_multipart([b"x" * 3500, encode(event())])
        assert other.poll(10000 * SLOW), f"no answer to request {n}"
        assert json.loads(other.recv_multipart()[-1])["status"] == "busy"
    assert emitter.stats()["pending_bytes"] == pending
    disk.free()
    assert json.loads(receive(core))["status"] == "accepted"
    wait_until(lambda: emitter.ask_json(event())["status"] == "accepted", what="room")
    core.close()
    other.close()


def test_nothing_is_read_from_a_journal_that_cannot_be_written(make_emitter):
    """Otherwise the receipts of a long backlog would all wait in memory."""
    emitter, disk = make_emitter(PROVISOR_EMITTER_WINDOW_EVENTS="30")
    down = emitter.play(receipting=False)
    with_backlog, n = emitter.dealer(), 8000
    for first in range(0, n, 500):  # at most 1,000 answers may wait unread
        for i in range(first, first + 500):
            with_backlog.send(encode(event(object_id=i % 500)))
        for _ in range(500):
            assert json.loads(receive(with_backlog))["status"] == "accepted"
    core, more = fill(emitter, disk)
    down.receipting = True
    wait_until(lambda: emitter.stats()["unreceipted"] == 0, timeout=60, what="all that was sent")
    stats = emitter.stats()
    assert stats["tails"] == 64 and stats["receipts"] <= 64 * 30
    disk.free()
    assert json.loads(receive(core))["status"] == "accepted"
    down.wait(n + more + 1, timeout=60)
    emitter.play_auditor()
    wait_until(lambda: emitter.stats()["journal_rows"] == 0, timeout=60, what="an empty journal")
    core.close()
    with_backlog.close()
