"""Small forms of tests/scale: dead and hanging handlers, a long backlog. No times are asserted."""

import pathlib
import sys

import pytest

from provisor import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "scale"))

import load  # noqa: E402
from sink import Sink  # noqa: E402

WAITING = 2_000


@pytest.fixture
def sink():
    it = Sink()
    yield it
    it.close()


def events(count, first=0, objects=WAITING, events_id="clients.update"):
    return [load.event(events_id, (first + i) % objects, first + i) for i in range(count)]


def push(pipeline, texts):
    load.push_all(pipeline.env["PROVISOR_EMITTER_INTAKE"], texts)


def as_delivered(pipeline, id_):
    """The handler as the deliverer sees it."""
    return next((h for h in pipeline["deliverer"].control("handlers")["handlers"]
                 if h["handler_id"] == id_), {"pending": 0, "circuit": "closed", "in_flight": 0})


def wait_answers(sink, name, count):
    wait_until(lambda: sink.peek(name)["answers"] >= count, 90, f"{count} deliveries to {name}")


def test_a_dead_handler_is_probed_by_one_and_costs_lanes_only(make_pipeline, sink):
    pipeline = make_pipeline(routers=1, deliverers=1,
                             env={"PROVISOR_DELIVERER_BREAKER_PROBE": "300ms"})
    sink.set("dead", mode="error", delay_ms=20)
    id_ = pipeline.add_handler(sink.url("dead"), "--retry", "5s,5s,5s,5s", event="clients.*")  # none after minutes
    push(pipeline, events(100))
    wait_until(lambda: as_delivered(pipeline, id_)["circuit"] != "closed"
               and sink.peek("dead")["at_once"] == 0, what="an open circuit")
    push(pipeline, events(WAITING - 100, first=100))
    wait_until(lambda: as_delivered(pipeline, id_)["pending"] == WAITING, what="the backlog")
    sink.stats("dead")
    wait_until(lambda: sink.peek("dead")["arrivals"] >= 3, what="three probes")
    stats = sink.stats("dead")
    assert stats["most_at_once"] == 1
    # Bodies of those that came before the circuit opened, not of all that wait.
    body_bytes = pipeline["deliverer"].control("stats")["stats"]["body_cache_bytes"]
    assert body_bytes < 200 * 1000, body_bytes

    pipeline["deliverer"].kill().wait()
    pipeline["deliverer"].start()
    wait_until(pipeline["deliverer"].ready, what="the deliverer again")
    assert as_delivered(pipeline, id_)["pending"] == WAITING
    sink.set("dead", mode="ok")
    wait_until(lambda: as_delivered(pipeline, id_)["pending"] == 0, 90, "the drain")
    stats = sink.stats("dead")
    assert (stats["objects"], stats["disordered"]) == (WAITING, 0)
    assert stats["most_at_once"] == 16  # the whole window


def test_a_hot_object_drains_in_order_beside_the_others(make_pipeline, sink):
    pipeline = make_pipeline(routers=1, deliverers=1,
                             env={"PROVISOR_DELIVERER_BREAKER_PROBE": "300ms"})
    sink.set("dead", mode="error")
    id_ = pipeline.add_handler(sink.url("dead"), event="clients.*")
    push(pipeline, [load.event("clients.update", 7 if i % 4 == 0 else 100 + i, i)
                    for i in range(WAITING)])
    wait_until(lambda: as_delivered(pipeline, id_)["pending"] == WAITING, what="the backlog")
    sink.set("dead", mode="ok")
    wait_until(lambda: as_delivered(pipeline, id_)["pending"] == 0, 90, "the drain")
    stats = sink.stats("dead")
    assert (stats["ok"], stats["repeats"], stats["disordered"]) == (WAITING, 0, 0)


@pytest.mark.parametrize("answered_before", [False, True])
def test_hanging_handlers_leave_a_slot_for_a_healthy_one(make_pipeline, sink, answered_before):
    hanging = [f"hang-{i}" for i in range(20)]
    pipeline = make_pipeline(routers=1, deliverers=1, env={
        "PROVISOR_DELIVERER_CONCURRENCY": "32", "PROVISOR_DELIVERER_TIMEOUT": "10m"})
    for name in hanging:
        sink.set(name, mode="ok" if answered_before else "hang")
        pipeline.add_handler(sink.url(name), name=name, event="dids.*")
    pipeline.add_handler(sink.url("healthy"), name="healthy", event="clients.*")
    if answered_before:
        push(pipeline, events(8, objects=8, events_id="dids.update"))
        for name in hanging:
            wait_answers(sink, name, 8)
            sink.set(name, mode="hang")
    push(pipeline, events(64, first=8, objects=64, events_id="dids.update"))
    hangs = lambda: sum(sink.peek(name)["at_once"] for name in hanging)  # noqa: E731
    wait_until(lambda: hangs() >= 30, what="as many as leave a slot")
    push(pipeline, events(500))
    wait_answers(sink, "healthy", 500)
    assert hangs() >= 30


def test_beyond_its_share_a_dead_handler_is_given_up_and_others_go_on(make_pipeline, sink):
    pipeline = make_pipeline(routers=1, deliverers=1, env={
        "PROVISOR_DELIVERER_QUEUE_MAX": str(WAITING), "PROVISOR_DELIVERER_BREAKER_PROBE": "300ms"})
    sink.set("dead", mode="error")
    id_ = pipeline.add_handler(sink.url("dead"), name="dead", event="clients.*")
    pipeline.add_handler(sink.url("healthy"), name="healthy", event="dids.*")
    push(pipeline, events(WAITING))
    stats = lambda: pipeline["deliverer"].control("stats")["stats"]  # noqa: E731
    wait_until(lambda: stats()["exhausted"] == WAITING // 2, what="half given up")
    assert as_delivered(pipeline, id_)["pending"] == WAITING // 2
    push(pipeline, events(300, events_id="dids.update"))
    wait_answers(sink, "healthy", 300)
    wait_until(lambda: len(pipeline.records(["delivery.exhausted"])) == WAITING // 2,
               what="their records")
    assert {r["reason"] for r in pipeline.records(["delivery.exhausted"])} == {"backlog_full"}


def test_days_of_failure_suspend_park_and_enable_resumes(make_pipeline, sink):
    pipeline = make_pipeline(routers=1, deliverers=1, env={
        "PROVISOR_DELIVERER_SUSPEND_AFTER": "1s", "PROVISOR_DELIVERER_BREAKER_PROBE": "100ms"})
    sink.set("dead", mode="error")
    id_ = pipeline.add_handler(sink.url("dead"), "--retry", "300ms,300ms,1s,1s,1s,1s,1s,1s",
                               event="clients.*")
    push(pipeline, events(200, objects=50))
    show = lambda: pipeline.cli_json("handler", "show", str(id_))[0]  # noqa: E731
    wait_until(lambda: show()["status"] == "suspended", 60, "suspended")
    listed = next(h for h in pipeline.cli_json("handler", "list") if h["id"] == id_)
    assert listed["status"] == "suspended"
    record = wait_until(lambda: pipeline.records(["handler.suspended"]), what="its record")[0]
    assert record["handler_id"] == id_ and "only failed since" in record["reason"]
    wait_until(lambda: as_delivered(pipeline, id_)["in_flight"] == 0, what="nothing in flight")
    sink.set("dead", mode="ok")
    push(pipeline, events(200, first=200, objects=50))
    wait_until(lambda: as_delivered(pipeline, id_)["pending"] == 400, what="what comes parks too")
    assert sink.stats("dead")["arrivals"] == 0
    pipeline.cli("handler", "enable", str(id_))
    wait_answers(sink, "dead", 400)
    stats = sink.stats("dead")
    assert (stats["repeats"], stats["disordered"]) == (0, 0)
