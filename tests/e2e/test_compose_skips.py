"""scripts/test-compose where no Docker engine can be had: a clear line, and no failure."""

import pathlib
import shutil
import stat
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
TOOLS = ("bash", "dirname", "basename", "mktemp", "rm", "id")


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


@pytest.fixture
def place(tmp_path):
    """A project with nothing but its scripts, on a machine with nothing but a shell."""
    shutil.copytree(SCRIPTS, tmp_path / "project" / "scripts")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    program(tmp_path / "bin" / "id", "echo 0")  # whoever runs this test
    return tmp_path


def run(place):
    done = subprocess.run([place / "project/scripts/test-compose"], capture_output=True, text=True, timeout=60,
                          env={"PATH": str(place / "bin"), "TMPDIR": str(place)})
    assert not list(place.glob("tmp.*")), "what it made is still there"
    return done


def assert_skipped(done, why):
    assert done.returncode == 0, done
    assert f"skipped: the compose stack is not tested: {why}" in done.stderr.splitlines()[-1]


def test_without_root(place):
    program(place / "bin" / "id", "echo 1000")
    assert_skipped(run(place), "it needs root")


def test_without_docker(place):
    assert_skipped(run(place), "there is no Docker")


def test_without_an_engine_that_runs(place):
    program(place / "bin" / "docker", "exit 1")
    assert_skipped(run(place), "there is no Docker")


def test_without_docker_compose(place):
    program(place / "bin" / "docker", "exit 0")
    program(place / "bin" / "xargs", "exit 0")
    assert_skipped(run(place), "there is no docker-compose")


@pytest.mark.parametrize("code", [0, 1])
def test_an_engine_that_does_not_come_up_is_ended(place, code):
    shared = place / "shared/docker"
    program(shared / "engine-up.sh", f'/bin/mkdir "$1"; echo "up $1" >>{place}/told; exit {code}')
    program(shared / "engine-down.sh", f'echo "down $1" >>{place}/told')
    done = run(place)
    assert_skipped(done, "there is no Docker")
    assert ("it does not start" in done.stderr) == bool(code)
    up, down = (place / "told").read_text().split("\n")[:2]
    assert up.startswith("up ") and down == up.replace("up", "down", 1)
