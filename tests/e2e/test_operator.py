"""What an operator sets and sees: circuit, rate, secrets, the log, help."""

import base64
import os
import subprocess
import time

from provisor import BIN, Terminal, event, wait_until
from test_delivery import verified


def test_an_open_circuit_probes_with_one_request_and_closes(make_pipeline, handler):
    pipeline = make_pipeline(routers=1, deliverers=1, env={
        "PROVISOR_DELIVERER_BREAKER_FAILURES": "5", "PROVISOR_DELIVERER_BREAKER_PROBE": "50ms"})
    down = [True]
    h = handler(respond=lambda r: 503 if down[0] else 200)
    id_ = pipeline.add_handler(h.url, "--retry", "1ms,1h", "--window", "2")

    def circuit():
        return pipeline.cli_json("status")[0]["handlers"][0]["circuit"]

    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(200)])
        wait_until(lambda: circuit() == "open", what="an open circuit")
        opened = h.count()
        h.wait(opened + 5)  # two of them may have been in flight when it opened
        probes = h.requests[opened + 2:]
        assert len(probes) < 20, "one request at a time, further and further apart"
        assert all(b["at"] - a["at"] > 0.15 for a, b in zip(probes, probes[1:]))
        pending = pipeline.cli_json("status")[0]["handlers"][0]["pending"]
        assert pending == 200, "an open circuit gives nothing up"
        down[0] = False
        pipeline.cli("retry", "--handler", str(id_))
        wait_until(lambda: pipeline.cli_json("status")[0]["handlers"][0]["pending"] == 0, what="all delivered")
        assert circuit() == "closed"


def test_the_rate_limit_of_a_handler(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url, "--rate", "10")
    with pipeline.core() as core:
        core.accept([event(object_id="same", data={"n": n}) for n in range(25)])  # one deliverer
    h.wait(25)
    took = h.requests[-1]["at"] - h.requests[0]["at"]
    assert took >= 1, "10 at once, then 10 a second"


def test_secrets_from_a_file_and_generated(pipeline, handler, tmp_path):
    h = handler()
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    (tmp_path / "secret").write_text(secret + "\n")
    id_ = pipeline.add_handler(h.url, "--secret", f"@{tmp_path / 'secret'}")
    with pipeline.core() as core:
        core.accept([event()])
        h.wait(1)
        assert verified(h.requests[0], secret)
        done = pipeline.cli("handler", "update", str(id_), "--secret", "generate")
        generated = done.stderr.split()[-1]
        assert generated.startswith("whsec_")
        core.accept([event()])
        h.wait(2)
    assert verified(h.requests[1], generated)


def test_a_file_that_holds_no_secret_is_refused(pipeline, tmp_path):
    """Else the handler would be there, and its requests without a signature."""
    done = pipeline.cli("handler", "add", "--name", "x", "--event", "*", "--task", "http://h/", "--secret", "",
                        check=False)
    assert done.returncode == 64 and "none: requests are not signed" in done.stderr
    (tmp_path / "empty").write_text("\n")
    for path, text in ((tmp_path / "empty", "is empty"), (tmp_path, "Is a directory"), ("/dev/zero", "too large")):
        done = pipeline.cli("handler", "add", "--name", "x", "--event", "*", "--task", "http://h/",
                            "--secret", f"@{path}", check=False)
        assert done.returncode == 64 and text in done.stderr, done.stderr
    assert pipeline.cli_json("handler", "list") == []
    id_ = pipeline.add_handler("http://h/", "--secret", "generate")
    pipeline.cli("handler", "update", str(id_), "--secret", "none")
    assert not pipeline.cli_json("handler", "list")[0]["secrets"]


def test_emit_shows_its_progress_on_a_terminal(pipeline, tmp_path):
    lines = tmp_path / "events.ndjson"
    lines.write_text('{"event":{"events_id":"clients.update","object_id":1}}\n' * 3000)
    terminal = Terminal(pipeline, "emit", lines)
    code, out = terminal.end()
    assert code == 0 and out.startswith("3000 accepted")
    assert b"3000 sent, 0 refused" in terminal.shown


def test_every_command_explains_itself(pipeline):
    listed = subprocess.run([BIN / "provisor", "--help"], capture_output=True, text=True).stdout
    commands = [line[2:18].strip() for line in listed.splitlines() if line.startswith("  ")]
    assert {"up", "emit", "handler add", "log", "show", "replay", "status", "config"} <= set(commands)
    for command in commands:
        done = pipeline.cli(*command.split(), "--help")
        assert done.stdout.startswith(f"usage: provisor {command}"), command
        assert "examples:" in done.stdout, command


def test_the_log_between_two_times_and_its_keys(pipeline, handler):
    h = handler(respond=lambda r: (500, "no") if r["n"] == 0 else 200)
    pipeline.add_handler(h.url, "--retry", "1ms", "--window", "1")
    with pipeline.core() as core:
        core.accept([event(object_id=1)])
        wait_until(lambda: len(pipeline.cli_json("log")) == 2, what="two rows")
        between = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        wait_until(lambda: time.time() > time.mktime(time.strptime(between, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone,
                   what="the next second")
        core.accept([event(object_id=2)])
    wait_until(lambda: len(pipeline.cli_json("log")) == 3, what="three rows")
    assert len(pipeline.cli_json("log", "--until", between)) == 2
    assert len(pipeline.cli_json("log", "--since", between)) == 1
    wanted = {"audit_id", "event_id", "delivery_id", "status", "outcome", "at", "events_id", "object_id",
              "handler_id", "handler", "attempt", "http_status", "duration_ms"}
    assert all(wanted <= set(row) for row in pipeline.cli_json("log"))


def test_a_refused_connection_is_an_error_in_the_log(pipeline, handler):
    h = handler()
    h.close()
    pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        core.push(event())
    row = wait_until(lambda: pipeline.cli_json("log"), what="the log")[0]
    assert row["status"] == "fail" and "refused" in row["error"] and row.get("http_status", 0) == 0
