"""The examples of docs/protocol.md work as they stand there."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest
import zmq

from provisor import event, wait_until, whole_lines

EXAMPLES = pathlib.Path(__file__).parents[2] / "docs/examples"
SECRET = "whsec_YW4gZXhhbXBsZSdzIHNlY3JldCBvZiAzMiBieXRlcy4u"


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


def compile_c(tmp_path, name):
    out = tmp_path / name
    done = run("cc", "-Wall", "-Werror", EXAMPLES / f"{name}.c", "-lzmq", "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_core_in_python(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    endpoint = pipeline.env["PROVISOR_EMITTER_INTAKE"]
    assert json.loads(run(sys.executable, EXAMPLES / "core.py", endpoint).stdout)["status"] == "accepted"
    again = json.loads(run(sys.executable, EXAMPLES / "core.py", endpoint).stdout)
    assert again["status"] == "duplicate"
    h.wait(1)


def test_a_pipelining_core_in_python(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    done = run(sys.executable, EXAMPLES / "core_pipelined.py", pipeline.env["PROVISOR_EMITTER_INTAKE"], "1000")
    assert done.stdout == "1000 accepted\n", done.stderr
    h.wait(1000)


def test_a_pipelining_core_takes_no_answer_for_another_requests():
    """As when the library mends a broken connection: one request is lost, later ones are answered."""
    intake = zmq.Context.instance().socket(zmq.ROUTER)
    intake.linger = 0
    port = intake.bind_to_random_port("tcp://127.0.0.1")
    core = subprocess.Popen([sys.executable, EXAMPLES / "core_pipelined.py", f"tcp://127.0.0.1:{port}", "20"],
                            stdout=subprocess.PIPE, text=True)
    taken, lose, until = [], True, time.monotonic() + 60
    try:
        while core.poll() is None and time.monotonic() < until:
            if not intake.poll(100):
                continue
            *envelope, request = intake.recv_multipart()
            n = json.loads(request)["data"]["n"]
            if n == 3 and lose:
                lose = False
                continue
            taken.append(n)
            intake.send_multipart([*envelope, b'{"status":"accepted","id":"01KDVDNG00A1B2C3D4E5F6G7H8"}'])
    finally:
        core.kill()
        out, _ = core.communicate(timeout=60)
        intake.close()
    assert out == "20 accepted\n" and sorted(set(taken)) == list(range(20))


def test_a_core_in_c(pipeline, handler, tmp_path):
    h = handler()
    pipeline.add_handler(h.url)
    done = run(compile_c(tmp_path, "core"), pipeline.env["PROVISOR_EMITTER_INTAKE"])
    assert json.loads(done.stdout)["status"] == "accepted"
    h.wait(1)


def test_a_subscriber_in_c(pipeline, handler, tmp_path):
    h = handler()
    pipeline.add_handler(h.url)
    program = compile_c(tmp_path, "subscriber")
    process = subprocess.Popen([program, pipeline.env["PROVISOR_AUDITOR_STREAM"], "delivery.delivered", "5"],
                               stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pipeline["auditor"].control("stats")["stats"]["subscriptions"] >= 1,
                   what="the subscription")
        with pipeline.core() as core:
            core.accept([event(object_id=n) for n in range(5)])
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert [json.loads(line)["topic"] for line in out.splitlines()] == ["delivery.delivered"] * 5


def test_a_subscriber_in_python_misses_nothing(pipeline, handler, tmp_path):
    h = handler()
    pipeline.add_handler(h.url)
    out = tmp_path / "records"
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(50)])  # before it was there
        wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 50, what="history")
        process = subprocess.Popen([sys.executable, EXAMPLES / "subscriber.py", pipeline.env["PROVISOR_AUDITOR_STREAM"],
                                    pipeline.env["PROVISOR_AUDITOR_QUESTIONS"], "1", "delivery.delivered"],
                                   stdout=out.open("w"))
        try:
            core.accept([event(object_id=n) for n in range(50)])
            wait_until(lambda: len(whole_lines(out)) == 100, what="100 records")
        finally:
            process.kill()
            process.wait()
    ids = [json.loads(line)["audit_id"] for line in whole_lines(out)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.js")))
def test_javascript_parses(name):
    """All that can be done for those that need zeromq: Debian has none for Node."""
    if not shutil.which("node"):
        pytest.skip("node is not installed; it is not needed for anything else")
    done = run("node", "--check", EXAMPLES / name)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [[sys.executable, EXAMPLES / "handler.py"], ["node", EXAMPLES / "handler.js"]],
                         ids=["python", "node"])
def test_a_handler_that_verifies(pipeline, command):
    if not shutil.which(str(command[0])):
        pytest.skip("node is not installed; it is not needed for anything else")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "SECRET": SECRET})
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="the handler")
        pipeline.add_handler(f"http://127.0.0.1:{port}/", "--secret", SECRET, name="right")
        pipeline.add_handler(f"http://127.0.0.1:{port}/", "--secret", "x" * 30, "--retry", "none", name="wrong")
        with pipeline.core() as core:
            core.push(event(data={"amount": 1}))
        rows = wait_until(lambda: (r := pipeline.cli_json("log")) and len(r) == 2 and r, what="both outcomes")
        assert {r["handler"]: r["http_status"] for r in rows} == {"right": 204, "wrong": 401}
    finally:
        process.kill()
        out = process.communicate()[0]
    assert out.startswith("clients.update 12")
