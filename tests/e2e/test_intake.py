"""The real emitter: its three sockets with real cores, its journal over crashes, and what it owes a
router, a deliverer and an auditor, which are played here."""

import json
import os
import random
import signal
import socket
import subprocess
import time

import msgpack
import pytest
import zmq

from emitter_peers import Emitter, encode, receive, structs
from provisor import BIN, SLOW, event, wait_until

DATA = b'{"amount":0.10,"big":12345678901234567890,"z":1,"a":2,"u":"\\u00e9", "sp" : [ 1 ]}'
HEAD = b'{"event":{"events_id":"clients.create","object_id":12}'


@pytest.fixture
def make_emitter(tmp_path):
    made = []

    def make(start=True, **env):
        directory = tmp_path / f"e{len(made)}"
        directory.mkdir()
        made.append(Emitter(directory, **env))
        return made[-1].start() if start else made[-1]

    yield make
    for emitter in made:
        emitter.close()


@pytest.fixture
def emitter(make_emitter):
    return make_emitter()


# ---- Requests and answers -------------------------------------------------------------------

@pytest.mark.parametrize("pack, unpack", [(encode, json.loads), (msgpack.packb, msgpack.unpackb)],
                         ids=["json", "msgpack"])
@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER], ids=["req", "dealer"])
def test_single_and_array(emitter, kind, pack, unpack):
    core = emitter.socket(kind, "intake")

    def ask(request):
        core.send(pack(request))
        return unpack(receive(core))

    accepted = ask(event(id="k"))
    assert accepted["status"] == "accepted" and len(accepted["id"]) == 26
    assert ask(event(id="k")) == {"status": "duplicate", "id": accepted["id"]}
    refused = ask(event(id="k", data={"n": 2}))
    assert refused["status"] == "rejected" and refused["error"]["code"] == "id_conflict"
    assert refused["error"]["path"] == "/id" and refused["error"]["message"]
    answers = ask([event(), {"event": {}}, event(events_id="clients.updat"), event(id="k")])
    assert [a["status"] for a in answers] == ["accepted", "rejected", "rejected", "duplicate"]
    assert answers[1]["error"]["path"] == "/event/events_id"
    assert "clients.update" in answers[2]["error"]["message"]
    assert answers[0]["id"] > accepted["id"]
    assert ask([]) == []
    core.close()


def test_the_envelope_comes_back(emitter):
    body = encode(event())
    for frames in ([body], [b"", body], [b"", b"x", b"y", body]):
        answer = emitter.ask(*frames)
        assert answer[:-1] == frames[:-1]
        assert json.loads(answer[-1])["status"] == "accepted"


def test_pipelined_answers_are_in_order(emitter):
    core, expected, ids = emitter.dealer(), [], []
    for n in range(1000):
        kind = n % 7
        if kind == 3:
            core.send(b"{")
        elif kind == 5:
            core.send(msgpack.packb(event(id=f"k{n}")))
        else:
            core.send(encode(event(id=f"k{n}")))
        expected.append("rejected" if kind == 3 else "accepted")
    for n, status in enumerate(expected):
        answer = receive(core)
        answer = json.loads(answer) if answer[:1] == b"{" else msgpack.unpackb(answer)
        assert answer["status"] == status, n
        ids.append(answer.get("id", ids[-1] if ids else ""))
    assert ids == sorted(ids)
    core.close()


def test_data_passes_byte_for_byte(emitter):
    down = emitter.play()
    emitter.ask_json(b'{"event":{"dt":"2026-01-01T00:00:00Z","events_id":"clients.create",'
                     b'"object_id":"a b"},"data":' + DATA + b"}")
    emitter.ask(msgpack.packb({"event": {"dt": "2026-01-01T00:00:00Z",
                                         "events_id": "clients.create", "object_id": 12},
                               "data": {"f": 0.1, "i": 2 ** 64 - 1, "u": "é\n", "l": [1.0, None]}}))
    head = b'{"event":{"dt":"2026-01-01T00:00:00Z","events_id":"clients.create","object_id":'
    first, second = down.wait(2)
    assert {first[5], second[5]} == {
        head + b'"a b"},"data":' + DATA + b"}",
        head + '12},"data":{"f":0.1,"i":18446744073709551615,"u":"é\\u000a","l":[1.0,null]}}'.encode()}


def test_every_event_of_the_catalogue(make_emitter):
    emitter = make_emitter(PROVISOR_CATALOGUE_EXTRA="crm.ticket.create=ticket")
    down = emitter.play()
    catalogue = subprocess.run([BIN / "provisor", "events", "--json"], capture_output=True,
                               env={**os.environ, **emitter.pipeline.env}, check=True)
    ids = [json.loads(line)["id"] for line in catalogue.stdout.splitlines() if line.strip()]
    assert len(ids) == 36
    push = emitter.push()
    for n, events_id in enumerate(ids):
        assert emitter.ask_json(event(events_id=events_id, object_id=n))["status"] == "accepted"
        push.send(msgpack.packb(event(events_id=events_id, object_id=n)))
    taken = [e[2].decode() for e in down.wait(72)]
    assert sorted(taken) == sorted(ids * 2)
    kinds = {e[2]: e[3] for e in down.custody.values()}
    assert kinds[b"crm.ticket.create"] == b"ticket" and kinds[b"dids.block"] == b"did"
    push.close()


# ---- Hostile input --------------------------------------------------------------------------

HOSTILE = [
    ("truncated", HEAD, "bad_json"),
    ("empty", b"", "bad_json"),
    ("trailing", HEAD + b"}x", "bad_json"),
    ("utf-8", HEAD + b',"data":{"a":"\xff"}}', "bad_utf8"),
    ("surrogate", HEAD + b',"data":{"a":"\\ud800"}}', "bad_utf8"),
    ("depth", HEAD + b',"data":{"a":' + b"[" * 10000 + b"]" * 10000 + b"}}", "too_deep"),
    ("depth of msgpack", b"\x81\xa4data" + b"\x91" * 10000 + b"\x01", "too_deep"),
    ("duplicate key", HEAD + b',"data":{"a":1,"\\u0061":2}}', "duplicate_key"),
    ("2 MiB", HEAD + b',"data":{"a":"' + b"x" * (2 << 20) + b'"}}', "too_large"),
    ("9 MiB", b"[" + b" " * (9 << 20) + b"]", "too_large"),
    ("1001 events", b"[" + b",".join([HEAD + b"}"] * 1001) + b"]", "too_many"),
    ("msgpack bomb", b"\xdf\xff\xff\xff\xff", "bad_msgpack"),
    ("msgpack bomb in an array", b"\xdd\x00\x00\x00\x01\xdb\xff\xff\xff\xff", "bad_msgpack"),
    ("msgpack bin", msgpack.packb({"data": {"a": b"x"}}), "wrong_type"),
    ("msgpack nan", msgpack.packb({"data": {"a": float("nan")}}), "wrong_type"),
    ("number", b"1", "wrong_type"),
    ("data is a list", HEAD + b',"data":[]}', "wrong_type"),
    ("float object_id", b'{"event":{"events_id":"clients.create","object_id":1.5}}', "wrong_type"),
    ("unknown member", HEAD + b',"more":1}', "unknown_member"),
    ("missing member", b"{}", "missing_member"),
    ("dt", b'{"event":{"events_id":"clients.create","dt":"yesterday"}}', "bad_dt"),
    ("id", b'{"id":"\\n","event":{"events_id":"clients.create"}}', "bad_id"),
    ("unknown event", b'{"event":{"events_id":"clients.explode"}}', "unknown_event"),
]


def test_hostile_requests_get_their_code(emitter):
    for name, request, code in HOSTILE:
        answer = emitter.ask(request)[-1]
        answer = json.loads(answer) if answer[:1] == b"{" else msgpack.unpackb(answer)
        assert answer["status"] == "rejected", name
        assert answer["error"]["code"] == code, (name, answer)
        assert answer["error"]["message"]
    emitter.assert_lives()
    assert emitter.stats()["accepted"] == 1


def test_hostile_pushes_are_audited(emitter):
    auditor = emitter.play_auditor()
    push = emitter.push()
    may_be_read = [(r, c) for _, r, c in HOSTILE if len(r) < 5 << 18] + \
        [(HEAD + b',"data":"' + b"x" * (1 << 20) + b'"}', "too_large")]
    for request, _ in may_be_read:
        push.send(request)
    push.send(encode([event()]))
    push.send(encode(event()))
    codes = [c for _, c in may_be_read if c != "too_many"] + ["too_many", "wrong_type"]
    wait_until(lambda: len(auditor.of("event.rejected")) == len(codes), what="all refusals")
    refused = auditor.of("event.rejected")
    assert sorted(r[24].decode() for r in refused) == sorted(codes)
    assert {r[27] for r in refused} == {b"push"} and all(r[26] for r in refused)
    assert max(len(r.get(9, b"")) for r in refused) == 4096
    assert refused[0][9] == HEAD
    wait_until(lambda: len(auditor.of("event.accepted")) == 1, what="the good one")
    push.close()


def test_100_000_parts_hurt_nobody(emitter):
    down = emitter.play()
    push, other = emitter.push(), emitter.dealer()
    push.send_multipart([encode(event(object_id=n % 100, data={"n": n})) for n in range(100000)])
    slowest = 0
    while emitter.stats()["accepted"] < 100000:
        began = time.monotonic()
        other.send(b"{}")
        receive(other)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
    down.wait(100000, timeout=60)
    answer = emitter.ask(*[b"x"] * 100000)
    assert json.loads(answer[-1])["error"]["code"] == "too_large"
    assert emitter.ask(*[b""] * 5)[:-1] == [b""] * 4
    emitter.assert_lives()
    push.close()
    other.close()


def test_too_large_for_the_socket_ends_only_that_connection(emitter):
    other = emitter.dealer()
    assert emitter.ask(b" " * (20 << 20), timeout=1) is None
    for _ in range(20):
        host, port = emitter.stage.endpoint("intake")[6:].split(":")
        with socket.create_connection((host, int(port))) as s:
            s.send(random.randbytes(500))
    other.send(encode(event()))
    assert json.loads(receive(other))["status"] == "accepted"
    other.close()


def test_a_peer_that_never_reads_costs_little(emitter):
    deaf = emitter.dealer(rcvhwm=1, rcvbuf=4096, sndhwm=0)
    for n in range(60000):
        deaf.send(encode(event(object_id=n)))
    wait_until(lambda: emitter.stats()["accepted"] == 60000, timeout=60, what="all accepted")
    emitter.assert_lives()
    assert SLOW > 1 or rss_mib(emitter) < 150  # sanitizers need more
    deaf.close()


def rss_mib(emitter):
    with open(f"/proc/{emitter.stage.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


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
                            capture_output=True, text=True, timeout=20)
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
    while core.poll(200):
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
    wait_until(lambda: not emitter.stage.ready(), what="not ready")
    assert "router" in emitter.stage.control("ping")["why"]
    second = emitter.play()
    second.wait(20)
    wait_until(lambda: connected(emitter), what="connections")


def test_ready_when_router_deliverer_and_auditor_are_there(emitter):
    assert "router" in emitter.stage.control("ping")["why"]
    emitter.play()
    wait_until(lambda: connected(emitter), what="connections")
    ping = emitter.stage.control("ping")
    assert not ping["ready"] and "auditor" in ping["why"]
    auditor = emitter.play_auditor()
    wait_until(emitter.stage.ready, what="ready")
    auditor.marking = False
    wait_until(lambda: not emitter.stage.ready(), what="not ready")


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
    assert "min_free" in emitter.stage.control("ping")["why"]
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


# ---- Replays --------------------------------------------------------------------------------

def replay(key, handler=7, number=1, body=b'{"event":{},"data":{}}', **more):
    return msgpack.packb({1: key, 2: b"clients.update", 3: b"client", 4: b"12", 5: body,
                          6: b"01KDVDNG00A1B2C3D4E5F6G7H8", 7: handler, 8: number, **more})


def test_replays(emitter):
    down = emitter.play()
    answer = structs(emitter.ask(replay(b"j1-1") + replay(b"j1-2", handler=8), key="replay")[-1])
    assert [(a[1], a[2]) for a in answer] == [(b"j1-1", b"accepted"), (b"j1-2", b"accepted")]
    again = structs(emitter.ask(b"", replay(b"j1-1"), key="replay")[-1])[0]
    assert again[2] == b"duplicate" and again[3] == answer[0][3]
    assert emitter.ask_json(event(id="j1-1"))["status"] == "accepted"  # a key space of their own
    taken = down.wait(3)
    first = next(e for e in taken if e[1] == answer[0][3])
    assert (first[7], first[8], first[9]) == (b"01KDVDNG00A1B2C3D4E5F6G7H8", 7, 1)
    assert first[5] == b'{"event":{},"data":{}}'


@pytest.mark.parametrize("name, frame", [
    ("malformed", b"\xff\xff"),
    ("empty key", replay(b"")),
    ("no handler", replay(b"k", handler=0)),
    ("not JSON", replay(b"k", body=b"{")),
    ("other content", replay(b"known", number=2)),
])
def test_bad_replays(emitter, name, frame):
    emitter.ask(replay(b"known"), key="replay")
    answer = structs(emitter.ask(frame, key="replay")[-1])
    assert answer[-1][2] == b"rejected" and answer[-1][4], name
    emitter.assert_lives()
