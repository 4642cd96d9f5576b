"""The command line as an operator and as a machine use it: input, files, settings, supervision."""

import json
import os
import signal
import subprocess

from provisor import BIN, SLOW, STAGES, event, wait_until


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


def test_reading_makes_no_store(pipeline, tmp_path):
    wrong = tmp_path / "wrong"
    env = {**os.environ, **pipeline.env, "PROVISOR_PROVISOR_HANDLERS": str(wrong)}
    for args in (["list"], ["show", "1"], ["update", "1", "--priority", "5"], ["enable", "1"], ["test", "1"]):
        done = subprocess.run([BIN / "provisor", "handler", *args, "--data", wrong], env=env, capture_output=True,
                              text=True, timeout=60 * SLOW)
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


def test_an_update_of_nothing_is_refused(make_pipeline):
    pipeline = make_pipeline(start=False)
    id_ = pipeline.add_handler("https://h/")
    before = pipeline.cli("handler", "show", str(id_)).stdout
    for flags, text in (([], "nothing is to be changed"), (["--event", ""], "--event is empty"),
                        (["--event", "clients.*", "--event", " ,"], "--event is empty")):
        done = pipeline.cli("handler", "update", str(id_), *flags, check=False)
        assert done.returncode == 64 and text in done.stderr and "is updated" not in done.stdout, (flags, done)
    assert pipeline.cli("handler", "show", str(id_)).stdout == before


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
        [BIN / "provisor", "ping", *args], env=env, capture_output=True, text=True, timeout=60 * SLOW)
    for stage in STAGES:
        assert ping(stage).stdout == "ready\n", stage
    assert json.loads(ping("router", "--json").stdout)["service"] == "router"
    assert ping("switch").returncode == 64
    pipeline["auditor"].kill().wait()
    assert ping("auditor").returncode == 69
    done = wait_until(lambda: (d := ping("emitter")).returncode and d, what="an emitter that is not ready")
    assert done.returncode == 1 and done.stdout.startswith("not ready: "), done


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
        assert up.wait(60 * SLOW) == 0
        for stage in STAGES:
            assert not pipeline[stage].ready()
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
            up.wait(60 * SLOW)


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
                              capture_output=True, text=True, timeout=20 * SLOW)
        assert done.returncode == 78, done.stderr
        assert place in done.stderr and reason in done.stderr
    bad = [("retry", "5s,,1m", "delay 2"), ("on_full", "wait", "exhaust"), ("partitions", "0-99", "0-31")]
    for key, value, reason in bad:
        path.write_text(f"deliverer\n    # a comment\n    {key} = {value}\n")
        for flags in (["--data", pipeline.data], ["--check"]):
            done = subprocess.run([BIN / "provisor-deliverer", "--config", path, *flags],
                                  capture_output=True, text=True, timeout=20 * SLOW)
            assert done.returncode == 78, done.stderr
            assert f"provisor.conf:3: deliverer.{key}: " in done.stderr and reason in done.stderr
    path.write_text(pipeline.cli("config").stdout)
    assert subprocess.run([BIN / "provisor-emitter", "--config", path, "--check"]).returncode == 0
