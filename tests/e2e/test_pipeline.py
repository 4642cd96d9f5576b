"""The main job: from a ZeroMQ push to a handler's HTTP POST, with the Flask handler of the original
documentation, all 35 kinds, both intakes, both encodings."""

import json
import pathlib
import subprocess
import sys

import msgpack
import pytest
import zmq

from provisor import event, wait_until, whole_lines

SUPPORT = pathlib.Path(__file__).parents[1] / "support"
EXACT = b'{"amount":0.10,"big":12345678901234567890,"z":1,"a":2,"u":"\\u00e9", "sp" : [ 1 ]}'


@pytest.fixture
def flask(tmp_path):
    """The Flask handler in a process of its own: (url, function that reads what it got)."""
    port, out = tmp_path / "flask.port", tmp_path / "flask.out"
    process = subprocess.Popen([sys.executable, SUPPORT / "flask_handler.py", port, out])
    wait_until(port.exists, what="Flask")

    def requests():
        return [json.loads(line) for line in whole_lines(out)]

    yield f"http://127.0.0.1:{port.read_text()}/api", requests
    process.kill()
    process.wait()


def samples(pipeline):
    return [json.loads(line) for line in pipeline.cli("events", "--sample", "all").stdout.splitlines()]


@pytest.mark.parametrize("encode", [lambda e: json.dumps(e).encode(), msgpack.packb],
                         ids=["json", "msgpack"])
@pytest.mark.parametrize("socket", ["push", "intake"])
def test_all_35_kinds_reach_the_flask_handler(pipeline, flask, encode, socket):
    url, requests = flask
    pipeline.add_handler(url)
    events = samples(pipeline)
    assert len(events) == 35
    if socket == "intake":
        with pipeline.core() as core:
            for e in events:
                core.send(encode(e))
            decode = msgpack.unpackb if encode is msgpack.packb else json.loads
            answers = [decode(core.recv()) for _ in events]
            assert [a["status"] for a in answers] == ["accepted"] * 35
    else:
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.connect(pipeline.env["PROVISOR_EMITTER_PUSH"])
            for e in events:
                push.send(encode(e))
            wait_until(lambda: len(requests()) >= 35, what="35 requests")
    wait_until(lambda: len(requests()) >= 35, what="35 requests")
    got = {}
    for r in requests():
        body = json.loads(r["body"])
        assert r["headers"]["Content-Type"] == "application/json"
        assert r["headers"]["User-Agent"].startswith("provisor/")
        assert list(body) == ["event", "data"]
        assert list(body["event"]) == ["dt", "events_id", "object_id"]
        got[body["event"]["events_id"]] = body
    for e in events:
        body = got[e["event"]["events_id"]]
        assert body["data"] == e.get("data", {})
        assert body["event"]["object_id"] == e["event"].get("object_id")
    rows = wait_until(lambda: [r for r in pipeline.cli_json("log", "--limit", "100")] if
                      len(pipeline.cli_json("log", "--limit", "100")) >= 35 else None, what="the log")
    assert [r["status"] for r in rows] == ["success"] * 35
    assert {r["events_id"] for r in rows} == {e["event"]["events_id"] for e in events}


def test_data_passes_byte_for_byte(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.send(b'{"data" : ' + EXACT + b', "event":{"object_id":12,"events_id":"clients.update",'
                  b'"dt":"2026-01-01T00:00:00+00:00"}}')
        assert json.loads(core.recv())["status"] == "accepted"
    h.wait(1)
    assert h.requests[0]["body"] == (
        b'{"event":{"dt":"2026-01-01T00:00:00+00:00","events_id":"clients.update","object_id":12},'
        b'"data":' + EXACT + b'}')


def test_missing_members_are_filled_in(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        assert core.push({"event": {"events_id": "clients.archive"}})["status"] == "accepted"
    h.wait(1)
    body = h.bodies()[0]
    assert body["data"] == {} and body["event"]["object_id"] is None
    assert len(body["event"]["dt"]) == 25 and body["event"]["dt"].endswith("+00:00")


def test_an_event_goes_to_each_matching_handler_only(pipeline, handler):
    exact, prefix, other, filtered = handler(), handler(), handler(), handler()
    pipeline.add_handler(exact.url, name="exact", event="clients.update")
    pipeline.add_handler(prefix.url, name="prefix", event="clients.*")
    pipeline.add_handler(other.url, name="other", event="dids.*")
    pipeline.add_handler(filtered.url, "--filter", '/data/amount >= 10.50 and /data/currency in ("EUR")',
                         name="filtered", event="*")
    # a change of the table is in force within a second: the last handler has the marker event
    with pipeline.core() as core:
        wait_until(lambda: (core.push(event("dids.create", 1, {})), other.count())[1],
                   what="the new handlers in force")
        core.accept([event("clients.update", 12, {"amount": 10.5, "currency": "EUR"}),
                     event("clients.create", 12, {"amount": 10.49, "currency": "EUR"}),
                     event("clients.update", 13, {"amount": 11, "currency": "USD"})])
    prefix.wait(3)
    exact.wait(2)
    filtered.wait(1)
    assert [b["event"]["events_id"] for b in exact.bodies()] == ["clients.update"] * 2
    assert filtered.bodies()[0]["data"] == {"amount": 10.5, "currency": "EUR"}
    wait_until(lambda: len(pipeline.cli_json("log", "--limit", "1000", "--event", "clients.*")) == 6,
               what="six deliveries in the log")


def test_an_event_that_nobody_wants_is_in_history(pipeline):
    with pipeline.core() as core:
        event_id = core.push(event("importd.process_failed", 5))["id"]
    records = wait_until(lambda: pipeline.records(["event.unmatched"]), what="event.unmatched")
    assert [r["event_id"] for r in records] == [event_id]
    wait_until(lambda: pipeline["emitter"].control("event", event_id=event_id)["found"] is False,
               what="the journal to let go")


def test_added_ids_work(make_pipeline, handler):
    pipeline = make_pipeline(env={"PROVISOR_CATALOGUE_EXTRA": "crm.ticket.create=ticket"})
    h = handler()
    pipeline.add_handler(h.url, event="crm.*")
    with pipeline.core() as core:
        assert core.push(event("crm.ticket.create", "T-1"))["status"] == "accepted"
        refused = core.push(event("crm.ticket.crate", "T-1"))
    assert refused["status"] == "rejected"
    assert refused["error"]["code"] == "unknown_event"
    assert refused["error"]["path"] == "/event/events_id"
    assert "crm.ticket.create" in refused["error"]["message"]
    h.wait(1)


def test_handler_changes_take_effect_within_a_second(pipeline, handler):
    first, second = handler(), handler()
    id_ = pipeline.add_handler(first.url)
    with pipeline.core() as core:
        core.accept([event(object_id=1)])
        first.wait(1)
        pipeline.cli("handler", "update", str(id_), "--task", second.url)
        wait_until(lambda: (core.accept([event(object_id=2)]), second.count())[1], timeout=5,
                   what="the new task")
        pipeline.cli("handler", "disable", str(id_))
        wait_until(lambda: [core.push(event(object_id=3))] and
                   pipeline.records(["event.unmatched"]), timeout=10, what="disabled: unmatched")
        parked = second.count()
        pipeline.cli("handler", "enable", str(id_))
        wait_until(lambda: (core.accept([event(object_id=4)]), second.count() > parked)[1], timeout=5,
                   what="enabled again")
