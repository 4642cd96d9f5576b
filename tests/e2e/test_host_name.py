"""Host names that do not resolve for a while, or that move: a stage runs with an /etc/hosts of its own."""

import contextlib
import os
import stat
import subprocess

import pytest

import provisor
from provisor import event, wait_until

NAME = "handler.provisor.test"


@pytest.fixture
def hosts(tmp_path):
    """A file that is /etc/hosts to what in_namespace starts; nothing else resolves there."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("a file system of its own needs root")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    return hosts


@contextlib.contextmanager
def in_namespace(binary, hosts, folder, monkeypatch):
    """The binary stands behind a script that mounts first."""
    script = folder / binary
    script.write_text(f"""#!/bin/sh
exec unshare --mount sh -c 'mount --bind {hosts} /etc/hosts &&
mount --bind {hosts.parent}/nsswitch.conf /etc/nsswitch.conf && exec {provisor.BIN}/{binary} "$@"' sh "$@"
""")
    script.chmod(stat.S_IRWXU)
    with monkeypatch.context() as patch:
        patch.setattr(provisor, "BIN", folder)
        yield


def start_in_namespace(stage, *rest):
    with in_namespace(f"provisor-{stage.kind}", *rest):
        stage.start()


def test_a_name_that_does_not_resolve_is_a_failed_connection(make_pipeline, handler, hosts, tmp_path, monkeypatch):
    pipeline = make_pipeline(start=False, deliverers=1)
    for stage in pipeline.stages.values():
        if stage.kind == "deliverer":
            start_in_namespace(stage, hosts, tmp_path, monkeypatch)
        else:
            stage.start()
    pipeline.wait_ready()
    named, other = handler(lambda request: (200, "", {"Connection": "close"})), handler()
    url = f"http://{NAME}:{named.port}/api"
    pipeline.add_handler(url, "--retry", ",".join(["500ms"] * 30), name="named")
    pipeline.add_handler(other.url, name="other")
    with pipeline.core() as core:
        core.accept([event()])
        other.wait(1)
        retrying = wait_until(lambda: pipeline.records(["delivery.retrying"]), what="a failed attempt")
        assert retrying[0]["error"] == f"host not found: {NAME}" and retrying[0]["attempt"] == 1
        core.accept([event(object_id=n) for n in range(100, 150)])
        other.wait(51)  # nobody else waits for the resolver
        assert named.count() == 0
        with open(hosts, "a") as file:
            file.write(f"127.0.0.1 {NAME}\n")
        named.wait(51, timeout=120)
    delivered = wait_until(lambda: (r := pipeline.records(["delivery.delivered"])) and len(r) == 102 and r,
                           what="history of all")
    first = [r for r in delivered if r["url"] == url and r["object_id"] == 12]
    assert len(first) == 1 and first[0]["attempt"] > 1, "attempts counted"
    assert named.count() == 51


def test_a_router_whose_name_moved_away_is_not_connected(make_pipeline, hosts, tmp_path, monkeypatch):
    """Its old address still answers, and the connection to it was open."""
    pipeline = make_pipeline(start=False, routers=1)
    emitter = pipeline["emitter"]
    key = "PROVISOR_EMITTER_ROUTERS"
    port = {**pipeline.env, **emitter.env}[key].rsplit(":", 1)[1]
    emitter.env[key] = f"tcp://{NAME}:{port}"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    for stage in pipeline.stages.values():
        if stage is emitter:
            start_in_namespace(stage, hosts, tmp_path, monkeypatch)
        else:
            stage.start()
    wait_until(emitter.ready, what="ready")
    hosts.write_text(f"127.0.0.9 {NAME}\n")
    wait_until(lambda: "no router connected" in emitter.why(), what="not ready")
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    wait_until(emitter.ready, what="ready again")


def test_a_command_tells_an_unknown_name(pipeline, hosts, tmp_path, monkeypatch):
    """And asks the other stages all the same."""
    pipeline.env.update(PROVISOR_CLI_EMITTERS=f"tcp://{NAME}:5580", PROVISOR_CLI_QUESTIONS=f"tcp://{NAME}:5572")
    with in_namespace("provisor", hosts, tmp_path, monkeypatch):
        status, log = pipeline.cli_all(["status"], ["log"])
    assert status.returncode == 1 and log.returncode == 69
    told = {line.split()[0]: line for line in status.stdout.split("\n\n")[0].splitlines()[1:]}
    assert told["emitter"].endswith("does not answer: its name is not known")
    assert all(" ready " in line for kind, line in told.items() if kind != "emitter"), status.stdout
    assert f"its name in tcp://{NAME}:5572 is not known" in log.stderr
