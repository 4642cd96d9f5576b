"""kill -9 of each stage in turn while acknowledged events flow: nothing is lost, order holds."""

import json
import threading

import pytest

from provisor import event, wait_until

OBJECTS, PER_OBJECT = 100, 50


def first_arrivals(bodies):
    """Per object the counters in the order of their first arrival."""
    order = {}
    for body in bodies:
        seen = order.setdefault(body["event"]["object_id"], [])
        if body["data"]["n"] not in seen:
            seen.append(body["data"]["n"])
    return order


def send_all(pipeline, events, on_progress):
    """A core that is not told of crashes: keys make sending again safe; whatever is not answered
    in time is sent again, in order."""
    at = 0
    while at < len(events):
        with pipeline.core() as core:
            window = events[at:at + 100]
            for e in window:
                core.send(e)
            for _ in window:
                try:
                    answer = json.loads(core.recv(timeout=3))
                except TimeoutError:
                    break
                if answer["status"] == "busy":
                    break
                assert answer["status"] in ("accepted", "duplicate"), answer
                at += 1
            on_progress(at)


@pytest.mark.parametrize("routers,deliverers", [(1, 1), (2, 2)])
def test_5000_events_survive_the_death_of_each_stage(make_pipeline, handler, routers, deliverers):
    pipeline = make_pipeline(routers=routers, deliverers=deliverers)
    h = handler()
    pipeline.add_handler(h.url, "--retry", ",".join(["200ms"] * 20))
    events = [event(object_id=o, data={"n": n}, id=f"{o}-{n}")
              for n in range(PER_OBJECT) for o in range(OBJECTS)]
    victims = iter([(len(events) * (i + 1) // (len(pipeline.stages) + 1), name)
                    for i, name in enumerate(pipeline.stages)])
    due = [next(victims)]
    killed = []

    def on_progress(at):
        while due[0] and at >= due[0][0]:
            name = due[0][1]
            pipeline[name].kill().wait()
            pipeline[name].start()
            killed.append(name)
            due[0] = next(victims, None)

    sender = threading.Thread(target=send_all, args=(pipeline, events, on_progress))
    sender.start()
    sender.join(240)
    assert not sender.is_alive()
    assert len(killed) == len(pipeline.stages)
    wait_until(lambda: sum(map(len, first_arrivals(h.bodies()).values())) == len(events), timeout=60,
               what="all 5,000 at the handler")
    for object_id, order in first_arrivals(h.bodies()).items():
        assert order == list(range(PER_OBJECT)), f"object {object_id}: {order}"
    wait_until(lambda: len({r["event_id"] for r in pipeline.records(["delivery.delivered"])}) == len(events),
               timeout=60, what="history of all")
    delivered = [r["delivery_id"] for r in pipeline.records(["delivery.delivered"])]
    assert len(delivered) == len(set(delivered)), "one final outcome per delivery"
    ids = [r["audit_id"] for r in pipeline.records()]
    assert ids == list(range(1, len(ids) + 1)), "audit_id without holes"
