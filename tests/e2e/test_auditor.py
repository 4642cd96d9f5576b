"""The real auditor between stages that are played here: acceptance, marks, the stream, questions,
kills."""

import os
import random
import signal
import time

import msgpack
import pytest
import zmq

from auditor_peers import auditor, event_id, make_auditor, record  # noqa: F401
from provisor import SLOW, wait_until


def assert_whole(records):
    """Ids without a hole, topics chained."""
    assert [r["audit_id"] for r in records] == list(range(1, len(records) + 1))
    last = {}
    for r in records:
        assert r["prev_id"] == last.get(r["topic"], 0)
        last[r["topic"]] = r["audit_id"]


def test_ready_means_that_every_kind_of_stage_is_heard(auditor):
    assert auditor.stage.why() == "no emitter, router, deliverer heard"
    auditor.until(lambda: auditor.stage.control("ping")["ready"], what="ready")
    router = auditor.stages.pop(1)
    auditor.until(lambda: auditor.stage.why() == "no router heard", what="why")
    auditor.stages.insert(1, router)
    auditor.until(lambda: auditor.stage.control("ping")["ready"], what="ready again")


def test_a_stage_that_joins_hears_its_mark_at_once(auditor):
    for n in range(10):
        auditor.accept(n)
    auditor.settle()
    socket = auditor.context.socket(zmq.SUB)
    socket.subscribe(auditor.emitter.node)
    socket.connect(auditor.pipeline.env["PROVISOR_AUDITOR_MARKS"])
    assert socket.poll(60000 * SLOW)
    node, mark = socket.recv_multipart()
    assert msgpack.unpackb(mark, raw=True, strict_map_key=False)[4] == 10
    socket.close(linger=0)


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_any_point_lose_and_repeat_nothing(make_auditor, seed):
    """kill -9 of the auditor at random and at crash points, restarts of the emitter meanwhile: every
    durable record once and in order."""
    chooser = random.Random(f"{seed} {os.environ.get('PROVISOR_SEED', '')}")
    points = ["auditor.committed", "auditor.turning", "auditor.sealing", "auditor.retention",
              "writer.before_commit", "writer.committed"]
    auditor = make_auditor(segment_attempts=100)
    n = kills = restarts = 0
    started = time.monotonic()
    while n < 3000 or not all(stage.settled() for stage in auditor.stages):
        assert time.monotonic() < started + 100 * SLOW
        if n < 3000 and auditor.emitter.mark + 600 > len(auditor.emitter.records):
            for _ in range(chooser.randrange(8)):
                n += 1
                auditor.accept(n, str(n % 50))
                auditor.deliver(n, "delivered", object_id=str(n % 50))
                auditor.emitter.add("event.rejected", durable=False, code="bad_json")
        auditor.pump()
        if kills % 3 == 2 and restarts < 6 and chooser.random() < 0.02:
            restarts += 1
            auditor.restart_emitter()
        if not auditor.stage.alive():
            crash = f"{chooser.choice(points)}:{chooser.randrange(1, 30)}"
            auditor.start(**({"PROVISOR_CRASH": crash} if kills < 12 else {}))
        elif kills < 12 and chooser.random() < 0.02:
            auditor.stage.kill().wait()
        kills += not auditor.stage.alive()
        time.sleep(0.002)
    assert kills >= 3
    auditor.stage.kill().wait()  # a crash point may be armed yet
    auditor.start()
    records = auditor.records()
    assert_whole(records)
    wanted = [event_id(i) for i in range(1, n + 1)]
    for topic in ("event.accepted", "delivery.delivered"):
        assert [r["event_id"] for r in records if r["topic"] == topic] == wanted
    rows = auditor.ask({"op": "log", "object_id": "7", "limit": 1000})["records"]
    assert [r["event_id"] for r in reversed(rows)] == [event_id(i) for i in range(7, n + 1, 50)]


def test_a_restarted_emitter_repeats_itself_in_vain(auditor):
    for n in range(20):
        auditor.accept(n)
    auditor.emitter.add("event.unmatched", durable=False, event_id=event_id(3))
    auditor.settle()
    rows = auditor.emitter.rows + [(o + 1, r) for o, r in enumerate(
        [record("event.accepted", event_id=event_id(n), origin=n + 1) for n in range(20)])]
    auditor.emitter.rows = rows  # it was killed before it heard the marks
    auditor.restart_emitter()
    auditor.emitter.add("event.unmatched", durable=False, event_id=event_id(3))
    auditor.accept(20)
    auditor.settle()
    assert [r["event_id"] for r in auditor.records("event.accepted")] == [event_id(n) for n in range(21)]
    assert len(auditor.records("event.unmatched")) == 1


def test_a_hole_is_accepted_and_recorded(auditor):
    auditor.accept(1)
    auditor.settle()
    emitter = auditor.emitter
    for n in range(2, 9):
        auditor.accept(n)
    emitter.sent = len(emitter.records)  # too early: numbers 2..5 are missing, and come later
    emitter.message(6, 3, oldest=2)
    auditor.until(lambda: auditor.stats()["messages"] > 0 and emitter.mark == 8, what="all of it")
    for _ in range(6):
        emitter.add("event.rejected", durable=False, code="x")
    emitter.gone = 11  # 9..11 are lost for good
    auditor.until(lambda: emitter.mark == 14, what="the mark")
    gap, = auditor.records("stage.audit_gap")
    assert gap["count"] == 3 and gap["node"] == emitter.node and gap["service"] == "emitter"
    assert len(auditor.records("event.rejected")) == 3


def test_malformed_messages_hurt_nobody(auditor):
    emitter = auditor.emitter
    auditor.until(lambda: emitter.joined, what="the auditor hears")
    for frames in ([b"x"], [b"x", b"y"], [b"x", b"\xc1", b""], [b"x", msgpack.packb({1: 1}), b""],
                   [b"", b"", b"", b""]):
        emitter.pub.send_multipart(frames)
    for body in (b"\xff" * 100, record("event.accepted")[:-3], record("Bad Topic"),
                 record("stage.stats", stats="{"), record("a") + record("b")):
        emitter.message(1, 1, body=body)
    auditor.accept(1)
    auditor.settle()
    assert auditor.stats()["malformed"] >= 5
    assert len(auditor.records("event.accepted")) == 1


def test_the_stream(auditor):
    everything, some = auditor.subscribe(), auditor.subscribe("delivery.exhausted", "stage.")
    auditor.until(lambda: everything.heartbeats and some.heartbeats, what="heartbeats")
    for n in range(500):
        auditor.accept(n)
        auditor.deliver(n, "exhausted" if n % 10 == 0 else "delivered", response="r" * 3000)
    auditor.router.add("stage.stats", durable=False, stats='{"forwarded":5}')
    auditor.settle()
    in_history = auditor.records()
    auditor.until(lambda: everything.records[-1:] == in_history[-1:], what="the last record")
    records = list(everything.records)
    first = records[0]["audit_id"]
    assert [r["audit_id"] for r in records] == list(range(first, first + len(records)))
    assert records == [r for r in in_history if r["audit_id"] >= first]
    delivery = next(r for r in records if r["topic"] == "delivery.delivered")
    assert len(delivery["response"]) == 1024 and delivery["status"] == "success"
    assert "body" not in records[0] and "request" not in delivery
    topics = lambda subscriber: [r["topic"] for r in subscriber.records]  # noqa: E731
    auditor.until(lambda: topics(some).count("delivery.exhausted") == 50, what="the exhausted ones")
    exhausted = [r for r in some.records if r["topic"] == "delivery.exhausted"]
    assert [r["prev_id"] for r in exhausted[1:]] == [r["audit_id"] for r in exhausted[:-1]]
    stats = auditor.until(lambda: [h for h in everything.heartbeats if h["topic"] == "stage.stats"
                                   and h["service"] == "router"], what="a stage's stats")[0]
    assert stats["stats"] == {"forwarded": 5} and "audit_id" not in stats
    heartbeat = auditor.until(lambda: [h for h in everything.heartbeats if h.get("last_audit_id")
                                       == records[-1]["audit_id"]], what="a later heartbeat")[0]
    assert heartbeat["last"]["delivery.exhausted"] == exhausted[-1]["audit_id"]
    auditor.until(lambda: [h for h in everything.heartbeats if h["topic"] == "stage.stats"
                           and h["service"] == "auditor" and h["stats"]["subscriptions"] == 3],
                  what="the auditor's stats")


def test_heartbeats_come_also_while_others_talk(auditor):
    """Who subscribes to one topic only must be able to tell that its last record was lost."""
    subscriber = auditor.subscribe("stage.heartbeat")
    auditor.until(lambda: subscriber.heartbeats, what="a heartbeat in the silence")
    n = 0

    def talk():
        nonlocal n
        n += 1
        auditor.accept(n)
        return any(h["last_audit_id"] > 100 for h in subscriber.heartbeats)
    auditor.until(talk, what="a heartbeat meanwhile", timeout=30)


def test_a_subscriber_that_does_not_read_is_nobodys_problem(auditor):
    slow = auditor.context.socket(zmq.SUB)
    slow.rcvhwm = 1
    slow.subscribe("")
    slow.connect(auditor.pipeline.env["PROVISOR_AUDITOR_STREAM"])
    wait_until(lambda: auditor.stats()["subscriptions"] == 1, what="subscribed")
    n = 0
    for _ in range(15):
        for _ in range(2000):
            n += 1
            auditor.deliver(n, "delivered", response="r" * 1000)
        auditor.settle()
    with open(f"/proc/{auditor.stage.process.pid}/smaps_rollup") as rollup:
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    assert pss < 100 * 1024 or SLOW > 1, "the stream is bounded per subscriber"
    slow.close(linger=0)


def test_drain_commits_what_was_read(auditor):
    for n in range(2000):
        auditor.accept(n)
    auditor.pump()
    auditor.until(lambda: auditor.emitter.mark > 0, what="a mark")
    auditor.stage.kill(signal.SIGTERM)
    assert auditor.stage.wait() == 0
    auditor.pump()
    auditor.start()
    auditor.settle()
    records = auditor.records()
    assert_whole(records)
    assert len([r for r in records if r["topic"] == "event.accepted"]) == 2000
    stages = lambda: [r["topic"] for r in auditor.records() if r["service"] == "auditor"]  # noqa: E731
    auditor.until(lambda: stages() == ["stage.started", "stage.stopped", "stage.started"],
                  what="its own records")


def test_a_second_auditor_is_refused(auditor):
    second = type(auditor.stage)(auditor.pipeline, "auditor", "second", {}, auditor.pipeline.data)
    second.start()
    assert second.wait() == 75
    assert "auditor" in second.log_text()
