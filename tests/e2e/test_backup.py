"""A backup of the running pipeline, and going on from it."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess

import pytest

from provisor import BIN, SHAPE, SLOW, Terminal, event, wait_until
from test_drain import Traffic

JUMP = 10**12  # how far a copy's counters are moved on


def deliverers(p):
    return [s for s in p.stages.values() if s.kind == "deliverer"]


def restore(p, backup):
    """Everything dies; what is in the backup is all that there is."""
    p.kill()
    shutil.move(p.data, p.dir / "lost")
    shutil.copytree(backup, p.data)
    stages = deliverers(p)
    for i, stage in enumerate(stages, 1):
        if len(stages) > 1:
            (p.data / f"deliverer-{i}").rename(stage.data)


def copy_part(stage, part, folder):
    folder.mkdir(mode=0o700, exist_ok=True)
    assert stage.control("backup", part=part, dir=str(folder))["ok"]
    status = lambda: stage.control("backup_status")  # noqa: E731
    wait_until(lambda: status()["state"] != "running", what=f"the copy of {part}")
    assert status()["state"] == "done", status()


def copy_handlers(p, folder):
    with contextlib.closing(sqlite3.connect(p.data / "handlers.db")) as table, \
            contextlib.closing(sqlite3.connect(folder / "handlers.db")) as copy:
        table.backup(copy)


def row(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchone()


def check_copies(folder):
    files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    assert {f.rsplit(".", 1)[1] for f in files} == {"db", "json"}, files
    for name in files:
        assert (folder / name).stat().st_mode & 0o777 == 0o600
        if name.endswith(".db"):
            with contextlib.closing(sqlite3.connect(folder / name)) as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), name
    return files


class Receiver:
    """A handler that takes nothing while it is down; remembers what it took, in order."""

    def __init__(self, handler, p, name, down=False):
        self.down, self.took = down, []
        self.id = p.add_handler(handler(respond=self._respond).url, "--retry", ",".join(["2s"] * 30), name=name)

    def _respond(self, request):
        if self.down:
            return 503
        self.took.append(json.loads(request["body"]))
        return 200

    def counters(self, since=0):
        """Per object what came, repetitions left out."""
        seen = {}
        for body in self.took[since:]:
            seen.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
        return {n: list(dict.fromkeys(came)) for n, came in seen.items()}


def test_a_backup_under_load_loses_nothing_that_was_accepted_before_it(make_pipeline, handler, tmp_path):
    p = make_pipeline()
    fast, slow = Receiver(handler, p, "fast"), Receiver(handler, p, "slow", down=True)
    objects = 50
    traffic = Traffic(p, objects)
    try:
        wait_until(lambda: traffic.sent[objects - 1] >= 10, what="a backlog")
        before = dict(traffic.sent)
        done = p.cli("backup", str(tmp_path / "b"), "--json")
        assert json.loads(done.stdout)["dir"] == str(tmp_path / "b") and done.stderr == ""
        during = traffic.sent[0]
        wait_until(lambda: traffic.sent[0] > during + 3, what="more that the backup does not have")
    finally:
        traffic.stop()
    parts = [(part["part"], part["folder"]) for part in json.loads((tmp_path / "b/backup.json").read_text())["parts"]]
    queues = [("queue", f"deliverer-{i + 1}" if SHAPE > 1 else "") for i in range(SHAPE)]
    assert parts == [("jobs", "history"), ("journal", ""), *queues, ("history", "history")]
    copies = check_copies(tmp_path / "b")
    assert "handlers.db" in copies and "journal.db" in copies and "history/jobs.db" in copies

    restore(p, tmp_path / "b")
    since = len(fast.took)
    slow.down = False
    p.start()
    rest = 5
    with p.core() as core:
        for n in range(rest):
            core.accept([event(object_id=o, data={"n": traffic.sent[o] + n}) for o in range(objects)])

    def has_all(counters):
        return all(set(range(before[o])) | {traffic.sent[o] + n for n in range(rest)} <= set(counters.get(o, ()))
                   for o in range(objects))

    wait_until(lambda: has_all(slow.counters()), 60, "all at the slow one")
    wait_until(lambda: has_all(fast.counters()), 60, "all at the fast one")
    for came in (slow.counters(), fast.counters(since)):
        for o in range(objects):
            assert came[o] == sorted(came[o]), f"object {o}"
    ids = [r["audit_id"] for r in p.records()]
    assert ids == sorted(set(ids)) and ids[0] == 1 and ids[-1] > JUMP
    assert p.cli("drain", "--timeout", "60s").stdout.startswith("empty"), "nothing waits for ever"


def test_what_moves_on_between_two_copies_is_in_the_later_one(make_pipeline, handler, tmp_path):
    """As `provisor backup` copies, but with much between the copies."""
    p = make_pipeline(routers=1, deliverers=1, env={"PROVISOR_DELIVERER_BREAKER_PROBE": "100ms"})
    receiver, backup = Receiver(handler, p, "one"), tmp_path / "b"
    one, emitter, auditor = p["deliverer"], p["emitter"], p["auditor"]
    backup.mkdir()
    p["router"].kill().wait()
    with p.core() as core:
        held = core.accept([event(object_id=n % 20, data={"n": n // 20}) for n in range(200)])
        copy_part(auditor, "jobs", backup / "history")
        copy_part(emitter, "journal", backup)
        p["router"].start()
        wait_until(lambda: len(receiver.took) == 200, what="all delivered")
        core.accept([event(object_id=n % 20, data={"n": 10 + n // 20}) for n in range(200)])
    settled = lambda: emitter.control("stats")["stats"]["journal_rows"] == 0  # noqa: E731
    wait_until(settled, what="an empty journal")
    wait_until(lambda: one.control("stats")["stats"]["known_events"] == 0, what="a deliverer that has forgotten all")
    copy_part(one, "queue", backup)
    (given,), (low_water,) = (row(backup / file, sql) for file, sql in (
        ("journal.db", "SELECT value FROM store_meta WHERE key = 'last_id'"),
        ("queue.db", "SELECT MAX(id) FROM low_water")))
    assert given > low_water, "or what is new is taken for known, where the clock is behind"
    receiver.down = True
    with p.core() as core:
        core.accept([event(object_id=n, data={"n": 20}) for n in range(20)])  # of these only history has anything
    wait_until(lambda: len(p.records(["delivery.retrying"])) >= 20, what="history of attempts")
    copy_part(auditor, "history", backup / "history")
    copy_handlers(p, backup)
    known = {r["event_id"] for r in p.records(["event.accepted"])}
    last_id = p.records()[-1]["audit_id"]

    restore(p, backup)
    receiver.down = False
    p.start()
    with p.core() as core:
        new = core.accept([event(object_id=n % 20, data={"n": 30 + n // 20}) for n in range(100)])
    assert min(new) > max(known), "ids go on rising"
    wait_until(lambda: len(receiver.took) >= 500, what="the new ones")
    wait_until(settled, what="an empty journal")
    assert len(receiver.took) == 500, "what the queue had forgotten is not delivered again"
    assert all(came == sorted(came) for came in receiver.counters().values())
    accepted = lambda: [r["event_id"] for r in p.records(["event.accepted"])]  # noqa: E731
    delivered = lambda: [r["event_id"] for r in p.records(["delivery.delivered"])]  # noqa: E731
    wait_until(lambda: set(new) <= set(delivered()), what="history of the new ones")
    assert set(new) <= set(accepted()) and len(accepted()) == len(set(accepted())), "numbers that history has seen"
    assert set(held) <= set(delivered()) and len(delivered()) == len(set(delivered()))
    first = next(r for r in p.records() if r["audit_id"] > last_id)
    assert first["audit_id"] > JUMP, "ids of records are not given again"
    assert p.cli("drain", "--timeout", "30s").stdout.startswith("empty")


def test_outcomes_that_only_the_queue_had_are_told_to_the_restored_history(make_pipeline, handler, tmp_path):
    p = make_pipeline(routers=1, deliverers=1)
    receiver, backup = Receiver(handler, p, "one"), tmp_path / "b"
    one, auditor = p["deliverer"], p["auditor"]
    backup.mkdir()
    copy_part(auditor, "jobs", backup / "history")
    auditor.kill(signal.SIGSTOP)
    with p.core() as core:
        ids = core.accept([event(object_id=n) for n in range(30)])
    wait_until(lambda: len(receiver.took) == 30, what="all delivered")
    wait_until(lambda: one.control("stats")["stats"]["pending"] == 0, what="all outcomes")
    copy_part(p["emitter"], "journal", backup)
    copy_part(one, "queue", backup)
    p["emitter"].kill().wait()
    one.kill().wait()  # what it had told and not heard about is lost with it
    auditor.kill()
    auditor.wait()
    auditor.start()
    wait_until(lambda: auditor.control("ping"), what="the auditor")
    copy_part(auditor, "history", backup / "history")
    copy_handlers(p, backup)
    restore(p, backup)
    p.start()
    assert p.cli("drain", "--timeout", "30s").stdout.startswith("empty"), "its counter was moved on, its rows were not"
    delivered = [r["event_id"] for r in p.records(["delivery.delivered"])]
    assert sorted(delivered) == sorted(ids)
    assert len(receiver.took) == 30


def test_a_backup_is_whole_or_not_there(pipeline, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")
    done = pipeline.cli("backup", str(tmp_path / "used"), check=False)
    assert done.returncode == 1 and "is not empty" in done.stderr
    assert [f.name for f in (tmp_path / "used").iterdir()] == ["file"]
    done = pipeline.cli("backup", str(tmp_path / "none/b"), check=False)
    assert done.returncode == 1 and "cannot find the folder above" in done.stderr
    (tmp_path / "b.part").mkdir()
    done = pipeline.cli("backup", str(tmp_path / "b"), check=False)
    assert done.returncode == 1 and f"rm -r '{tmp_path}/b.part'" in done.stderr
    (tmp_path / "b.part").rmdir()

    deliverer = deliverers(pipeline)[0]
    deliverer.stop()
    done = pipeline.cli("backup", str(tmp_path / "b"), check=False)
    assert done.returncode == 69 and "does not answer" in done.stderr
    assert not list(tmp_path.glob("b*")), "nothing is left of it"
    deliverer.start()
    wait_until(deliverer.ready, what="the deliverer")
    (tmp_path / "b").mkdir()
    assert "is complete" in pipeline.cli("backup", str(tmp_path / "b") + "/").stdout, "an empty folder will do"
    check_copies(tmp_path / "b")


def test_a_backup_leaves_min_free_on_the_disk_of_the_data(make_pipeline, tmp_path):
    pipeline = make_pipeline(start=False, env={"PROVISOR_DISK_MIN_FREE": str(1 << 50)})
    pipeline.start(wait=False)
    wait_until(lambda: all(s.control("ping") for s in pipeline.stages.values()), what="the stages")
    done = pipeline.cli("backup", str(tmp_path / "b"), check=False)
    assert done.returncode == 1 and "less than disk.min_free" in done.stderr
    assert not list(tmp_path.glob("b*"))


def test_a_stage_that_dies_during_a_backup_fails_it(pipeline, tmp_path):
    """What a killed stage leaves in the folder goes too."""
    auditor = pipeline["auditor"]
    auditor.kill(signal.SIGSTOP)  # it takes the question and does not answer
    backup = subprocess.Popen([BIN / "provisor", "backup", tmp_path / "b", "--data", pipeline.data],
                              env={**os.environ, **pipeline.env}, stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "b.part/history").exists, what="its beginning")
    auditor.kill().wait()
    assert backup.wait(30 * SLOW) == 69 and "does not answer" in backup.stderr.read()
    backup.stderr.close()
    assert not list(tmp_path.glob("b*"))
    auditor.start()
    wait_until(auditor.ready, what="the auditor")
    pipeline.cli("backup", str(tmp_path / "b"))
    check_copies(tmp_path / "b")


@pytest.mark.parametrize("question, why", [
    ({"part": "journal"}, "absolute path"),
    ({"part": "journal", "dir": "here"}, "absolute path"),
    ({"part": "queue", "dir": "/tmp"}, "a store of this stage"),
    ({"dir": "/tmp"}, "a store of this stage"),
])
def test_a_stage_refuses_what_it_cannot_copy(pipeline, question, why):
    answer = pipeline["emitter"].control("backup", **question)
    assert not answer["ok"] and why in answer["error"]
    assert pipeline["emitter"].control("backup_status")["state"] == "none"
    answer = pipeline[next(n for n in pipeline.stages if n.startswith("router"))].control("backup", **question)
    assert not answer["ok"] and "no op" in answer["error"]


def test_nothing_is_replaced(pipeline, tmp_path):
    (tmp_path / "journal.db").symlink_to(tmp_path / "elsewhere")
    emitter = pipeline["emitter"]
    assert emitter.control("backup", part="journal", dir=str(tmp_path))["ok"]
    wait_until(lambda: emitter.control("backup_status")["state"] != "running", what="the copy")
    status = emitter.control("backup_status")
    assert status["state"] == "failed" and "journal.db" in status["error"]
    assert not (tmp_path / "elsewhere").exists()
    assert emitter.ready(), "it goes on"


def test_a_folder_needs_a_name(pipeline):
    for name in ("", "/", ".", ".."):
        done = pipeline.cli("backup", name, check=False)
        assert done.returncode == 1 and f'"{name}" is not the name of a new folder' in done.stderr


def test_backup_shows_its_progress_on_a_terminal(pipeline, tmp_path):
    terminal = Terminal(pipeline, "backup", tmp_path / "b")
    code, out = terminal.end()
    assert code == 0 and "is complete" in out
    for part in (b"jobs", b"journal", b"queue", b"history", b"handlers"):
        assert b"\r" + part in terminal.shown
    assert b"MiB" in terminal.shown
