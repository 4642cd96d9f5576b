"""The real emitter: its three sockets with real cores, hostile input, replays."""

import json
import random
import socket

import msgpack
import pytest
import zmq

from emitter_peers import emitter, encode, make_emitter, receive, rss_mib, structs  # noqa: F401
from provisor import SLOW, event, wait_until

DATA = b'{"amount":0.10,"big":12345678901234567890,"z":1,"a":2,"u":"\\u00e9", "sp" : [ 1 ]}'
HEAD = b'{"event":{"events_id":"clients.create","object_id":12}'


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
    for frames in ([body], [b"", body], [b"", b"x", b"y", body], [b"n" * 200] * 15 + [body]):
        answer = emitter.ask(*frames)
        assert answer[:-1] == frames[:-1]
        assert json.loads(answer[-1])["status"] == "accepted"
    for refused in (b"{", b"{}", b"\x81", b" " * (9 << 20)):
        assert emitter.ask(b"17", b"", refused)[:-1] == [b"17", b""]


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
    ids = [e["id"] for e in emitter.pipeline.cli_json("events")]
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
    between = 0
    while emitter.stats()["accepted"] < 100000:
        other.send(b"{}")
        receive(other)
        between += 0 < emitter.stats()["accepted"] < 100000
    assert between, "others waited until all of it was taken"
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


# ---- Replays --------------------------------------------------------------------------------

def replay(key, handler=7, number=1, body=b'{"event":{},"data":{}}', object_id=b"12", **more):
    return msgpack.packb({1: key, 2: b"clients.update", 3: b"client", 4: object_id, 5: body,
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
    ("object that is no JSON", replay(b"k", object_id=b'"12')),
    ("object in two lines", replay(b"k", object_id=b"12\n")),  # the deliverer takes none
    ("object too long to be sent", replay(b"k", object_id=b'"' + 2000 * b"x" + b'"')),
    ("other content", replay(b"known", number=2)),
])
def test_bad_replays(emitter, name, frame):
    emitter.ask(replay(b"known"), key="replay")
    answer = structs(emitter.ask(frame, key="replay")[-1])
    assert answer[-1][2] == b"rejected" and answer[-1][4], name
    emitter.assert_lives()
