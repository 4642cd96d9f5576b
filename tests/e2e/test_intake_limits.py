"""What one client can cost the real emitter: answers that are never read, and large messages."""

import json

import msgpack
import pytest
import zmq

from emitter_peers import emitter, encode, make_emitter, receive, rss_mib  # noqa: F401
from provisor import SLOW, event, wait_until

HEAD = b'{"event":{"events_id":"clients.create","object_id":12},"data":{"a":"'
MIB = 1 << 20
UNREAD = 1000  # requests that may be without having read their answers


# ---- Answers --------------------------------------------------------------------------------

@pytest.mark.parametrize("pack, unpack", [(encode, json.loads), (msgpack.packb, msgpack.unpackb)],
                         ids=["json", "msgpack"])
def test_the_first_hundred_refusals_of_an_array_have_their_reason(emitter, pack, unpack):
    answers = unpack(emitter.ask(pack([1] * 150 + [event()] + [{"event": {}}]))[-1])
    assert [a["status"] for a in answers] == ["rejected"] * 150 + ["accepted", "rejected"]
    reasons = [a["error"] for a in answers if a["status"] == "rejected"]
    assert all(r["code"] == "wrong_type" and r["message"] for r in reasons[:100])
    assert all(r == {"code": "wrong_type", "message": "", "path": ""} for r in reasons[100:150])
    assert reasons[150] == {"code": "missing_member", "message": "", "path": ""}


def test_answers_that_are_never_read_cost_little(emitter):
    request = b"[" + b",".join([b"1"] * 1000) + b"]"
    emitter.ask(request)
    before = rss_mib(emitter)
    silent = emitter.dealer(rcvhwm=1, rcvbuf=65536, sndhwm=0)
    for _ in range(4000):
        silent.send(request)
    wait_until(lambda: emitter.stats()["rejected"] == 4001 * 1000, what="all requests",
               timeout=60)
    assert SLOW > 1 or rss_mib(emitter) - before < 200  # a sanitizer keeps what is freed
    silent.close()
    emitter.assert_lives()


def test_a_full_window_of_requests_loses_no_answer(emitter):
    core = emitter.dealer(sndhwm=0, rcvhwm=1, rcvbuf=4096)
    request = b"[" + b",".join([b"1"] * 1000) + b"]"
    sent, count = 0, 4000
    for done in range(count):
        while sent < count and sent - done < UNREAD:
            core.send(request)
            sent += 1
        assert receive(core)[:21] == b'[{"status":"rejected"', done
    core.close()


# ---- Large messages -------------------------------------------------------------------------

LARGE = {
    "truncated JSON": HEAD + b"x" * (2 * MIB),
    "JSON": HEAD + b"x" * (2 * MIB) + b'"}}',
    "8 MiB": HEAD + b"x" * (8 * MIB - len(HEAD)),
    "10 MiB": b"x" * (10 * MIB),
    "a little": HEAD + b"x" * MIB,
    "an array": b"[" + b"1," * MIB,
    "no JSON": b"x" * (3 * MIB),
    "spaces": b" " * (2 * MIB),
    "msgpack": msgpack.packb({"event": {}, "data": {"a": "x" * 2 * MIB}}),
    "msgpack array": msgpack.packb(["x" * 2 * MIB]),
}


def test_large_pushes_are_refused_with_what_they_begin_with(emitter):
    auditor = emitter.play_auditor()
    push = emitter.push()
    for message in LARGE.values():
        push.send(message)
    push.send(encode(event()))
    wait_until(lambda: len(auditor.of("event.accepted")) == 1, what="the good one")
    wait_until(lambda: len(auditor.of("event.rejected")) == len(LARGE), what="all refusals")
    for (name, message), record in zip(LARGE.items(), auditor.of("event.rejected")):
        assert record[24] == b"too_large", name
        assert record[9] == message[:4096], name
    push.close()


def test_a_push_far_over_request_max_ends_its_connection_only(emitter):
    auditor = emitter.play_auditor()
    bad, good = emitter.push(), emitter.push()
    ended = bad.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    bad.send(b"x" * (10 * MIB + 1))
    assert ended.poll(20000)
    good.send(encode(event()))
    wait_until(lambda: len(auditor.of("event.accepted")) == 1, what="the good one")
    assert auditor.of("event.rejected") == []
    bad.disable_monitor()
    bad.close()
    good.close()
