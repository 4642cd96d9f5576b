"""A queue that cannot be read for a while: nothing is lost, nothing ends, it goes on by itself."""

import sqlite3
import threading

import pytest

from provisor import event, wait_until
from shims import Shim

OBJECTS, EACH = 20, 12  # per object more than a lane keeps in memory


@pytest.fixture
def unreadable(tmp_path):
    return Shim("unreadable", tmp_path, "-lsqlite3")


def start(make_pipeline, unreadable, **env):
    pipeline = make_pipeline(start=False, deliverers=1, env=env)
    pipeline["deliverer"].env.update(unreadable.env())
    return pipeline.start()


def stats(pipeline):
    return pipeline["deliverer"].control("stats")["stats"]


def said(pipeline, text):
    return text in pipeline["deliverer"].log_text()


def test_what_waits_on_disk_is_delivered_when_it_can_be_read_again(make_pipeline, handler, unreadable):
    """Lanes that want more, events that memory does not hold: both are asked for again."""
    pipeline = start(make_pipeline, unreadable, PROVISOR_DELIVERER_BODY_CACHE="1")
    answering = threading.Event()
    h = handler(lambda request: 200 if answering.wait(30) else 503)
    pipeline.add_handler(h.url, "--window", "4")
    with pipeline.core() as core:
        core.accept([event(object_id=n % OBJECTS, data={"n": n // OBJECTS}) for n in range(OBJECTS * EACH)])
    wait_until(lambda: stats(pipeline)["pending"] == OBJECTS * EACH, what="custody")
    unreadable.on()
    answering.set()
    wait_until(lambda: said(pipeline, "event=store_unreadable"), what="a log line")
    ping = pipeline["deliverer"].control("ping")
    assert not ping["ready"] and "cannot be read" in ping["why"]
    unreadable.off()
    wait_until(lambda: stats(pipeline)["pending"] == 0, what="all delivered")
    wait_until(pipeline["deliverer"].ready, what="ready")
    assert said(pipeline, "event=store_readable") and said(pipeline, "next=\"nothing new starts")
    assert pipeline["deliverer"].log_text().count("event=store_unreadable") == 1, "once per change"
    seen = {}
    for body in h.bodies():
        seen.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    assert seen == {n: list(range(EACH)) for n in range(OBJECTS)}, "in order, once"


def test_a_cancellation_goes_on_when_rows_can_be_read_again(make_pipeline, handler, unreadable):
    pipeline = start(make_pipeline, unreadable)
    h = handler(lambda request: 503)
    handler_id = pipeline.add_handler(h.url, "--retry", "1h,1h")
    deliverer = pipeline["deliverer"]
    with pipeline.core() as core:
        core.accept([event(object_id=n % OBJECTS) for n in range(OBJECTS * EACH)])
    wait_until(lambda: stats(pipeline)["events"] == OBJECTS * EACH, what="custody")
    unreadable.on()
    assert deliverer.control("cancel", handler_id=handler_id)["ok"]
    wait_until(lambda: said(pipeline, "event=store_unreadable"), what="a log line")
    unreadable.off()
    wait_until(lambda: stats(pipeline)["pending"] == 0, what="all cancelled")
    assert stats(pipeline)["cancelled"] == OBJECTS * EACH


def test_an_object_is_cancelled_in_all_of_its_lanes_or_in_none(make_pipeline, handler, unreadable):
    """An object_id without its kind names a lane of each kind; one of them cannot be counted."""
    pipeline = start(make_pipeline, unreadable)
    handler_id = pipeline.add_handler(handler(lambda request: 503).url, "--retry", "1h,1h")
    last = "SELECT MAX(event_seq) FROM deliveries"
    deliverer, kinds = pipeline["deliverer"], ["clients.update", "clients.accounts.update"]
    with pipeline.core() as core:
        core.accept([event(kind, object_id=7) for kind in kinds for _ in range(EACH)])
    queue = sqlite3.connect(f"file:{deliverer.data}/queue.db?mode=ro", uri=True)
    wait_until(lambda: queue.execute(last).fetchone() == (2 * EACH,), what="custody")
    lane, = queue.execute("SELECT DISTINCT d.object FROM deliveries d JOIN events e ON e.seq = d.event_seq"
                          " WHERE e.events_id = ?", kinds[1:]).fetchone()
    unreadable.on(f"object = {lane}")
    answer = deliverer.control("cancel", handler_id=handler_id, object_id="7")
    assert not answer["ok"] and "nothing is cancelled" in answer["error"]
    unreadable.off()
    with pipeline.core() as core:
        core.accept([event()])
    wait_until(lambda: queue.execute(last).fetchone() == (2 * EACH + 1,), what="a commit, with what a job has begun")
    assert (stats(pipeline)["cancelled"], *queue.execute("SELECT COUNT(*) FROM cancels")) == (0, (0,))
    queue.close()
    answer = deliverer.control("cancel", handler_id=handler_id, object_id="7")
    assert answer == {"ok": True, "count": 2 * EACH}
    wait_until(lambda: stats(pipeline)["pending"] == 1, what="all cancelled")
