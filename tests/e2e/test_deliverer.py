"""What a deliverer owes its peers, with scripted ones: custody, receipts, outcomes, limits, crashes."""

import json
import os
import pathlib
import random
import sqlite3
import threading
import time

import msgpack
import pytest
import zmq

from deliverer_peers import Deliverer, Emitter
from provisor import SLOW, wait_until


@pytest.fixture
def make(tmp_path):
    made = []

    def make_one(start=True, **env):
        folder = tmp_path / f"d{len(made)}"
        folder.mkdir()
        made.append(Deliverer(folder, env={f"PROVISOR_DELIVERER_{k}": v for k, v in env.items()}))
        return made[-1].start() if start else made[-1]

    yield make_one
    for one in made:
        one.close()


def orders(requests):
    """Per object the counters as they came."""
    seen = {}
    for request in list(requests):
        body = json.loads(request["body"])
        seen.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    return seen


def assert_in_order(requests, lives=1):
    """Each life of the deliverer repeats at most a suffix of a lane: rising, without a hole."""
    for counters in orders(requests).values():
        falls = sum(b <= a for a, b in zip(counters, counters[1:]))
        assert falls < lives, counters
        first = list(dict.fromkeys(counters))
        assert first == sorted(first), counters


class Gate:
    """A handler's answer that waits until it is opened."""

    def __init__(self, status=200):
        self.opened, self.status = threading.Event(), status

    def __call__(self, request):
        self.opened.wait(30)
        return self.status


# custody

def test_an_event_is_receipted_once_it_is_stored_and_delivered_once(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    ids = d.send_some(100, [id_])
    d.wait_receipts(ids)
    d.wait_records("delivered", 100)
    assert {r["id"] for r in d.receipts} == set(ids) and not any(r["unmatched"] for r in d.receipts)
    assert_in_order(h.requests)
    assert h.count() == 100
    wait_until(lambda: d.rows("outbox") == 0, what="the outbox settled")
    assert (d.rows("deliveries"), d.rows("events")) == (0, 100)
    d.send([], [], low_water=d.ids(1)[0])
    wait_until(lambda: d.rows("events") == 0, what="ids forgotten")


def test_nothing_pending_is_no_lag(make, handler):
    d, h = make(), handler()
    assert d.stats()["custody_lag_ms"] == 0
    ids = d.send_some(350, [d.add_handler(h.url)], pad=20000)
    d.wait_receipts(ids)
    assert d.stats()["custody_lag_ms"] == 0


def test_copies_are_receipted_again_and_nothing_else(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    ids = d.send_some(20, [id_])
    d.wait_records("delivered", 20)
    events = [d.event(i, object_id=n % 10, n=n) for n, i in enumerate(ids)]
    for low_water in ("", ids[10], ids[19]):  # known; half of them below; all but one below
        at = len(d.receipts)
        d.send(events, [id_, id_ + 1], low_water=low_water)
        wait_until(lambda: len(d.receipts) == at + 20, what="receipts again")
    d.kill()
    d.start()
    at = len(d.receipts)
    d.send(events, [id_], low_water=ids[3])  # an older low_water than the one known
    wait_until(lambda: len(d.receipts) == at + 20, what="receipts after a restart")
    assert h.count() == 20 and d.stats()["events"] == 0


def test_the_first_custody_fixes_the_handlers(make, handler):
    d, one, two = make(), handler(), handler()
    first, second = d.add_handler(one.url), d.add_handler(two.url, name="second")
    ids = d.ids(2)
    d.send([d.event(i, n=n) for n, i in enumerate(ids)], [(0, first, 100)])  # the second: nobody
    d.wait_receipts(ids)
    assert [r["unmatched"] for r in d.receipts] == [0, 1]
    d.kill()
    d.start()
    d.send([d.event(i, n=n) for n, i in enumerate(ids)], [first, second])
    wait_until(lambda: len(d.receipts) == 4, what="receipts again")
    assert [r["unmatched"] for r in d.receipts] == [0, 1, 0, 1]
    d.send_some(1, [second])
    two.wait(1)
    assert two.count() == 1
    assert one.count() <= 2, "twice if it was killed before that outcome was on disk"


@pytest.mark.parametrize("partition,frames,counter", [
    (99, None, "malformed"), (7, None, "foreign"), (5, [b"a", b"b"], "malformed"),
    (5, [b"\x81\x01\x01"] * 4, "malformed"), (5, [b""] * 6, "malformed")])
def test_what_is_not_for_it_is_dropped_and_counted(make, handler, partition, frames, counter):
    d, h = make(PARTITIONS="0-5 8-63"), handler()
    id_ = d.add_handler(h.url)
    if frames:
        d.router.send_multipart(frames)
    else:
        d.send([d.event(d.ids(1)[0])], [id_], partition=partition)
    wait_until(lambda: d.stats()[counter] == 1, what=counter)
    d.wait_receipts(d.send_some(3, [id_]))
    h.wait(3)


def test_lost_partitions_with_rows_refuse_the_start(make, handler):
    d, gate = make(PARTITIONS="0-63"), Gate()
    id_ = d.add_handler(handler(respond=gate).url)
    d.wait_receipts(d.send_some(1, [id_]))
    d.kill()
    d.env["PROVISOR_DELIVERER_PARTITIONS"] = "6-63"
    assert d.start(wait=False).died() == 78
    assert "partition 5" in d.log() and "drain" in d.log()
    gate.opened.set()
    d.env["PROVISOR_DELIVERER_PARTITIONS"] = "0-63"
    d.start()
    d.wait_records("delivered", 1)
    d.send([], [], low_water=d.ids(1)[0])
    wait_until(lambda: d.rows("events") == 0, what="ids forgotten")
    d.kill()
    d.env["PROVISOR_DELIVERER_PARTITIONS"] = "6-63"
    d.start()


# crashes

@pytest.mark.parametrize("point", ["deliverer.custody:1", "deliverer.custody:3", "deliverer.responded:1",
                                   "deliverer.responded:40", "deliverer.marked:1",
                                   "writer.before_commit:3", "writer.committed:3", "writer.committed:6"])
def test_killed_at_a_point_nothing_is_lost_and_order_holds(make, handler, point):
    d, h = make(start=False), handler()
    id_ = d.add_handler(h.url)
    d.start(PROVISOR_CRASH=point)
    ids = d.ids(100)

    def send():
        """As an emitter does: the next batch after the receipts of the one before, or its death."""
        for at in range(0, 100, 20):
            part = ids[at:at + 20]
            d.send([d.event(i, object_id=n % 7, n=n) for n, i in enumerate(part, at)], [id_])
            wait_until(lambda: d.process.poll() or set(part) <= {r["id"] for r in list(d.receipts)},
                       what="receipts or the crash")
            if d.process.poll():
                return  # what waits for a receipt is not overtaken

    send()
    assert d.died() == -9
    d.start()
    send()  # all of it again
    d.wait_receipts(ids)
    wait_until(lambda: {r["event_id"] for r in d.of("delivered")} == set(ids), what="all delivered")
    assert_in_order(h.requests, lives=2)
    assert h.count() <= 100 + 100  # each at most once more
    wait_until(lambda: d.rows("outbox") == 0 and d.rows("deliveries") == 0, what="an empty queue")
    origins = [r["origin"] for r in d.of("delivered")]
    assert origins == sorted(origins)


def test_nothing_is_sent_again_after_its_outcome_was_committed(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    d.auditing = False
    d.send_some(300, [id_])
    wait_until(lambda: d.rows("outbox") == 300, what="outcomes")
    d.kill()
    d.auditing = True
    d.start()
    assert sorted(r["origin"] for r in d.wait_records("delivered", 300)) == list(range(1, 301))
    d.send_some(1, [id_])
    assert d.wait_records("delivered", 301)[-1]["origin"] == 301
    assert h.count() == 301


def test_outcomes_wait_on_disk_while_the_auditor_is_down(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url)
    d.auditing = False
    for _ in range(120):
        d.send_some(100, [id_])  # more than the window of records
    h.wait(12000, timeout=60)
    wait_until(lambda: d.rows("outbox") == 12000, what="outcomes")
    d.auditing = True
    d.wait_records("delivered", 12000, timeout=60)
    assert [r["origin"] for r in d.of("delivered")] == list(range(1, 12001))
    wait_until(lambda: d.rows("outbox") == 0, what="the outbox settled")


def test_killed_at_random_each_delivery_ends_once_and_in_order(make, handler):
    seed = int(os.environ.get("PROVISOR_SEED", time.time()))
    print(f"PROVISOR_SEED={seed}")  # shown when it fails
    chance = random.Random(seed)
    d = make(BREAKER_PROBE="50ms", BODY_CACHE="20KiB", WINDOW="8")
    handlers = [handler(respond=lambda r: 500 if chance.random() < 0.05 else 200) for _ in range(3)]
    ids = [d.add_handler(h.url, "--retry", ",".join(["20ms"] * 20), "--priority", str(n), name=f"h{n}")
           for n, h in enumerate(handlers)]
    emitter = Emitter(d, ids, count=1500, objects=40, chance=chance)
    for _ in range(8):
        until = time.monotonic() + chance.uniform(0.05, 0.3)
        while time.monotonic() < until:
            emitter.done()
            time.sleep(0.002)
        d.kill()
        d.start(wait=False)
    wait_until(emitter.done, what="every receipt")
    d.wait_ready()
    wait_until(lambda: len(d.of("delivered")) >= 4500, 60, "every delivery")
    wait_until(lambda: d.rows("outbox") == 0 and d.rows("deliveries") == 0, what="an empty queue")
    ends = [(r["handler_id"], emitter.number[r["event_id"]]) for r in d.of("delivered", "exhausted", "cancelled")]
    assert len(ends) == len(set(ends)) == 4500
    origins = [r["origin"] for r in d.records if "origin" in r]
    assert origins == list(range(1, len(origins) + 1))
    lanes = {}
    for id_, n in ends:
        lanes.setdefault((id_, n % 40), []).append(n)
    assert all(lane == sorted(lane) for lane in lanes.values())
    for h in handlers:
        for counters in orders(h.requests).values():
            first = list(dict.fromkeys(counters))
            assert first == sorted(first)


def test_ready_when_router_and_auditor_are_there(make):
    d = make()
    d.router.close()
    wait_until(lambda: d.control("ping").get("why") == "no router connected", what="no router")
    d.connect_router()
    wait_until(lambda: d.control("ping")["ready"], what="ready again")
    d.auditing = False
    wait_until(lambda: d.control("ping").get("why") == "no auditor is heard", what="no auditor")


def test_emptying_takes_only_what_low_water_waits_for(make, handler):
    d, gate = make(), Gate()
    h = handler(respond=gate)
    id_ = d.add_handler(h.url)
    ids = d.ids(8)
    events = [d.event(i, object_id=n, n=n) for n, i in enumerate(ids)]
    d.send([events[2], events[5]], [id_])
    d.wait_receipts([ids[2], ids[5]])
    h.wait(2)
    assert d.control("empty") == {"ok": True, "pending": 2, "ids": 2, "outbox": 0, "empty": False}
    ping = d.control("ping")
    assert not ping["ready"] and "drain" in ping["why"]
    d.send(events, [id_], low_water=ids[0])  # all but those beyond the last one taken
    d.wait_receipts(ids[:6])
    d.send([d.event(ids[6], object_id=6, n=6)], [id_], node=b"another")
    d.send(events, [id_], low_water=ids[0])
    wait_until(lambda: d.stats()["duplicates"] >= 8, what="copies")
    assert {r["id"] for r in d.receipts} == set(ids[:6])
    gate.opened.set()
    d.wait_records("delivered", 6)
    wait_until(lambda: d.control("empty")["outbox"] == 0, what="marked")
    assert d.control("empty") == {"ok": True, "pending": 0, "ids": 6, "outbox": 0, "empty": False}
    d.send(events[6:], [id_], low_water=ids[6])
    wait_until(lambda: d.control("empty")["empty"], what="empty")
    d.kill()
    d.env["PROVISOR_DELIVERER_PARTITIONS"] = "6-63"
    d.start()
    assert h.count() == 6


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
    time.sleep(0.7)  # longer than a look at the table
    at = old.count()
    d.cli("handler", "update", str(id_), "--task", new.url)
    more = d.send_some(30, [id_], objects=5)
    d.wait_receipts(ids + more)
    assert new.count() == 0 and old.count() == at
    d.kill()
    d.start()
    d.cli("handler", "enable", str(id_))
    assert d.control("retry", handler_id=id_)["ok"]
    wait_until(lambda: d.control("retry", handler_id=id_) and new.count() == 60, what="all at the new one")
    assert_in_order(new.requests, lives=2)  # the second thirty count from 0 again


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
    assert time.monotonic() - began < 3 * SLOW, "the loop waited for the lock"
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
    h.wait(3)
    time.sleep(0.6)
    assert "enabled" in d.cli("handler", "show", str(id_)), "its time of failing did not start again"


# ends

def test_max_age_ends_what_never_could_be_tried(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url, "--max-age", "300ms", "--retry", "1h")
    d.cli("handler", "disable", str(id_))
    wait_until(lambda: d.control("ping"), what="an answer")
    time.sleep(0.6)
    ids = d.send_some(50, [id_], objects=3)
    d.wait_receipts(ids)
    time.sleep(0.4)
    d.cli("handler", "enable", str(id_))
    ended = d.wait_records("exhausted", 50)
    assert {(r["reason"], r.get("attempt", 0)) for r in ended} == {("max_age", 0)}
    assert h.count() == 0 and d.rows("deliveries") == 0


def test_beyond_its_share_of_the_backlog_deliveries_end(make, handler):
    d, gate, healthy = make(QUEUE_MAX="1000", BACKLOG_SHARE="10"), Gate(), handler()
    bad, good = d.add_handler(handler(respond=gate).url), d.add_handler(healthy.url, name="good")
    ids = []
    for _ in range(6):
        ids += d.send_some(50, [bad, good])
        healthy.wait(len(ids))
    d.wait_receipts(ids)
    full = d.wait_records("exhausted", 200)
    assert [r["event_id"] for r in full] == ids[100:] and {r["reason"] for r in full} == {"backlog_full"}
    gate.opened.set()
    d.wait_records("delivered", 400)


def test_on_full_block_stops_reading_and_goes_on_by_itself(make, handler):
    d, gate = make(QUEUE_MAX="1000", BACKLOG_SHARE="10", ON_FULL="block"), Gate()
    id_ = d.add_handler(handler(respond=gate).url)
    ids = sum((d.send_some(50, [id_]) for _ in range(10)), [])
    wait_until(lambda: not d.control("ping")["ready"], what="not ready")
    assert "on_full" in d.control("ping")["why"] and len(d.receipts) < 200
    gate.opened.set()
    d.wait_receipts(ids)
    d.wait_records("delivered", 500)
    assert d.control("ping")["ready"]


def test_below_half_of_min_free_custody_stops(make, handler):
    d, h = make(start=False), handler()
    d.env["PROVISOR_DISK_MIN_FREE"] = "900000GiB"
    id_ = d.add_handler(h.url)
    d.start(wait=False)
    wait_until(lambda: "disk.min_free" in d.log(), what="the reason in the log")
    d.send_some(3, [id_])
    assert "disk.min_free" in d.control("ping")["why"]
    d.kill()
    assert h.count() == 0 and not d.receipts
    d.env["PROVISOR_DISK_MIN_FREE"] = "1MiB"
    d.start()


def test_what_is_not_read_waits_at_the_router(make):
    d = make(start=False)
    d.env["PROVISOR_DISK_MIN_FREE"] = "900000GiB"  # custody stops
    d.start(wait=False)
    wait_until(lambda: "disk.min_free" in d.log(), what="the reason in the log")
    frames = [msgpack.packb({1: 1, 2: b"emitter1", 3: 1, 4: b""}), b"", msgpack.packb({1: 1, 2: 0}), b""]
    with d.context.socket(zmq.PUSH) as router:
        router.linger, router.sndhwm = 0, 1
        router.connect(d.at["INTAKE"])
        frames[1] = b"x" * 1000000
        taken = 0
        while taken < 300 and router.poll(1000 * SLOW, zmq.POLLOUT):
            router.send_multipart(frames)
            taken += 1
    assert 0 < taken < 150, "it keeps what it does not read in memory"


def test_bodies_beyond_the_cache_are_read_again(make, handler):
    d, gate = make(BODY_CACHE="64KiB", WINDOW="2"), Gate()
    h = handler(respond=gate)
    id_ = d.add_handler(h.url)
    ids = sum((d.send_some(20, [id_], objects=20, pad=20000) for _ in range(20)), [])
    d.wait_receipts(ids)
    wait_until(lambda: d.stats()["body_cache_bytes"] < 200000, what="a bounded cache")
    gate.opened.set()
    h.wait(400)
    d.wait_records("delivered", 400)
    assert all(len(json.loads(r["body"])["data"]["pad"]) == 20000 for r in h.requests)


def test_a_long_lane_is_read_from_the_store_in_order(make, handler):
    d, gate = make(WINDOW="8"), Gate()
    h = handler(respond=gate)
    id_ = d.add_handler(h.url)
    ids = []
    for at in range(0, 2000, 100):
        part = d.ids(100)
        d.send([d.event(i, object_id=n % 3, n=n) for n, i in enumerate(part, at)], [id_])
        ids += part
    gate.opened.set()  # while they still come in
    d.wait_records("delivered", 2000)
    assert_in_order(h.requests)
    assert sum(len(v) for v in orders(h.requests).values()) == 2000


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
    ids = sum((d.send_some(500, [id_], objects=1) for _ in range(12)), [])
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
    d.wait_records("delivered", 6003 - count)
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
