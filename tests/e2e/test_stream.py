"""The audit stream: no gaps for a subscriber to everything; a subscriber that was away fills its gap."""

from provisor import event, wait_until


def fill(pipeline, records, topic):
    """What a subscriber does that sees prev_id jump, or that was away: ask 5572."""
    have = {r["audit_id"]: r for r in records}
    for r in pipeline.records([topic]):
        have.setdefault(r["audit_id"], r)
    return [have[i] for i in sorted(have)]


def test_5000_events_without_a_gap(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    subscriber = pipeline.subscribe()
    wait_until(lambda: subscriber.heartbeats, what="the first heartbeat")
    first = subscriber.heartbeats[0]["last_audit_id"]
    with pipeline.core() as core:
        core.accept([event(object_id=n % 500, data={"n": n}) for n in range(5000)])
    wait_until(lambda: sum(r["topic"] == "delivery.delivered" for r in list(subscriber.records)) == 5000,
               timeout=60, what="5,000 deliveries on the stream")
    subscriber.close()
    ids = [r["audit_id"] for r in subscriber.records]
    assert ids[0] <= first + 1
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    last = {}
    for r in subscriber.records:
        assert r["prev_id"] == last.get(r["topic"], r["prev_id"])
        last[r["topic"]] = r["audit_id"]


def test_a_subscriber_that_was_killed_ends_with_the_full_set(pipeline, handler):
    h = handler(respond=lambda r: 404)  # no reason to open the circuit
    pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        subscriber = pipeline.subscribe("delivery.exhausted")
        core.accept([event(object_id=n) for n in range(100)])
        wait_until(lambda: len(subscriber.records) >= 20, what="the first ones")
        subscriber.close()
        before = list(subscriber.records)
        core.accept([event(object_id=n) for n in range(100, 200)])
        again = pipeline.subscribe("delivery.exhausted")
        core.accept([event(object_id=n) for n in range(200, 300)])
    wait_until(lambda: h.count() == 300, timeout=60, what="all attempts")
    wait_until(lambda: len(pipeline.records(["delivery.exhausted"])) == 300, what="history")
    records = fill(pipeline, before + list(again.records), "delivery.exhausted")
    again.close()
    assert len({r["event_id"] for r in records}) == 300
    chain = [r["prev_id"] for r in records]
    assert chain == [0] + [r["audit_id"] for r in records[:-1]]
