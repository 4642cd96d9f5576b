"""Fixtures of the end-to-end tests. What they give is in tests/support/provisor.py."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))

import provisor  # noqa: E402


@pytest.fixture
def make_pipeline(tmp_path):
    """make_pipeline(routers=1, deliverers=1, env={...}) -> a started Pipeline; killed at the end.
    Nothing that a sanitizer found may stand in a log."""
    made = []

    def make(start=True, **kwargs):
        pipeline = provisor.Pipeline(tmp_path / f"p{len(made)}", **kwargs)
        pipeline.dir.mkdir()
        made.append(pipeline)
        return pipeline.start() if start else pipeline

    yield make
    for pipeline in made:
        pipeline.kill()
    for log in tmp_path.rglob("*.log"):
        found = log.read_text(errors="replace").partition("Sanitizer:")
        assert not found[1], f"{log.name}: {found[2][:4000]}"


@pytest.fixture
def pipeline(make_pipeline):
    return make_pipeline()


@pytest.fixture
def handler():
    """handler(respond=..., tls=...) -> a Handler; closed at the end."""
    made = []

    def make(*args, **kwargs):
        made.append(provisor.Handler(*args, **kwargs))
        return made[-1]

    yield make
    for h in made:
        h.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows the end of each stage's log."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for fixture in ("tmp_path",):
            if fixture in item.funcargs:
                for log in sorted(item.funcargs[fixture].rglob("*.log")):
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                    report.sections.append((str(log.name), tail))
