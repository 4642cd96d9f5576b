"""A deliverer with scripted peers: handlers that change, replays, ordering, control."""

import json
import pathlib
import sqlite3
import threading
import time

import pytest

from deliverer_peers import Gate, assert_in_order, make  # noqa: F401
from provisor import SLOW, wait_until
from shims import Shim


# handlers that change

@pytest.mark.parametrize("op,reason", [("archive", "archived"), ("delete", "deleted")])
def test_a_handler_that_goes_cancels_what_is_pending(make, handler, op, reason):
    d, gate = make(WINDOW="4"), Gate(500)
    h = handler(respond=gate)
    id_ = d.add_handler(h.url, "--retry", "1h")
    ids = sum((d.send_some(500, [id_], objects=50) for _ in range(6)), [])
    d.wait_receipts(ids)
    h.wait(4)
    d.cli("handler", op, str(id_))
    wait_until(lambda: len(d.of("cancelled")) == 2996, what="cancelled")
    gate.opened.set()
    cancelled = d.wait_records("cancelled", 3000)  # those in flight failed: no other attempt
    assert {r["event_id"] for r in cancelled} == set(ids) and len(cancelled) == 3000
    assert {r["reason"] for r in cancelled} == {reason}
    late = d.send_some(3, [id_, id_ + 100])  # matched with an older table; one that nobody knows
    d.wait_receipts(late)
    d.wait_records("cancelled", 3006)
    wait_until(lambda: d.rows("deliveries") == 0, what="no rows")
    assert h.count() == 4 and d.stats()["pending"] == 0


def test_cancelling_goes_on_after_a_crash(make, handler):
    d, gate = make(WINDOW="1"), Gate()
    id_ = d.add_handler(handler(respond=gate).url)
    ids = sum((d.send_some(500, [id_], objects=3) for _ in range(8)), [])
    d.wait_receipts(ids)
    d.kill()
    d.cli("handler", "delete", str(id_))
    d.start(wait=False, PROVISOR_CRASH="writer.committed:3")
    d.died()
    assert 0 < d.rows("deliveries") < 4000
    d.start()
    d.wait_records("cancelled", 4000)
    assert d.rows("deliveries") == 0


def test_disabled_parks_and_enabled_goes_on_with_the_new_settings(make, handler):
    d, old, new = make(), handler(respond=lambda r: 500), handler()
    id_ = d.add_handler(old.url, "--retry", "50ms,50ms,1h,1h")
    ids = d.send_some(30, [id_], objects=5)
    d.wait_records("retrying", 5)
    d.cli("handler", "disable", str(id_))
    d.wait_receipts(ids + d.send_some(30, [id_], objects=5))  # sent with the newest table, which it reads first
    wait_until(lambda: d.handler_stats(id_)["in_flight"] == 0, what="nothing in flight")
    at = old.count()
    d.cli("handler", "update", str(id_), "--task", new.url)
    d.wait_receipts(d.send_some(1, [id_]))
    assert new.count() == 0 and old.count() == at
    d.kill()
    d.start()
    d.cli("handler", "enable", str(id_))
    assert d.control("retry", handler_id=id_)["ok"]
    wait_until(lambda: d.control("retry", handler_id=id_) and new.count() == 61, what="all at the new one")
    assert_in_order(new.requests, lives=3)  # each time they count from 0 again


def test_a_newer_table_is_read_before_a_handler_is_unknown(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    d.send([d.event(d.ids(1)[0])], [id_], table=1)  # at once: the 500 ms are not over
    h.wait(1)
    assert not d.of("cancelled")


def test_events_matched_with_a_newer_table_stay_with_their_emitter(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    ids = d.ids(2)
    at = d.table_version()
    for _ in range(3):
        d.send([d.event(ids[0])], [id_, id_ + 1], table=at + 1)
    wait_until(lambda: not d.control("ping")["ready"], what="not ready")
    assert "provisor.handlers" in d.control("ping")["why"]
    assert d.log().count("handler_table_behind") == 1
    assert not d.of("cancelled") and ids[0] not in {r["id"] for r in d.receipts}
    later = d.add_handler(h.url, name="later")
    d.send([d.event(ids[0])], [id_, later], table=at + 1)
    d.wait_receipts(ids[:1])
    d.wait_records("delivered", 2)
    wait_until(lambda: d.control("ping")["ready"], what="ready again")
    assert not d.of("cancelled")


@pytest.mark.parametrize("how", ["lost", "older", "exchanged"])
def test_a_queue_without_its_handler_table_is_not_touched(make, handler, how):
    d, gate = make(), Gate()
    first = d.add_handler(handler(respond=gate).url)
    copy = pathlib.Path(d.data) / "copy.db"
    with sqlite3.connect(f"{d.data}/handlers.db") as table, sqlite3.connect(copy) as db:
        table.backup(db)
    second = d.add_handler(handler(respond=gate).url, name="second")
    d.wait_receipts(d.send_some(20, [first, second]))
    d.kill()
    for path in pathlib.Path(d.data).glob("handlers.db*"):
        path.rename(path.with_name(path.name + ".kept"))
    if how == "older":
        copy.rename(f"{d.data}/handlers.db")
    elif how == "exchanged":  # as new as it should be, but another one
        d.add_handler("http://127.0.0.1:1/x")
        for _ in range(3):
            d.cli("handler", "update", str(first), "--task", "http://127.0.0.1:1/y")
    d.start(wait=False)
    assert d.died() == 78
    assert "check provisor.handlers" in d.log() and "handlers.db" in d.log()
    for path in pathlib.Path(d.data).glob("handlers.db*"):
        if not path.name.endswith(".kept"):
            path.unlink()
    for path in pathlib.Path(d.data).glob("handlers.db*.kept"):
        path.rename(str(path)[:-len(".kept")])
    gate.opened.set()
    d.start()
    d.wait_records("delivered", 40)
    assert not d.of("cancelled")


def test_an_empty_queue_takes_another_handler_table(make, handler):
    d, h = make(), handler()
    failing = d.add_handler(handler(respond=500).url, "--retry", "10ms", name="failing")
    d.wait_receipts(d.send_some(1, [failing]))
    d.wait_records("exhausted", 1)
    wait_until(lambda: not d.rows("deliveries") and d.rows("failing"), what="an outcome in the queue")
    d.kill()
    for path in pathlib.Path(d.data).glob("handlers.db*"):
        path.unlink()
    d.start()
    assert "event=handler_table_replaced" in d.log()
    wait_until(lambda: not d.rows("failing"), what="a new handler of that number begins anew")
    new = d.add_handler(h.url)
    assert new == failing
    d.wait_receipts(d.send_some(1, [new]))
    d.wait_records("delivered", 1)
    d.kill()
    d.start()
    assert d.log().count("event=handler_table_replaced") == 1


def test_410_suspends_and_what_follows_parks(make, handler):
    d, gone = make(), [True]
    h = handler(respond=lambda r: 410 if gone[0] else 200)
    id_ = d.add_handler(h.url)
    d.send_some(1, [id_])
    wait_until(lambda: "suspended" in d.cli("handler", "show", str(id_)), what="suspended")
    assert d.wait_records("retrying", 1)[0]["http_status"] == 410
    d.wait_receipts(d.send_some(20, [id_]))
    assert h.count() == 1
    d.kill()
    d.start()
    gone[0] = False
    d.cli("handler", "enable", str(id_))
    d.wait_records("delivered", 21)
    assert h.count() == 22


def test_a_busy_handler_table_holds_up_nobody(make, handler):
    d, good, gone = make(), handler(), handler(respond=lambda r: 410)
    good_id, gone_id = d.add_handler(good.url, name="good"), d.add_handler(gone.url, name="gone")
    d.send_some(1, [good_id])
    good.wait(1)
    table = sqlite3.connect(f"{d.data}/handlers.db", isolation_level=None)
    table.execute("BEGIN IMMEDIATE")  # a backup tool, or a command line that was stopped
    d.send_some(1, [gone_id])
    gone.wait(1)
    began = time.monotonic()
    for n in range(2, 20):
        d.send_some(1, [good_id])
        good.wait(n)
    assert time.monotonic() - began < 4.5 * SLOW, "the loop waited for the lock"
    assert d.log().count("suspend_not_stored") == 1
    table.execute("ROLLBACK")
    wait_until(lambda: "suspended" in d.cli("handler", "show", str(gone_id)), what="suspended")


def test_a_handler_that_only_fails_is_suspended_also_over_a_restart(make, handler):
    d, h = make(SUSPEND_AFTER="1s"), handler(respond=lambda r: 500)
    id_ = d.add_handler(h.url, "--retry", "1h,1h")
    d.send_some(1, [id_])
    d.wait_records("retrying", 1)
    d.kill()
    time.sleep(1)
    d.start()
    assert "enabled" in d.cli("handler", "show", str(id_))
    d.control("retry", handler_id=id_)
    wait_until(lambda: "suspended" in d.cli("handler", "show", str(id_)), what="suspended")
    assert "only failed since" in d.log()
    d.cli("handler", "enable", str(id_))
    wait_until(lambda: d.control("retry", handler_id=id_)["count"], what="another attempt")
    d.wait_records("exhausted", 1)
    assert "enabled" in d.cli("handler", "show", str(id_)), "its time of failing did not start again"


def test_a_stepped_clock_suspends_nobody(make, handler, tmp_path):
    """The time of failing is an interval; of its beginning only a restart knows no more than the clock."""
    stepped = Shim("stepped", tmp_path)
    d, h = make(start=False, SUSPEND_AFTER="1h"), handler(respond=lambda r: 500)
    d.start(**stepped.env())
    id_ = d.add_handler(h.url, "--retry", "1h,1h,1h", "--max-age", "30d")
    d.send_some(1, [id_])
    first = d.wait_records("retrying", 1)[0]["next_ms"]
    stepped.on()
    wait_until(lambda: d.control("retry", handler_id=id_)["count"], what="another attempt")
    second = d.wait_records("retrying", 2)[1]["next_ms"]
    assert second - first > 9 * 24 * 3600 * 1000, "the clock was stepped"
    assert "enabled" in d.cli("handler", "show", str(id_))


# replays, ordering, control

def test_replays_and_tests_are_marked(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    first, replay, test = d.ids(3)
    d.send([d.event(first), d.event(replay, webhook_id=first.encode(), replay_handler=id_, replay=2),
            d.event(test, replay_handler=id_)], [id_])
    h.wait(3)
    headers = [r["headers"] for r in h.requests]
    assert [x["webhook-id"] for x in headers] == [first, first, test]
    assert [(x.get("provisor-replay"), x.get("provisor-test")) for x in headers] == [
        (None, None), ("2", None), (None, "1")]
    record = d.wait_records("delivered", 3)[1]
    assert (record["event_id"], record["webhook_id"], record["replay"]) == (replay, first, 2)


def test_without_ordering_nothing_waits(make, handler):
    d = make()
    h = handler(respond=lambda r: 500 if json.loads(r["body"])["data"]["n"] == 0 else 200)
    id_ = d.add_handler(h.url, "--ordering", "none", "--retry", "1h")
    d.send_some(50, [id_], objects=1)
    d.wait_records("delivered", 49)
    ordered = d.add_handler(h.url, "--retry", "1h", name="ordered")
    d.send([d.event(i, object_id=None, n=n) for n, i in enumerate(d.ids(50))], [ordered])
    d.wait_records("delivered", 98)


def test_control_cancels_and_hurries(make, handler):
    d, down = make(), [True]
    h = handler(respond=lambda r: 500 if down[0] else 200)
    id_ = d.add_handler(h.url, "--retry", "1h,1h")
    ids = d.send_some(30, [id_], objects=3)
    d.wait_records("retrying", 3)
    states = [d.control("deliveries", event_id=i)["deliveries"][0] for i in (ids[0], ids[4])]
    assert [(s["state"], s["attempts"]) for s in states] == [("retrying", 1), ("blocked", 0)]
    stats = d.handler_stats(id_)
    assert (stats["pending"], stats["lanes"], stats["blocked_lanes"]) == (30, 3, 3)
    assert stats["oldest_ms"] > 0 and stats["last_error"] == "status 500" and stats["last_error_ms"] > 0
    assert d.control("cancel", delivery_id=f"{ids[4]}-{id_}") == {"ok": True, "count": 1}
    assert d.control("cancel", delivery_id=f"{ids[4]}-{id_}")["count"] == 0
    assert d.control("cancel", handler_id=id_, object_id="2")["count"] == 10
    assert len(d.wait_records("cancelled", 11)) == 11
    assert d.control("retry", delivery_id=f"{ids[0]}-{id_}")["count"] == 1
    d.wait_records("retrying", 4)  # the head waits again
    down[0] = False
    assert d.control("retry", handler_id=id_, object_id=0)["count"] == 1
    d.wait_records("delivered", 10)
    assert d.control("cancel", handler_id=id_)["count"] == 9
    d.wait_records("cancelled", 20)
    d.send_some(3, [id_], objects=3)
    d.wait_records("delivered", 13)
    assert {r["reason"] for r in d.of("cancelled")} == {"operator"} and d.rows("deliveries") == 0
    for question in ({"delivery_id": "x"}, {"handler_id": 99}, {}):
        assert not d.control("cancel", **question)["ok"]


def test_what_is_in_flight_when_cancelled_gets_no_other_attempt(make, handler):
    d, gate = make(), Gate(500)
    h = handler(respond=gate)
    id_ = d.add_handler(h.url, "--retry", "10ms,10ms")
    ids = d.send_some(3, [id_], objects=1)
    h.wait(1)
    assert d.control("deliveries", event_id=ids[0])["deliveries"][0]["state"] == "in_flight"
    assert d.control("cancel", handler_id=id_)["count"] == 3
    gate.opened.set()
    records = d.wait_records("cancelled", 3)
    assert sorted((r["event_id"], r.get("attempt", 0)) for r in records) == [
        (ids[0], 1), (ids[1], 0), (ids[2], 0)]
    assert h.count() == 1


@pytest.mark.parametrize("which", ["handler", "object", "delivery", "in flight"])
def test_what_was_answered_as_cancelled_stays_so_over_a_crash(make, handler, which):
    d, gate = make(WINDOW="1"), Gate(500)
    h = handler(respond=gate)
    id_ = d.add_handler(h.url, "--retry", "1h")
    batches = 12 if which in ("handler", "object") else 1  # so many take several commits to cancel
    ids = sum((d.send_some(500, [id_], objects=1) for _ in range(batches)), [])
    d.wait_receipts(ids)
    h.wait(1)  # the first one is in flight
    members, count = {"handler": ({"handler_id": id_}, 6000),
                      "object": ({"handler_id": id_, "object_id": 0}, 6000),
                      "delivery": ({"delivery_id": f"{ids[7]}-{id_}"}, 1),
                      "in flight": ({"delivery_id": f"{ids[0]}-{id_}"}, 1)}[which]
    assert d.control("cancel", **members) == {"ok": True, "count": count}
    d.kill()
    gate.status = 200
    gate.opened.set()
    if count > 1:  # and once more in the middle of it
        d.start(wait=False, PROVISOR_CRASH="writer.before_commit:2")
        d.died()
        assert d.rows("deliveries") > 0
    d.start()
    more = d.send_some(3, [id_], objects=1)
    records = d.wait_records("cancelled", count)
    d.wait_records("delivered", len(ids) + 3 - count)
    assert {r["reason"] for r in records} == {"operator"} and len(d.of("cancelled")) == count
    assert {r["event_id"] for r in d.of("delivered")} == set(ids + more) - {r["event_id"] for r in records}
    wait_until(lambda: d.rows("cancels") == 0, what="nothing left to cancel")


def test_a_cancellation_ends_at_what_comes_later_also_when_numbers_are_given_again(make, handler):
    d, gate = make(WINDOW="1"), Gate(500)
    h = handler(respond=gate)
    id_ = d.add_handler(h.url, "--retry", "1h")
    ids = d.send_some(10, [id_], objects=1)
    h.wait(1)
    assert d.control("cancel", handler_id=id_)["count"] == 10  # one of them in flight: not over
    d.wait_records("cancelled", 9)
    d.send([], [], low_water=d.ids(1)[0])
    wait_until(lambda: d.rows("events") == 1, what="ids forgotten")  # the number of the last is free
    d.kill()
    d.start(wait=False, PROVISOR_CRASH="writer.before_commit:2")
    d.died()
    d.start()
    gate.status = 200
    gate.opened.set()
    d.send_some(9, [id_], objects=1)
    d.wait_records("delivered", 9)
    assert [r["event_id"] for r in d.wait_records("cancelled", 10)].count(ids[0]) == 1


def test_a_drain_waits_for_what_is_in_flight(make, handler):
    d, gate = make(), Gate()
    h = handler(respond=gate)
    id_ = d.add_handler(h.url)
    d.wait_receipts(d.send_some(40, [id_], objects=40))
    h.wait(16)
    threading.Timer(0.5, gate.opened.set).start()
    assert d.kill(15) == 0
    assert h.count() == 16 and d.rows("deliveries") == 24
    d.start()
    d.wait_records("delivered", 40)
    assert h.count() == 40
