"""The command line with what it asks of the stages, also when one of them is down."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

import pytest
from provisor import BIN, SLOW, event, wait_until, whole_lines


def test_emit_and_log(pipeline, handler):
    h = handler(respond=lambda r: (200, "fine") if r["n"] % 2 == 0 else (500, "no thanks"))
    pipeline.add_handler(h.url, "--retry", "none", "--window", "1")
    lines = "\n".join(json.dumps(event(object_id=n)) for n in range(10))
    out = pipeline.cli("emit", stdin=lines).stdout
    assert out.startswith("10 accepted, 0 duplicate, 0 refused")
    wait_until(lambda: len(pipeline.cli_json("log")) == 10, what="ten rows")
    assert len(pipeline.cli_json("log", "--status", "success")) == 5
    assert len(pipeline.cli_json("log", "--text", "no thanks")) == 5
    assert len(pipeline.cli_json("log", "--object", "3")) == 1
    assert len(pipeline.cli_json("log", "--limit", "4")) == 4
    assert len(pipeline.cli_json("log", "--event", "dids.*")) == 0
    keys = set(pipeline.cli_json("log", "--limit", "1")[0])
    assert {"audit_id", "event_id", "delivery_id", "status", "outcome", "at", "events_id", "object_id", "handler_id",
            "handler", "attempt", "http_status", "response", "duration_ms"} <= keys
    table = pipeline.cli("log").stdout
    assert len(table.splitlines()) == 11 and "no thanks" in table


def test_emit_knows_what_was_lost_with_the_emitter(pipeline, tmp_path):
    """The emitter dies with requests in hand and comes back: what emit says is taken in is taken in."""
    lines = tmp_path / "lines"
    lines.write_text("".join(json.dumps(event(object_id=n, id=f"key-{n}")) + "\n" for n in range(20000)))
    process = subprocess.Popen([BIN / "provisor", "emit", lines, "--data", pipeline.data],
                               env={**os.environ, **pipeline.env}, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: pipeline["emitter"].control("stats")["stats"]["accepted"] > 1000, what="the first ones")
    pipeline["emitter"].kill().wait()
    pipeline["emitter"].start()
    _, said = process.communicate(timeout=90 * SLOW)
    if process.returncode:  # it may have finished before
        line = int(said.split("to line ")[1].split(";")[0])
        with pipeline.core() as core:
            answers = [core.push(event(object_id=n, id=f"key-{n}"))["status"] for n in range(line - 1)]
        assert set(answers) == {"duplicate"}


def test_handler_commands(pipeline, handler):
    h = handler()
    id_ = pipeline.add_handler(h.url, name="crm", event="clients.*")
    assert [x["name"] for x in pipeline.cli_json("handler", "list")] == ["crm"]
    out = pipeline.cli("handler", "test", str(id_), "--event", "clients.balance_zero").stdout
    assert out.startswith("delivered: HTTP 200")
    assert h.requests[0]["headers"]["provisor-test"] == "1"
    assert h.bodies()[0]["event"]["events_id"] == "clients.balance_zero"
    pipeline.cli("handler", "archive", str(id_))
    assert pipeline.cli_json("handler", "list") == []
    assert pipeline.cli_json("handler", "list", "--all")[0]["status"] == "archived"
    refused = pipeline.cli("handler", "enable", str(id_), check=False)
    assert refused.returncode == 1 and refused.stderr


def test_a_handler_is_added_once(pipeline):
    add = lambda *flags: int(pipeline.cli(  # noqa: E731
        "handler", "add", "--name", "crm", "--event", "*", "--task", "http://127.0.0.1:9/", *flags).stdout)
    first = add("--if-missing")
    assert add("--if-missing") == first and len(pipeline.cli_json("handler", "list")) == 1
    assert add() != first  # a name is a title
    for handler in pipeline.cli_json("handler", "list"):
        pipeline.cli("handler", "delete", str(handler["id"]))
    assert add("--if-missing") not in (first, 0)


def test_a_test_tells_what_becomes_of_it(pipeline, handler):
    h = handler(respond=lambda r: (500, "no"))
    for retry, text in (("none", "it is given up and not retried"), ("1h", "it is retried on")):
        id_ = pipeline.add_handler(h.url, "--retry", retry, name=f"retry-{retry}")
        done = pipeline.cli("handler", "test", str(id_), check=False)
        assert done.returncode == 1 and done.stdout.startswith("failed:")
        assert "HTTP 500" in done.stdout and text in done.stdout, done.stdout


def test_log_follow_is_live(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    process = subprocess.Popen([BIN / "provisor", "log", "--follow", "--json", "--data", pipeline.data],
                               env={**os.environ, **pipeline.env}, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pipeline["auditor"].control("stats")["stats"]["subscriptions"] >= 1,
                   what="the subscription")
        with pipeline.core() as core:
            event_id = core.push(event())["id"]
        assert json.loads(process.stdout.readline())["event_id"] == event_id
    finally:
        process.kill()
        process.wait()


def test_log_follow_fills_what_the_stream_lost(pipeline, handler):
    h = handler(respond=lambda r: 500 if r["n"] % 3 == 0 else 200)
    pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(20)])
        wait_until(lambda: len(pipeline.cli_json("log")) == 20, what="20 rows before")
        out = pipeline.dir / "followed"
        with open(out, "wb") as file:
            process = subprocess.Popen([BIN / "provisor", "log", "--follow", "--limit", "5", "--json", "--data",
                                        pipeline.data], env={**os.environ, **pipeline.env}, stdout=file)
        rows = lambda: [json.loads(line)["audit_id"] for line in whole_lines(out)]  # noqa: E731
        try:
            wait_until(lambda: pipeline["auditor"].control("stats")["stats"]["subscriptions"] >= 2,
                       what="the subscription")
            core.accept([event(object_id=n) for n in range(100)])
            wait_until(lambda: len(rows()) > 10, what="the first rows")
            pipeline["auditor"].kill().wait()
            core.accept([event(object_id=n) for n in range(100)])
            pipeline["auditor"].start()
            wait_until(pipeline["auditor"].ready, what="the auditor")
            core.accept([event(object_id=n) for n in range(100)])
            wait_until(lambda: len(pipeline.cli_json("log", "--limit", "1000")) == 320, what="320 rows")
            history = sorted(r["audit_id"] for r in pipeline.cli_json("log", "--limit", "1000"))
            wait_until(lambda: len(rows()) >= 305, what="each row followed")
            assert sorted(rows()) == history[15:]
        finally:
            process.kill()
            process.wait()


def test_cancel_and_retry(pipeline, handler):
    down = [True]
    h = handler(respond=lambda r: 500 if down[0] else 200)
    id_ = pipeline.add_handler(h.url, "--retry", "1h,1h")
    with pipeline.core() as core:
        first = core.push(event(object_id=1))["id"]
        core.accept([event(object_id=n) for n in range(2, 6)])
    wait_until(lambda: len(pipeline.cli_json("log")) == 5, what="five failures")
    status = pipeline.cli_json("status")[0]
    assert status["ready"] and status["handlers"][0]["pending"] == 5
    shown = pipeline.cli("show", first)
    assert shown.stdout.count("now: handler") == 1 and not shown.stderr  # whichever deliverer has it
    assert "1 delivery cancelled" in pipeline.cli("cancel", "--delivery", f"{first}-{id_}").stdout
    assert "1 delivery cancelled" in pipeline.cli("cancel", "--handler", str(id_), "--object", "2").stdout
    down[0] = False
    assert "3 deliveries due now" in pipeline.cli("retry", "--handler", str(id_)).stdout
    wait_until(lambda: len(pipeline.cli_json("log", "--status", "success")) == 3, what="three successes")
    cancelled = pipeline.records(["delivery.cancelled"])
    assert len(cancelled) == 2
    assert pipeline.cli_json("status")[0]["handlers"][0]["pending"] == 0


def test_status_does_not_guess(pipeline, handler):
    h = handler(respond=lambda r: 500)
    pipeline.add_handler(h.url, "--retry", "1h", name="crm")
    with pipeline.core() as core:
        core.push(event())
    wait_until(lambda: pipeline.cli_json("status")[0]["handlers"][0]["pending"] == 1, what="the delivery")
    name = next(n for n in pipeline.stages if n.startswith("deliverer"))
    pipeline[name].kill().wait()
    done, shown = pipeline.cli_all(["status", "--json"], ["status"])
    told = json.loads(done.stdout)["handlers"][0]
    assert done.returncode == 1 and told["name"] == "crm" and told["status"] == "enabled"
    assert {told[k] for k in ("pending", "lanes", "blocked_lanes", "in_flight", "oldest_ms", "last_success_ms")} == {None}
    row = next(line for line in shown.stdout.splitlines() if " crm " in line)
    assert row.split()[3:] == ["-"] * 6


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stage_that_is_down_is_told_at_once(pipeline, sig):
    names = [n for n in pipeline.stages if n.startswith(("deliverer", "auditor"))]
    for name in names:
        pipeline[name].kill(sig)
    try:
        began = time.monotonic()
        for done in pipeline.cli_all(
                ["cancel", "--handler", "1"], ["retry", "--handler", "1"], ["log"], ["log", "--follow"],
                ["show", "01JGFJJZ00ABCDEFGHJKMNPQRS"], ["replay", "--handler", "1"]):
            assert done.returncode == 69 and "does not answer" in done.stderr, (done.args, done.stderr)
        assert time.monotonic() - began < 9, "as if an answer were to come"
    finally:
        for name in names:
            pipeline[name].kill(signal.SIGCONT)


def is_stopped(process):
    stats = pathlib.Path(f"/proc/{process.pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)


class Killer(threading.Thread):
    """Stands between one client and a stage, which it kills with the question in its hands."""

    def __init__(self, stage, key):
        super().__init__(daemon=True)
        self.stage, self.asked = stage, False
        host, port = stage.endpoint(key).removeprefix("tcp://").rsplit(":", 1)
        self.upstream = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        client = self.listener.accept()[0]
        with self.listener, client, socket.create_connection(self.upstream) as server:
            other = {client: server, server: client}
            while True:
                for end in select.select(list(other), [], [])[0]:
                    try:
                        data = end.recv(65536)
                    except ConnectionResetError:
                        data = b""
                    if not data:
                        return
                    if b'"op"' in data:
                        self.stage.kill(signal.SIGSTOP)
                        wait_until(lambda: is_stopped(self.stage.process), what="stopped")
                        other[end].sendall(data)
                        self.asked = True
                        self.stage.kill(signal.SIGKILL).wait()
                    else:
                        other[end].sendall(data)


@pytest.mark.parametrize("kind, setting, key, command", [
    ("deliverer", "DELIVERERS", "control", ["cancel", "--handler", "1"]),
    ("auditor", "QUESTIONS", "questions", ["log"])])
def test_a_stage_that_is_killed_with_a_question_is_told_at_once(pipeline, kind, setting, key, command):
    stage = next(stage for stage in pipeline.stages.values() if stage.kind == kind)
    killer = Killer(stage, key)
    pipeline.env[f"PROVISOR_CLI_{setting}"] = killer.endpoint
    began = time.monotonic()
    done = pipeline.cli(*command, check=False)
    took = time.monotonic() - began
    killer.join(60 * SLOW)
    assert killer.asked and not killer.is_alive()
    assert done.returncode == 69 and "stopped before it answered" in done.stderr, done.stderr
    assert took < 8 * SLOW, "as if an answer were to come"


def test_replay_of_what_was_given_up(make_pipeline, handler):
    pipeline, down = make_pipeline(env={"PROVISOR_DELIVERER_BREAKER_PROBE": "200ms"}), [True]
    h = handler(respond=lambda r: 500 if down[0] else 200)
    id_ = pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        ids = core.accept([event(object_id=n, data={"n": n}) for n in range(20)])
        wait_until(lambda: len(pipeline.records(["delivery.exhausted"])) == 20, what="20 given up")
        down[0] = False
        newer = core.push(event(object_id=3, data={"n": 99}))["id"]
        wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 1, what="the newer event")
    at = h.count()
    out = pipeline.cli("replay", "--handler", str(id_)).stdout
    assert "done: 19 of 20 sent, 1 skipped" in out and ids[3] in out
    h.wait(at + 19)
    replayed = {r["headers"]["webhook-id"]: r for r in h.requests[at:]}
    assert set(replayed) == set(ids) - {ids[3]} and newer not in replayed
    assert {r["headers"]["provisor-replay"] for r in replayed.values()} == {"1"}
    done = pipeline.cli("replay", "--event-id", ids[3], "--handler", str(id_), "--superseded").stdout
    assert "done: 1 of 1 sent" in done
    h.wait(at + 20)
