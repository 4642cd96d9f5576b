"""The audit stream: no gaps for a subscriber to everything; a subscriber that was away fills its gap."""

import json
import pathlib
import subprocess
import sys

from provisor import event, wait_until, whole_lines

EXAMPLE = pathlib.Path(__file__).parents[2] / "docs/examples/subscriber.py"


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


class KilledSubscriber:
    """docs/examples/subscriber.py on delivery.exhausted as a process: kill -9 and start again from the
    last record that it printed."""

    def __init__(self, pipeline, out):
        self.pipeline, self.out = pipeline, out
        out.touch()

    def records(self):
        return [json.loads(line) for line in whole_lines(self.out)]

    def start(self):
        records = self.records()
        self.out.write_text("".join(json.dumps(r) + "\n" for r in records))  # without half a line
        first = records[-1]["audit_id"] + 1 if records else 1
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLE, self.pipeline.env["PROVISOR_AUDITOR_STREAM"],
             self.pipeline.env["PROVISOR_AUDITOR_QUESTIONS"], str(first), "delivery.exhausted"],
            stdout=self.out.open("a"))
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_a_subscriber_that_was_killed_ends_with_the_full_set(pipeline, handler, tmp_path):
    h = handler(respond=lambda r: 404)  # no reason to open the circuit
    pipeline.add_handler(h.url, "--retry", "none")
    subscriber = KilledSubscriber(pipeline, tmp_path / "records").start()
    try:
        with pipeline.core() as core:
            core.accept([event(object_id=n) for n in range(2000)])
            wait_until(lambda: len(subscriber.records()) >= 200, what="the first ones")
            subscriber.kill()
            core.accept([event(object_id=n) for n in range(2000, 4000)])
            subscriber.start()
            core.accept([event(object_id=n) for n in range(4000, 5000)])
        wait_until(lambda: len(subscriber.records()) >= 5000, timeout=60, what="5,000 records")
    finally:
        subscriber.kill()
    records = subscriber.records()
    assert len({r["event_id"] for r in records}) == len(records) == 5000
    assert [r["prev_id"] for r in records] == [0] + [r["audit_id"] for r in records[:-1]]


def test_the_heartbeat_has_the_last_id_of_each_topic(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(10)])
    wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 10, what="history")
    subscriber = pipeline.subscribe("stage.heartbeat")
    beat = wait_until(lambda: subscriber.heartbeats, what="a heartbeat")[-1]
    subscriber.close()
    records = pipeline.records()
    assert beat["last"]["delivery.delivered"] == max(
        r["audit_id"] for r in records if r["topic"] == "delivery.delivered")
    assert beat["last_audit_id"] >= max(beat["last"].values())
    assert "audit_id" not in beat
