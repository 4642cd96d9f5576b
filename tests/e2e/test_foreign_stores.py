"""A store that is damaged or not ours: told once, with the way out, and left as it is."""

import hashlib
import os
import shutil
import sqlite3
import subprocess

import provisor
import pytest

STORES = {"journal.db": "emitter", "queue.db": "deliverer", "handlers.db": None, "history/jobs.db": "auditor"}


def text(path):
    path.write_text("notes of somebody, not a database " * 10)


def damaged(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a TEXT)")
    db.close()


def marked(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA application_id=77")
        db.execute("CREATE TABLE store_meta (key TEXT, value TEXT)")
    db.close()


def newer(path):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE store_meta SET value = '99' WHERE key = 'version'")
    db.close()


def misplaced(path):
    other = "queue.db" if path.name != "queue.db" else "journal.db"
    data = path.parent.parent if path.parent.name == "history" else path.parent
    shutil.copy(data / other, path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A data folder as a pipeline that has stopped leaves it."""
    pipeline = provisor.Pipeline(tmp_path_factory.mktemp("stores"), routers=1, deliverers=1)
    pipeline.start()
    pipeline.stop()
    return pipeline


def up(pipeline, data):
    env = {**os.environ, **pipeline.env, "PROVISOR_PROVISOR_HANDLERS": str(data)}
    return subprocess.run([provisor.BIN / "provisor", "up", "--data", str(data)], env=env, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=30 * provisor.SLOW)


@pytest.mark.parametrize("spoil", [text, damaged, foreign, marked, newer, misplaced], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", STORES)
def test_up_ends_and_says_which_file(stores, tmp_path, name, spoil):
    data = tmp_path / "data"
    shutil.copytree(stores.data, data)
    spoil(data / name)
    before = hashlib.sha256((data / name).read_bytes()).digest()
    done = up(stores, data)
    assert done.returncode == 78, done.stderr
    failed = [line for line in done.stderr.splitlines() if "event=start_failed" in line]
    assert failed and all("code=78" in line and str(data / name) in line and "docs/operations.md" in line
                          for line in failed), done.stderr
    assert hashlib.sha256((data / name).read_bytes()).digest() == before


def test_up_goes_on_over_an_empty_segment_and_refuses_a_foreign_one(stores, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(stores.data, data)
    segment = data / "history" / f"segment-{10**9:020d}.db"
    segment.write_text("notes of somebody, not a database " * 10)
    done = up(stores, data)
    assert done.returncode == 78 and str(segment) in done.stderr, done.stderr
    assert segment.read_text().startswith("notes")
    segment.write_bytes(b"")
    env = {**os.environ, **stores.env, "PROVISOR_PROVISOR_HANDLERS": str(data)}
    with (tmp_path / "auditor.log").open("wb") as log:
        auditor = subprocess.Popen([provisor.BIN / "provisor-auditor", "--data", str(data)], env=env, stderr=log)
    try:
        provisor.wait_until(lambda: not segment.exists(), what="the empty segment is removed")
        provisor.wait_until(lambda: b"event=started" in (tmp_path / "auditor.log").read_bytes(), what="the auditor")
    finally:
        auditor.terminate()
        assert auditor.wait(30 * provisor.SLOW) == 0
