"""The real emitter: its journal over crashes, and what it owes a router, a deliverer and an auditor,
which are played here."""

import json
import os
import random
import signal
import subprocess

import msgpack
import pytest
import zmq

from emitter_peers import emitter, encode, make_emitter, receive, rss_mib  # noqa: F401
from provisor import BIN, SLOW, event, wait_until


# ---- Journal --------------------------------------------------------------------------------

def test_idempotency_survives_a_kill(emitter):
    first = [emitter.ask_json(event(id=f"k{n}"))["id"] for n in range(20)]
    assert emitter.ask_json(event(id="unused", events_id="clients.explode"))["status"] == "rejected"
    emitter.restart()
    for n in range(20):
        assert emitter.ask_json(event(id=f"k{n}")) == {"status": "duplicate", "id": first[n]}
    assert emitter.ask_json(event(id="k0", object_id=13))["error"]["code"] == "id_conflict"
    fresh = emitter.ask_json(event(id="unused"))
    assert fresh["status"] == "accepted" and fresh["id"] > first[-1]
    emitter.restart(signal.SIGTERM)
    assert emitter.ask_json(event(id="unused"))["status"] == "duplicate"


@pytest.mark.parametrize("point", ["writer.before_commit", "emitter.committed", "emitter.answered"])
def test_killed_at_a_point_nothing_is_lost(make_emitter, point):
    emitter = make_emitter(start=False, PROVISOR_EMITTER_RESEND_AFTER="200ms").start()
    down = emitter.play()
    emitter.restart(PROVISOR_CRASH=f"{point}:5")
    core, requests, ids = emitter.dealer(), [event(object_id=n % 5, id=f"k{n}", data={"n": n})
                                             for n in range(300)], {}
    at = 0
    while len(ids) < len(requests):
        if at < len(requests) and at - len(ids) < 10:
            core.send(encode(requests[at]))
            at += 1
        elif core.poll(50):
            answer = json.loads(core.recv())
            assert answer["status"] in ("accepted", "duplicate")
            ids[len(ids)] = answer["id"]
        elif not emitter.stage.alive():
            assert emitter.stage.wait() == -signal.SIGKILL
            core.close()  # or it would send what it still has to the next one, out of order
            emitter.start()
            core, at = emitter.dealer(), len(ids)  # again from the first without an answer
    down.wait(300)
    numbers = {}
    for id_, taken in down.custody.items():
        body = json.loads(taken[5])
        numbers.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
        assert ids[body["data"]["n"]].encode() == id_
    assert len(down.custody) == 300
    assert all(n == sorted(n) for n in numbers.values())
    core.close()


def test_the_journal_goes_on_after_a_restart(emitter):
    ids = [emitter.ask_json(event(object_id=n % 3))["id"] for n in range(50)]
    emitter.restart()
    assert emitter.stats()["journal_rows"] == 50
    down, auditor = emitter.play(), emitter.play_auditor()
    down.wait(50)
    assert sorted(id_.decode() for id_ in down.custody) == ids
    wait_until(lambda: emitter.stats()["journal_rows"] == 0, what="an empty journal")
    assert {r[4].decode() for r in auditor.of("event.accepted")} == set(ids)
    assert emitter.stage.control("event", event_id=ids[0])["found"] is False


def test_one_emitter_per_folder(emitter):
    ports = {f"PROVISOR_EMITTER_{key}": "ipc://@" + key + str(os.getpid())
             for key in ("PUSH", "INTAKE", "REPLAY", "AUDIT", "CONTROL")}
    second = subprocess.run([BIN / "provisor-emitter", "--data", emitter.pipeline.data],
                            env={**os.environ, **emitter.pipeline.env, **ports},
                            capture_output=True, text=True, timeout=20 * SLOW)
    assert second.returncode == 75 and str(emitter.stage.process.pid) in second.stderr
    emitter.assert_lives()


def test_sigterm_answers_what_was_read(emitter):
    core = emitter.dealer(rcvhwm=0)  # reads all the time
    for n in range(2000):
        core.send(encode(event(object_id=n)))
    receive(core)
    emitter.stage.kill(signal.SIGTERM)
    assert emitter.stage.wait() == 0, emitter.stage.log_text()
    answered = 1
    while core.poll(1000):
        assert json.loads(core.recv())["status"] == "accepted"
        answered += 1
    core.close()  # or it would send the rest to the next one
    emitter.start()
    assert emitter.stats()["journal_rows"] == answered


# ---- Downstream -----------------------------------------------------------------------------

def connected(emitter):
    stats = emitter.stats()
    return stats["routers"] == stats["deliverers"] == 1


def test_one_message_per_object_is_on_its_way(emitter):
    down = emitter.play(receipting=False)
    wait_until(lambda: connected(emitter), what="connections")
    for n in range(10):
        emitter.ask_json(event(data={"n": n}))
    down.wait(1)
    stats = emitter.stats()
    assert (stats["in_flight"], stats["unreceipted"]) == (1, 10)
    down.receipting = True
    down.wait(10)
    bodies = [json.loads(body)["data"]["n"] for body in down.bodies()]
    assert bodies == list(range(10))


def test_what_is_lost_is_sent_again(make_emitter):
    emitter = make_emitter(PROVISOR_EMITTER_RESEND_AFTER="100ms")
    chance = random.Random(4)
    down = emitter.play(lose=lambda batch, events: chance.random() < 0.4)
    ids = [emitter.ask_json(event(object_id=n % 10, data={"n": n}))["id"] for n in range(200)]
    down.wait(200)
    by_object = {}
    for e in down.custody.values():
        by_object.setdefault(e[4], []).append(e[1].decode())
    assert all(taken == sorted(taken) for taken in by_object.values())
    assert sorted(i.decode() for i in down.custody) == ids
    assert emitter.stats()["resent"] > 0


def test_a_lost_router_connection_makes_everything_due(make_emitter):
    emitter = make_emitter(PROVISOR_EMITTER_RESEND_AFTER="10m")
    first = emitter.play(receipting=False)
    wait_until(lambda: emitter.stats()["routers"] == 1, what="router connected")
    for n in range(20):
        emitter.ask_json(event(object_id=n))
    first.wait(20)
    first.close()
    wait_until(lambda: "router" in emitter.stage.why(), what="not ready")
    second = emitter.play()
    second.wait(20)
    wait_until(lambda: connected(emitter), what="connections")


def test_ready_when_router_deliverer_and_auditor_are_there(emitter):
    assert "router" in emitter.stage.why()
    emitter.play()
    wait_until(lambda: connected(emitter), what="connections")
    ping = emitter.stage.control("ping")
    assert not ping["ready"] and "auditor" in ping["why"]
    auditor = emitter.play_auditor()
    wait_until(emitter.stage.ready, what="ready")
    auditor.marking = False
    wait_until(lambda: "auditor" in emitter.stage.why(), what="not ready")


def test_a_backlog_waits_on_disk(make_emitter):
    emitter = make_emitter(PROVISOR_EMITTER_WINDOW_EVENTS="50", PROVISOR_EMITTER_BATCH_EVENTS="20")
    with emitter.pipeline.core() as core:
        core.accept([event(object_id=n % 200, data={"n": n, "pad": "x" * 500})
                     for n in range(20000)])
    stats = emitter.stats()
    assert stats["unreceipted"] <= 64 * 50 and stats["journal_rows"] == 20000
    down = emitter.play()
    down.wait(20000, timeout=60)
    by_object = {}
    for e in down.custody.values():
        by_object.setdefault(e[4], []).append(e[1])
    assert all(taken == sorted(taken) for taken in by_object.values())
    assert SLOW > 1 or rss_mib(emitter) < 100


def test_an_event_larger_than_the_limits_is_not_sent_for_ever(make_emitter):
    emitter = make_emitter()
    with emitter.pipeline.core() as core:
        core.accept([event(data={"pad": "x" * 300_000})])
    emitter.stage.kill(signal.SIGKILL).wait()
    emitter.stage.start({"PROVISOR_EMITTER_EVENT_MAX": "64KiB", "PROVISOR_EMITTER_BATCH_BYTES": "64KiB"})
    assert emitter.stage.process.wait(60 * SLOW) == 78
    assert "PROVISOR_EMITTER_EVENT_MAX=" in emitter.stage.log_text()
    emitter.start(PROVISOR_EMITTER_EVENT_MAX="300KiB", PROVISOR_EMITTER_BATCH_BYTES="64KiB")
    emitter.play().wait(1)


def test_low_water_passes_everything(emitter):
    down = emitter.play()
    ids = [emitter.ask_json(event(object_id=n))["id"].encode() for n in range(100)]
    down.wait(100)
    wait_until(lambda: len(down.low_water) == 64 and min(down.low_water.values()) > ids[-1],
               what="low_water above all ids in every partition")


# ---- Audit ----------------------------------------------------------------------------------

def test_rows_go_when_receipted_and_audited(emitter):
    down = emitter.play(unmatched=lambda e: e[4] == b"1")
    for n in range(40):
        emitter.ask_json(event(object_id=n % 4, id=f"k{n}"))
    down.wait(40)
    wait_until(lambda: emitter.stats()["unreceipted"] == 0, what="all receipts")
    assert emitter.stats()["journal_rows"] == 40  # nobody has audited them
    auditor = emitter.play_auditor()
    wait_until(lambda: emitter.stats()["journal_rows"] == 0, what="an empty journal")
    accepted = auditor.of("event.accepted")
    assert [r[3] for r in accepted] == list(range(1, 41))  # origin
    assert accepted[0][28] == b"k0" and accepted[0][27] == b"intake" and accepted[0][9]
    assert len(auditor.of("event.unmatched")) == 10
    emitter.ask_json(event(id="k0", object_id=0))
    wait_until(lambda: len(auditor.of("event.duplicate")) == 1, what="the duplicate")


def test_an_absent_auditor_is_waited_for(emitter):
    """More than the audit window, receipted meanwhile, over a restart."""
    down = emitter.play(unmatched=lambda e: e[4].endswith(b"7"))
    push = emitter.push()
    for n in range(25000):
        push.send(encode(event(object_id=n)))
    down.wait(25000, timeout=60)
    wait_until(lambda: emitter.stats()["unreceipted"] == 0, what="all receipts")
    assert emitter.stats()["journal_rows"] == 25000
    auditor = emitter.play_auditor()
    wait_until(lambda: len(auditor.records) > 100, what="some records")
    auditor.marking = False
    emitter.restart(signal.SIGTERM)
    auditor.marking = True
    wait_until(lambda: emitter.stats()["journal_rows"] == 0, timeout=60, what="an empty journal")
    assert len({r[3] for r in auditor.of("event.accepted")}) == 25000
    assert len({r[4] for r in auditor.of("event.unmatched")}) == 2500
    assert len(down.custody) == 25000
    push.close()


# ---- Room -----------------------------------------------------------------------------------

def test_busy_below_min_free(make_emitter, tmp_path):
    emitter = make_emitter(start=False)
    config = tmp_path / "provisor.cfg"
    del emitter.pipeline.env["PROVISOR_DISK_MIN_FREE"]
    config.write_text("disk\n    min_free = 1000000GiB\n")
    emitter.start(PROVISOR_CONFIG=str(config))
    core, push = emitter.dealer(), emitter.push()
    for n in range(50):
        core.send(encode(event()))
        push.send(encode(event()))
    for n in range(50):
        assert json.loads(receive(core)) == {"status": "busy", "retry_after_ms": 1000}
    assert msgpack.unpackb(emitter.ask(msgpack.packb([event()]))[-1])["status"] == "busy"
    assert "min_free" in emitter.stage.why()
    assert emitter.stats()["accepted"] == 0  # what is pushed stays where it is
    config.write_text("disk\n    min_free = 1MiB\n")
    emitter.stage.kill(signal.SIGHUP)
    wait_until(lambda: emitter.stats()["accepted"] == 50, what="the pushed ones are taken")
    wait_until(lambda: emitter.ask_json(event())["status"] == "accepted", what="room")
    core.close()
    push.close()


def test_what_is_pushed_while_intake_is_closed_costs_little(make_emitter, tmp_path):
    emitter = make_emitter(start=False)
    config = tmp_path / "provisor.cfg"
    del emitter.pipeline.env["PROVISOR_DISK_MIN_FREE"]
    config.write_text("disk\n    min_free = 1MiB\n")
    emitter.start(PROVISOR_CONFIG=str(config))
    body = encode(event(data={"pad": "x" * 1000000}))
    pushes = [emitter.socket(zmq.PUSH, "push", sndhwm=1) for _ in range(8)]
    for push in pushes:
        push.send(body)
    wait_until(lambda: emitter.stats()["accepted"] == 8, what="all connections")
    config.write_text("disk\n    min_free = 1000000GiB\n")
    emitter.stage.kill(signal.SIGHUP)
    wait_until(lambda: not emitter.stats()["open"], what="a closed intake")
    before = rss_mib(emitter)
    for push in pushes:
        while push.poll(300, zmq.POLLOUT):
            push.send(body)
    assert rss_mib(emitter) - before < 8 * 12
    for push in pushes:
        push.close()
