"""Replay, retry and cancel: what is shown, what is skipped, and what kills and restarts leave of it."""

import json
import time

import pytest

from provisor import event, wait_until
from test_drain import Terminal


class Target:
    """A handler that refuses everything while it is down; no circuit opens."""

    def __init__(self, pipeline, handler, retry="none"):
        self.pipeline, self.down = pipeline, True
        self.server = handler(respond=lambda r: 404 if self.down else 200)
        self.id = pipeline.add_handler(self.server.url, "--retry", retry)

    def give_up(self, events):
        with self.pipeline.core() as core:
            ids = core.accept(events)
        gone = lambda: {r["event_id"] for r in self.pipeline.records(["delivery.exhausted"])}  # noqa: E731
        wait_until(lambda: set(ids) <= gone(), what="all given up")
        self.down = False
        return ids

    def came(self, since):
        return [r["headers"]["webhook-id"] for r in self.server.requests[since:]]


def job_of(pipeline):
    return pipeline.question({"op": "replay_jobs"})["jobs"][0]["job"]


def test_a_replay_outlives_who_watches_it_and_can_be_watched_again(pipeline, handler):
    target = Target(pipeline, handler)
    ids = target.give_up([event(object_id=n) for n in range(100)])
    at = target.server.count()
    watch = Terminal(pipeline, "replay", "--handler", str(target.id), "--rate", "40")
    wait_until(lambda: b" of 100 sent" in watch.shown, what="progress")
    target.server.wait(at + 5)
    watch.process.kill()
    assert watch.end()[0] == -9
    again = Terminal(pipeline, "replay", "--job", str(job_of(pipeline)))
    code, out = again.end()
    assert code == 0 and out == "done: 100 of 100 sent, 0 skipped\n"
    steps = [line for line in again.shown.split(b"\r") if b" of 100 sent" in line]
    assert len(steps) > 1 and steps[0] != steps[-1], again.shown
    target.server.wait(at + 100)
    assert sorted(target.came(at)) == sorted(ids), "each once"


@pytest.mark.parametrize("name", ["emitter", "router", "deliverer"])
def test_a_replay_loses_nothing_when_a_stage_is_killed(make_pipeline, handler, name):
    p = make_pipeline(routers=1, deliverers=1)
    target = Target(p, handler)
    ids = target.give_up([event(object_id=n % 50, data={"n": n // 50}) for n in range(200)])
    at = target.server.count()
    job = p.question({"op": "replay", "handler_id": target.id, "rate": 200})["job"]
    for share in (40, 100):
        wait_until(lambda n=share: target.server.count() >= at + n, what=f"{share} of the replay")
        p[name].kill().wait()
        p[name].start()
    state = lambda: p.question({"op": "replay_status", "job": job})  # noqa: E731
    wait_until(lambda: state()["state"] == "done", what="the end of the job")
    assert (state()["sent"], state()["total"]) == (200, 200)
    wait_until(lambda: set(target.came(at)) == set(ids), what="all of them")
    order = {}
    for request in target.server.requests[at:]:
        body = json.loads(request["body"])
        order.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    for numbers in order.values():
        assert list(dict.fromkeys(numbers)) == sorted(set(numbers)), "in the order of acceptance"
    if name != "deliverer":
        assert len(target.came(at)) == 200, "only a deliverer that was killed sends again"


def test_what_is_superseded_is_listed_once_also_over_a_kill(pipeline, handler):
    target = Target(pipeline, handler)
    ids = target.give_up([event(object_id=n) for n in range(120)])
    with pipeline.core() as core:
        core.accept([event(object_id=n, data={"newer": 1}) for n in range(0, 120, 2)])
    wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 60, what="the newer ones")
    at = target.server.count()
    job = pipeline.question({"op": "replay", "handler_id": target.id, "rate": 30})["job"]
    target.server.wait(at + 20)
    pipeline["auditor"].kill().wait()
    pipeline["auditor"].start()
    pipeline.wait_ready()
    out = pipeline.cli("replay", "--job", str(job)).stdout
    assert "done: 60 of 120 sent, 60 skipped" in out and "(--superseded sends them too)" in out
    assert sorted(line.strip() for line in out.splitlines()[2:]) == sorted(ids[::2])
    told = pipeline.cli_json("replay", "--job", str(job))[0]
    assert sorted(told["skipped_events"]) == sorted(ids[::2])
    target.server.wait(at + 60)
    assert sorted(target.came(at)) == sorted(ids[1::2])
    out = pipeline.cli("replay", "--handler", str(target.id), "--superseded", "--event-id", ids[0]).stdout
    assert "done: 1 of 1 sent, 0 skipped" in out


def test_a_replay_is_of_a_span_of_time(pipeline, handler):
    target = Target(pipeline, handler)
    first = target.give_up([event(object_id=n) for n in range(5)])
    target.down = True
    last = max(r["at"] for r in pipeline.records(["delivery.exhausted"]))
    now = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))  # noqa: E731
    between = wait_until(lambda: (t := now()) > last[:19] + "Z" and t, what="the next second")
    second = target.give_up([event(object_id=n + 10) for n in range(7)])
    at = target.server.count()
    handler_ = ("replay", "--handler", str(target.id))
    assert "done: 7 of 7 sent" in pipeline.cli(*handler_, "--since", between).stdout
    target.server.wait(at + 7)
    assert sorted(target.came(at)) == sorted(second)
    assert "done: 5 of 5 sent" in pipeline.cli(*handler_, "--until", between).stdout
    target.server.wait(at + 12)
    assert sorted(target.came(at + 7)) == sorted(first)


def test_a_replay_goes_to_the_end_of_its_lane(pipeline, handler):
    target = Target(pipeline, handler)
    old, = target.give_up([event(object_id=1, data={"n": "old"})])
    target.down = True
    pipeline.cli("handler", "update", str(target.id), "--retry", "1h")
    with pipeline.core() as core:
        newer = core.push(event(object_id=1, data={"n": "newer"}))["id"]
    wait_until(lambda: pipeline.records(["delivery.retrying"]), what="the newer one waiting")
    at = target.server.count()
    assert "done: 1 of 1 sent" in pipeline.cli("replay", "--event-id", old, "--handler", str(target.id)).stdout
    pending = lambda: pipeline.cli_json("status")[0]["handlers"][0]["pending"]  # noqa: E731
    wait_until(lambda: pending() == 2, what="both waiting")
    assert target.server.count() == at
    target.down = False
    assert "now" in pipeline.cli("retry", "--handler", str(target.id)).stdout
    target.server.wait(at + 2)
    assert target.came(at) == [newer, old]


def test_retry_of_one_object_or_delivery_leaves_the_others(pipeline, handler):
    target = Target(pipeline, handler, retry="1h,1h")
    with pipeline.core() as core:
        ids = core.accept([event(object_id=n) for n in range(6)])
    wait_until(lambda: len(pipeline.records(["delivery.retrying"])) == 6, what="six failures")
    target.down = False
    at = target.server.count()
    assert "1 delivery due now" in pipeline.cli("retry", "--delivery", f"{ids[0]}-{target.id}").stdout
    target.server.wait(at + 1)
    assert "1 delivery due now" in pipeline.cli("retry", "--handler", str(target.id), "--object", "4").stdout
    target.server.wait(at + 2)
    assert target.came(at) == [ids[0], ids[4]]
    for args in (("--handler", str(target.id), "--object", "99"), ("--delivery", f"{ids[0]}-{target.id}")):
        done = pipeline.cli("retry", *args, check=False)
        assert done.returncode == 1 and done.stdout == "0 deliveries due now\n", args
    assert pipeline.cli_json("status")[0]["handlers"][0]["pending"] == 4
    assert target.server.count() == at + 2
