"""What a deliverer owes its peers, with scripted ones: custody, receipts, outcomes, limits, crashes."""

import json
import os
import random
import time

import msgpack
import pytest
import zmq

from deliverer_peers import Emitter, Gate, assert_in_order, make, orders  # noqa: F401
from provisor import SLOW, wait_until


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
    assert (d.rows("deliveries"), d.rows("events"), d.rows("known")) == (0, 0, 100)
    d.send([], [], low_water=d.ids(1)[0])
    wait_until(lambda: d.rows("known") == 0, what="ids forgotten")


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
    wait_until(lambda: d.rows("known") == 0, what="ids forgotten")
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


# ends

def test_max_age_ends_what_never_could_be_tried(make, handler):
    d, h = make(), handler()
    id_ = d.add_handler(h.url, "--max-age", "300ms", "--retry", "1h")
    d.cli("handler", "disable", str(id_))
    d.wait_receipts(d.send_some(50, [id_], objects=3))  # sent with the newest table, which it reads first
    time.sleep(0.4)  # they grow old
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
