"""A process with no file descriptor left goes on with fewer connections, says so, and recovers by itself."""

import itertools
import json
import os
import resource
import subprocess

import zmq

from provisor import BIN, SLOW, event, wait_until

LOOKS = 5000


class Limit:
    """Of a stage's open files: what it has open now, and so many more."""

    def __init__(self, stage):
        self.pid = stage.process.pid
        self.before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def leave(self, more):
        """A new one gets the lowest free number, which must be below the limit. What is not open in each of
        many looks, as handlers.db is while it is read, is free again soon."""
        taken = set.intersection(*({int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")} for _ in range(LOOKS)))
        free = (n for n in itertools.count() if n not in taken)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (next(itertools.islice(free, more, None)), self.before[1]))

    def lift(self):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before)


class Asker:
    """Questions over one connection that stays: a new one would need a descriptor."""

    def __init__(self, endpoint):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def ask(self, **question):
        self.socket.send(json.dumps(question).encode())
        assert self.socket.poll(20000 * SLOW), f"no answer to {question}"
        return json.loads(self.socket.recv())

    def close(self):
        self.socket.close()
        self.context.term()


def test_the_deliverer_goes_on_with_fewer_connections(make_pipeline, handler):
    pipeline = make_pipeline(deliverers=1)
    handlers = [handler() for _ in range(12)]
    for n, h in enumerate(handlers):
        pipeline.add_handler(h.url, name=f"h{n}", event="clients.update" if n < 6 else "clients.create")
    control = Asker(pipeline["deliverer"].endpoint("control"))
    stats = lambda: control.ask(op="stats")["stats"]  # noqa: E731
    try:
        with pipeline.core() as core:
            stats()
            limit = Limit(pipeline["deliverer"])
            limit.leave(3)
            core.accept([event(object_id=n) for n in range(20)])
            for h in handlers[:6]:
                h.wait(20, timeout=60)
            # idle connections to the first six hold what there is; the others need them
            core.accept([event("clients.create", object_id=n) for n in range(20)])
            for h in handlers[6:]:
                h.wait(20, timeout=60)
            wait_until(lambda: stats()["pending"] == 0, what="all delivered")
            told = stats()
            assert told["starved"] > 0 and told["failed"] == 0 and told["sent"] == 240, told
            assert "event=descriptors_exhausted" in pipeline["deliverer"].log_text()
            limit.lift()
            wait_until(lambda: "event=descriptors_free" in pipeline["deliverer"].log_text(), what="a log line")
    finally:
        control.close()
    attempts = {(r["delivery_id"], r["attempt"]) for r in pipeline.records(["delivery.delivered"])}
    assert len(attempts) == 240 and {a for _, a in attempts} == {1}, "no attempt was used up"
    assert not pipeline.records(["delivery.retrying"])
    assert "circuit_open" not in pipeline["deliverer"].log_text()


def test_the_last_descriptor_goes_from_handler_to_handler(make_pipeline, handler):
    """Each request finds it held by an idle connection to another one, and no other request in flight."""
    pipeline = make_pipeline(deliverers=1)
    handlers = [handler() for _ in range(3)]
    for n, h in enumerate(handlers):
        pipeline.add_handler(h.url, name=f"h{n}", event=f"clients.{('create', 'update', 'delete')[n]}")
    limit = Limit(pipeline["deliverer"])
    limit.leave(1)
    with pipeline.core() as core:
        for n in range(1, 4):
            for kind, h in zip(("create", "update", "delete"), handlers):
                core.accept([event(f"clients.{kind}", object_id=n)])
                h.wait(n)
    limit.lift()
    wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 9, what="history")
    assert not pipeline.records(["delivery.retrying"])


def test_not_one_descriptor_left_is_waited_out(make_pipeline, handler):
    pipeline = make_pipeline(deliverers=1)
    h = handler()
    pipeline.add_handler(h.url)
    limit = Limit(pipeline["deliverer"])
    limit.leave(0)
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(10)])
    wait_until(lambda: "event=descriptors_exhausted" in pipeline["deliverer"].log_text(), what="a log line")
    assert h.count() == 0
    limit.lift()
    h.wait(10)
    wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == 10, what="history")
    assert not pipeline.records(["delivery.retrying"])


def test_history_refuses_and_recovers(make_pipeline, handler):
    """A question whose segment cannot be opened says why; commits go on."""
    pipeline = make_pipeline(deliverers=1)
    h = handler()
    pipeline.add_handler(h.url)
    asker = Asker(pipeline["auditor"].endpoint("questions"))
    try:
        assert asker.ask(op="replay_jobs")["ok"]  # connected, and no segment is open for it
        limit = Limit(pipeline["auditor"])
        limit.leave(0)
        answer = asker.ask(op="log", limit=10)
        assert not answer["ok"] and "Too many open files" in answer["error"], answer
        with pipeline.core() as core:
            core.accept([event(object_id=n) for n in range(10)])
        h.wait(10)
        limit.lift()
        wait_until(lambda: len(asker.ask(op="log", limit=100).get("records", [])) == 10, what="history of all")
    finally:
        asker.close()
    assert pipeline["auditor"].alive() and "event=failed" not in pipeline["auditor"].log_text()


def test_cores_beyond_the_limit_wait_outside(make_pipeline, handler):
    """Emitter and router open nothing while they run, but connections of others."""
    pipeline = make_pipeline()
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as inside:
        inside.accept([event(object_id=0)])
        limits = [Limit(pipeline["emitter"]), Limit(pipeline["router"])]
        for limit in limits:
            limit.leave(0)
        with pipeline.core() as outside:
            outside.send(event(object_id=1))
            inside.accept([event(object_id=n) for n in range(2, 50)])
            assert not outside.socket.poll(0)
            for limit in limits:
                limit.lift()
            assert b'"accepted"' in outside.recv()
    h.wait(50)


def test_too_few_at_the_start_are_refused(make_pipeline):
    pipeline = make_pipeline(start=False)
    for kind in ("emitter", "router", "deliverer", "auditor"):
        stage = pipeline[kind]
        done = subprocess.run(["prlimit", "--nofile=100:100", BIN / f"provisor-{kind}", "--data", stage.data],
                              env={**os.environ, **pipeline.env, **stage.env}, capture_output=True, text=True)
        assert done.returncode == 78 and "may open 100 files, it needs 128 at least" in done.stderr, done.stderr
