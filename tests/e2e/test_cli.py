"""The command line as an operator and as a machine use it."""

import json
import os
import signal
import subprocess
import time

import pytest
from provisor import BIN, STAGES, event, wait_until


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


def test_emit_names_the_line_that_was_refused(pipeline):
    lines = "\n".join([json.dumps(event()), '{"event":{"events_id":"clients.updat"}}', json.dumps(event()), "{"])
    done = pipeline.cli("emit", "-", stdin=lines, check=False)
    assert done.returncode == 1
    assert "line 2 refused: unknown_event" in done.stderr and "clients.update" in done.stderr
    assert "line 4 refused: bad_json" in done.stderr
    assert done.stdout.startswith("2 accepted, 0 duplicate, 2 refused")


def test_emit_refuses_what_cannot_be_sent_and_goes_on(pipeline, tmp_path):
    good = json.dumps(event())
    lines = tmp_path / "lines"
    lines.write_text("\n".join([good, "", "x" * (9 << 20), good + "\0garbage", good]) + "\n")
    done = pipeline.cli("emit", str(lines), check=False)
    assert done.returncode == 1
    assert "line 3 refused: too_large" in done.stderr
    assert "line 4 refused: bad_json" in done.stderr
    assert done.stdout.startswith("2 accepted, 0 duplicate, 2 refused")
    folder = pipeline.cli("emit", str(tmp_path), check=False)
    assert folder.returncode == 1 and "directory" in folder.stderr


def test_emit_knows_what_was_lost_with_the_emitter(pipeline, tmp_path):
    """The emitter dies with requests in hand and comes back: what emit says is taken in is taken in."""
    lines = tmp_path / "lines"
    lines.write_text("".join(json.dumps(event(object_id=n, id=f"key-{n}")) + "\n" for n in range(20000)))
    process = subprocess.Popen([BIN / "provisor", "emit", lines, "--data", pipeline.data],
                               env={**os.environ, **pipeline.env}, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: pipeline["emitter"].control("stats")["stats"]["accepted"] > 1000, what="the first ones")
    pipeline["emitter"].kill().wait()
    pipeline["emitter"].start()
    _, said = process.communicate(timeout=90)
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


def test_a_test_tells_what_becomes_of_it(pipeline, handler):
    h = handler(respond=lambda r: (500, "no"))
    for retry, text in (("none", "it is given up and not retried"), ("1h", "it is retried on")):
        id_ = pipeline.add_handler(h.url, "--retry", retry, name=f"retry-{retry}")
        done = pipeline.cli("handler", "test", str(id_), check=False)
        assert done.returncode == 1 and done.stdout.startswith("failed:")
        assert "HTTP 500" in done.stdout and text in done.stdout, done.stdout


def test_reading_makes_no_store(pipeline, tmp_path):
    wrong = tmp_path / "wrong"
    env = {**os.environ, **pipeline.env, "PROVISOR_PROVISOR_HANDLERS": str(wrong)}
    for args in (["list"], ["show", "1"], ["update", "1", "--priority", "5"], ["enable", "1"], ["test", "1"]):
        done = subprocess.run([BIN / "provisor", "handler", *args, "--data", wrong], env=env, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 1 and f"there is no handlers.db in {wrong}; is --data right?" in done.stderr, args
        assert not wrong.exists(), args
    done = subprocess.run([BIN / "provisor", "status", "--data", wrong], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "no handlers.db" in done.stderr and "emitter" in done.stdout
    assert not wrong.exists()


def test_bad_flags_say_what_to_do(pipeline):
    cases = [
        (["handler", "add", "--name", "x", "--event", "*", "--task", "https://h/", "--type", "http"], 1, "https"),
        (["handler", "add", "--name", "x", "--event", "clients.craete", "--task", "h"], 64, "clients.create"),
        (["handler", "add", "--name", "x", "--event", "*", "--task", "h", "--timeout", "5"], 64, "15s"),
        (["handler", "add", "--name", "x", "--event", "*", "--task", "h", "--filter", "/data/a >> 1"], 1, "^"),
        (["handler", "add", "--name", "x", "--event", "*", "--task", "h", "--secret", "short"], 1, "24"),
        (["handler", "add", "--name", "x", "--event", "*", "--task", "h", "--header", "webhook-id: 1"], 1, "webhook-"),
        (["handler", "add", "--event", "*"], 64, "required"),
        (["handler", "show", "99"], 1, "handler list"),
        (["log", "--since", "yesterday"], 64, "24h"),
        (["log", "--status", "ok"], 64, "success or fail"),
        (["show", "nonsense"], 1, ""),
        (["replay"], 64, "--event-id"),
        (["cancel"], 64, "--delivery"),
        (["frobnicate"], 64, "unknown command"),
        (["log", "--frob"], 64, "--help"),
    ]
    for args, code, text in cases:
        done = pipeline.cli(*args, check=False)
        assert done.returncode == code and text in done.stderr, (args, done.returncode, done.stderr)


def test_files_of_a_handler_must_be_there(pipeline, tmp_path):
    there = tmp_path / "ca.pem"
    there.write_text("pem")
    id_ = pipeline.add_handler("https://h/", "--ca-file", str(there))
    there.unlink()
    both = ("--cert-file", "/etc/hostname", "--key-file", "/nowhere/key.pem")
    cases = [(("--ca-file", str(there)), f"--ca-file {there}: No such file"),
             (("--ca-file", str(tmp_path)), f"--ca-file {tmp_path}: is not a file"),
             (("--ca-file", "ca.pem"), "absolute path"),
             (both, "--key-file /nowhere/key.pem: No such file")]
    for flags, text in cases:
        for args in (["add", "--name", "x", "--event", "*", "--task", "h"], ["update", str(id_)]):
            done = pipeline.cli("handler", *args, *flags, check=False)
            assert done.returncode == 1 and text in done.stderr, (args, flags, done.stderr)
    assert [h["id"] for h in pipeline.cli_json("handler", "list")] == [id_]
    pipeline.cli("handler", "update", str(id_), "--priority", "5")  # what is not named is not looked at


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
        rows = lambda: [json.loads(line)["audit_id"] for line in out.read_text().splitlines()]  # noqa: E731
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


def test_a_handler_cannot_steer_the_terminal(pipeline, handler):
    answer = "\x1b]0;title\x07\x9b2J\u202egnp.exe"
    h = handler(respond=lambda r: (500, answer))
    pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        event_id = core.push(event(data={"name": answer}))["id"]
    wait_until(lambda: len(pipeline.cli_json("log")) == 1, what="the row")
    for args in (["show", event_id], ["show", event_id, "--details"], ["log"]):
        shown = pipeline.cli(*args).stdout
        assert "gnp.exe" in shown and not set(answer) & set(shown) & set("\x1b\x07\x9b\u202e"), (args, shown)
    assert pipeline.cli_json("log")[0]["response"] == answer


def test_ping_asks_the_stage_of_this_machine(pipeline):
    env = {"PROVISOR_CLI_ROUTERS": "tcp://127.0.0.1:9", **os.environ, **pipeline.env}
    ping = lambda *args: subprocess.run(  # noqa: E731
        [BIN / "provisor", "ping", *args], env=env, capture_output=True, text=True, timeout=60)
    for stage in STAGES:
        assert ping(stage).stdout == "ready\n", stage
    assert json.loads(ping("router", "--json").stdout)["service"] == "router"
    assert ping("switch").returncode == 64
    pipeline["auditor"].kill().wait()
    assert ping("auditor").returncode == 69
    done = wait_until(lambda: (d := ping("emitter")).returncode and d, what="an emitter that is not ready")
    assert done.returncode == 1 and done.stdout.startswith("not ready: "), done


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
    done = pipeline.cli("status", "--json", check=False)
    told = json.loads(done.stdout)["handlers"][0]
    assert done.returncode == 1 and told["name"] == "crm" and told["status"] == "enabled"
    assert {told[k] for k in ("pending", "lanes", "blocked_lanes", "in_flight", "oldest_ms", "last_success_ms")} == {None}
    row = next(line for line in pipeline.cli("status", check=False).stdout.splitlines() if " crm " in line)
    assert row.split()[3:] == ["-"] * 6


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stage_that_is_down_is_told_at_once(pipeline, sig):
    names = [n for n in pipeline.stages if n.startswith(("deliverer", "auditor"))]
    for name in names:
        pipeline[name].kill(sig)
    try:
        for args in (["cancel", "--handler", "1"], ["retry", "--handler", "1"], ["log"], ["log", "--follow"],
                     ["show", "01JGFJJZ00ABCDEFGHJKMNPQRS"], ["replay", "--handler", "1"]):
            began = time.monotonic()
            done = pipeline.cli(*args, check=False)
            assert done.returncode == 69 and "does not answer" in done.stderr, (args, done.stderr)
            assert time.monotonic() - began < 5, args
    finally:
        for name in names:
            pipeline[name].kill(signal.SIGCONT)


def test_replay_of_what_was_given_up(pipeline, handler):
    down = [True]
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


def test_up_supervises(make_pipeline, handler):
    pipeline = make_pipeline(start=False, routers=1, deliverers=1)  # up runs one of each
    log = open(pipeline.dir / "up.log", "wb")
    up = subprocess.Popen([BIN / "provisor", "up", "--data", pipeline.data],
                          env={**os.environ, **pipeline.env}, stderr=log, stdout=log)
    try:
        wait_until(lambda: pipeline.cli("status", check=False).returncode == 0, what="ready")
        second = pipeline.cli("up", check=False)
        assert second.returncode == 75 and str(up.pid) in second.stderr
        h = handler()
        pipeline.add_handler(h.url)
        for stage in STAGES:
            pid = pipeline[stage].control("ping")["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda s=stage, p=pid: pipeline[s].ready() and pipeline[s].control("ping")["pid"] != p,
                       what=f"{stage} restarted")
        with pipeline.core() as core:
            core.push(event())
        h.wait(1)
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
        for stage in STAGES:
            assert not pipeline[stage].ready()
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
            up.wait(60)


def test_a_port_in_use_is_named(pipeline, make_pipeline):
    other = make_pipeline(start=False, routers=1, deliverers=1)
    other.env["PROVISOR_EMITTER_INTAKE"] = pipeline.env["PROVISOR_EMITTER_INTAKE"]
    done = other.cli("up", check=False)
    assert done.returncode == 75
    assert "PROVISOR_EMITTER_INTAKE" in done.stderr and "in use" in done.stderr


def test_a_store_in_use_is_named(pipeline, make_pipeline):
    other = make_pipeline(start=False)
    stage = other["emitter"]
    stage.data = pipeline.data
    stage.start()
    assert stage.wait() == 75
    assert f"pid {pipeline['emitter'].process.pid}" in stage.log_text()


def test_bad_settings_stop_the_start(make_pipeline):
    pipeline = make_pipeline(start=False)
    path = pipeline.dir / "provisor.conf"
    cases = [("emitter\n    intak = tcp://127.0.0.1:1\n", "provisor.conf:2", "intake"),
             ("emitter\n    array_max = many\n", "provisor.conf:2", "array_max"),
             ("emitter\n    intake = tcp://0.0.0.0:5551\n", "", "trusted_network")]
    for text, place, reason in cases:
        path.write_text(text)
        done = subprocess.run([BIN / "provisor-emitter", "--config", path, "--data", pipeline.data],
                              capture_output=True, text=True, timeout=20)
        assert done.returncode == 78, done.stderr
        assert place in done.stderr and reason in done.stderr
    bad = [("retry", "5s,,1m", "delay 2"), ("on_full", "wait", "exhaust"), ("partitions", "0-99", "0-31")]
    for key, value, reason in bad:
        path.write_text(f"deliverer\n    # a comment\n    {key} = {value}\n")
        for flags in (["--data", pipeline.data], ["--check"]):
            done = subprocess.run([BIN / "provisor-deliverer", "--config", path, *flags],
                                  capture_output=True, text=True, timeout=20)
            assert done.returncode == 78, done.stderr
            assert f"provisor.conf:3: deliverer.{key}: " in done.stderr and reason in done.stderr
    path.write_text(pipeline.cli("config").stdout)
    assert subprocess.run([BIN / "provisor-emitter", "--config", path, "--check"]).returncode == 0
