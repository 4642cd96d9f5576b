"""Stages are stopped (SIGTERM) and started again, one after the other, while a core sends over
5551: nothing is lost, nothing comes twice, order holds."""

import threading
import time

import pytest

from provisor import SLOW, event, wait_until
from test_crash import send_all

OBJECTS = 60


class Sender:
    """Sends per_object events for each object with keys, some at a time; counts what is acknowledged."""

    def __init__(self, pipeline, per_object):
        self.events = [event(object_id=o, data={"n": n}, id=f"{o}-{n}")
                       for n in range(per_object) for o in range(OBJECTS)]
        self.acknowledged = [0]
        self._thread = threading.Thread(target=send_all, args=(pipeline, self.events, self.acknowledged))
        self._thread.start()

    def wait(self, share):
        due = int(len(self.events) * share)
        wait_until(lambda: self.acknowledged[0] >= due, 60, f"{due} acknowledged")

    def join(self):
        self._thread.join(120 * SLOW)
        assert not self._thread.is_alive() and self.acknowledged[0] == len(self.events)


def restart(stage):
    stage.stop()
    stage.start()
    wait_until(stage.ready, what=f"{stage.name} ready again")


def by_object(bodies):
    came = {}
    for body in bodies:
        came.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    return came


@pytest.mark.parametrize("routers, deliverers", [(1, 1), (2, 2)])
def test_every_stage_is_restarted_under_load(make_pipeline, handler, routers, deliverers):
    p = make_pipeline(routers=routers, deliverers=deliverers)
    slow = lambda request: time.sleep(0.01) or 200  # noqa: E731   so that requests are on their way
    handlers = [handler(respond=slow), handler(respond=slow)]
    for i, h in enumerate(handlers):
        p.add_handler(h.url, name=f"h{i}")
    per_object = 40
    sender = Sender(p, per_object)
    for i, stage in enumerate(p.stages.values()):  # downstream first, as for an upgrade
        sender.wait(0.8 * (i + 1) / len(p.stages))
        restart(stage)
    sender.join()
    for h in handlers:
        h.wait(len(sender.events), 60)
    settled = lambda: p["emitter"].control("stats")["stats"]["journal_rows"] == 0  # noqa: E731
    wait_until(settled, 30, "an empty journal")
    for h in handlers:
        assert by_object(h.bodies()) == {o: list(range(per_object)) for o in range(OBJECTS)}
    delivered = lambda: [r["delivery_id"] for r in p.records(["delivery.delivered"])]  # noqa: E731
    wait_until(lambda: len(delivered()) >= 2 * len(sender.events), 30, "history of all")
    assert len(delivered()) == len(set(delivered())) == 2 * len(sender.events)
    assert not p.records(["stage.audit_gap"])


def test_what_was_answered_before_the_deadline_is_not_sent_again(make_pipeline, handler):
    """A handler that hangs holds up neither the stop nor what the others answered."""
    p = make_pipeline(routers=1, deliverers=1, env={"PROVISOR_PROVISOR_STOP_DEADLINE": "3s"})
    hangs = [True]
    stuck = handler(respond=lambda request: None if hangs[0] else 200)
    good = handler(respond=lambda request: time.sleep(0.3) or 200)
    p.add_handler(stuck.url, name="stuck", event="clients.create")
    p.add_handler(good.url, "--ordering", "none", name="good", event="clients.update")
    with p.core() as core:
        core.accept([event("clients.create", object_id=n) for n in range(5)])
        stuck.wait(5)
        core.accept([event(object_id=n, data={"n": n}) for n in range(200)])
        good.wait(20)
    began = time.monotonic()
    p["deliverer"].stop()
    assert time.monotonic() - began < 3 + 5 * SLOW
    answered = good.count()
    assert 20 <= answered < 200
    hangs[0] = False
    p["deliverer"].start()
    good.wait(200)
    stuck.wait(10)
    idle = lambda: p["deliverer"].control("stats")["stats"]["pending"] == 0  # noqa: E731
    wait_until(idle, what="all delivered")
    assert sorted(body["data"]["n"] for body in good.bodies()) == list(range(200)), "each exactly once"
    assert stuck.count() == 10 and len({r["headers"]["webhook-id"] for r in stuck.requests}) == 5
