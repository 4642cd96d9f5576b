"""The real auditor: its questions, and replays against an emitter's socket that is played here."""

import json
import random

import zmq

from auditor_peers import ReplaySocket, auditor, event_id, make_auditor  # noqa: F401
from provisor import SLOW


def test_questions_are_bounded_and_malformed_ones_answered(auditor):
    def connect():
        dealer = auditor.context.socket(zmq.DEALER)
        dealer.linger, dealer.sndhwm, dealer.rcvhwm = 0, 0, 0
        dealer.connect(auditor.pipeline.env["PROVISOR_AUDITOR_QUESTIONS"])
        return dealer

    dealer = connect()
    for text in (b"", b"{", b"[]", b"null", b'{"op":"log","limit":[]}', b"\xff\xfe", b"[" * 60000):
        dealer.send(text)
        assert dealer.poll(5000 * SLOW)
        assert json.loads(dealer.recv())["ok"] is False
    dealer.send(b"x" * (100 << 10))  # beyond the limit: ends the connection, and what follows on it
    assert not dealer.poll(200)
    dealer.close()
    dealer = connect()
    for _ in range(500):
        dealer.send(b'{"op":"log","text":"never"}')
    answers = []
    while len(answers) < 500 and dealer.poll(5000 * SLOW):
        answers.append(json.loads(dealer.recv()))
    assert {a.get("error") for a in answers} <= {None, "busy"} and any(a["ok"] for a in answers)
    assert auditor.ask({"op": "log"})["ok"]
    dealer.close()


def fill_for_replay(auditor, count):
    """Events of 20 objects, exhausted for handler 7; the last one of every second object delivered."""
    for n in range(7):  # replays go only to handlers that exist
        auditor.pipeline.add_handler("http://127.0.0.1:1/", name=f"h{n}")
    last = {str(n % 20): n for n in range(count)}
    for n in range(count):
        auditor.accept(n, str(n % 20))
        delivered = last[str(n % 20)] == n and n % 2
        auditor.deliver(n, "delivered" if delivered else "exhausted", object_id=str(n % 20))
    auditor.settle()
    superseded = {event_id(n) for n in range(count) if n % 2}
    return [event_id(n) for n in range(count) if event_id(n) not in superseded]


def test_a_replay_survives_kills_busy_and_lost_answers(make_auditor):
    chooser = random.Random(3)
    auditor = make_auditor(segment_attempts=200)
    emitter = ReplaySocket(auditor)
    wanted = fill_for_replay(auditor, 1200)
    question = {"op": "replay", "handler_id": 7}
    job = auditor.ask(question)["job"]
    kills = 0

    def alive():
        if not auditor.stage.alive():  # the crash point may come at the second job
            auditor.start()
            return False
        return True

    def ended():
        nonlocal kills
        emitter.serve(lambda _: "busy" if chooser.random() < 0.01 else "accepted",
                      drop=chooser.random() < 0.05)
        if alive() and kills < 4 and chooser.random() < 0.01:
            kills += 1
            auditor.stage.kill().wait()
            auditor.start(**({"PROVISOR_CRASH": "auditor.planned:2"} if kills == 2 else {}))
        try:
            status = auditor.ask({"op": "replay_status", "job": job}, timeout=1)
        except TimeoutError:
            return None
        return status["state"] != "running" and status

    status = auditor.until(ended, what="the job's end", timeout=90)
    assert status["state"] == "done"
    assert [r[6].decode() for r in emitter.order] == wanted
    assert {r[8] for r in emitter.order} == {1}
    assert status["sent"] == len(wanted) and len(status["skipped_events"]) == 100
    emitter.order.clear()
    job = auditor.ask({"op": "replay", "event_id": wanted[-1]})["job"]
    auditor.until(lambda: alive() and emitter.serve() or emitter.order, what="the one event")
    replay = emitter.order[0]
    assert replay[7] == 7 and replay[8] == 2 and replay[2] == b"clients.update"
    n = int(wanted[-1][4:])
    assert replay[5] == b'{"event":{},"data":{"n":%d,"m":0.10}}' % n and replay[4] == b"%d" % (n % 20)


def test_a_replay_is_cancelled_and_refusals_are_told(auditor):
    emitter = ReplaySocket(auditor)
    wanted = fill_for_replay(auditor, 200)
    job = auditor.ask({"op": "replay", "handler_id": 7, "rate": 20})["job"]
    auditor.until(lambda: emitter.serve() or len(emitter.order) > 5, what="the first ones")
    assert auditor.ask({"op": "replay_cancel", "job": job})["state"] == "cancelled"
    sent = len(emitter.order)
    job = auditor.ask({"op": "replay", "handler_id": 7})["job"]

    def ended():
        emitter.serve(lambda r: "rejected" if r[6].decode() == wanted[3] else "accepted")
        status = auditor.ask({"op": "replay_status", "job": job})
        return status["state"] == "done" and status
    status = auditor.until(ended, what="the second job")
    assert status["sent"] == len(wanted) - 1
    assert wanted[3] in status["error"] and "no such event" in status["error"]
    assert len([r for r in emitter.order[sent:] if r[1].decode().startswith("replay:1:")]) <= 1
    states = {j["job"]: j["state"] for j in auditor.ask({"op": "replay_jobs"})["jobs"]}
    assert states == {1: "cancelled", 2: "done"}
