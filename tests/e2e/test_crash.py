"""kill -9 of each stage in turn while acknowledged events flow: nothing is lost, order holds."""

import json
import threading

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


def send_all(pipeline, events, acknowledged):
    """A core that is not told of crashes: keys make sending again safe; whatever is not answered
    in time is sent again, in order, over a new connection."""
    while acknowledged[0] < len(events):
        with pipeline.core() as core:
            window = events[acknowledged[0]:acknowledged[0] + 100]
            for e in window:
                core.send(e)
            for _ in window:
                try:
                    answer = json.loads(core.recv(timeout=1))
                except TimeoutError:
                    break
                if answer["status"] == "busy":
                    break
                assert answer["status"] in ("accepted", "duplicate"), answer
                acknowledged[0] += 1


def test_5000_events_survive_the_death_of_each_stage(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url, "--retry", ",".join(["200ms"] * 20))
    events = [event(object_id=o, data={"n": n}, id=f"{o}-{n}")
              for n in range(PER_OBJECT) for o in range(OBJECTS)]
    acknowledged = [0]
    sender = threading.Thread(target=send_all, args=(pipeline, events, acknowledged))
    sender.start()
    for i, name in enumerate(pipeline.stages):  # while the core has requests without an answer
        due = len(events) * (i + 1) // (len(pipeline.stages) + 1)
        wait_until(lambda d=due: acknowledged[0] >= d, timeout=60, what=f"{due} acknowledged")
        pipeline[name].kill().wait()
        pipeline[name].start()
    sender.join(240)
    assert not sender.is_alive() and acknowledged[0] == len(events)
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
