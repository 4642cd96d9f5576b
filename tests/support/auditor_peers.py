"""One real auditor between stages, an emitter's replay socket and subscribers that are played here,
frame by frame (common/wire/messages.c)."""

import random
import time

import msgpack
import pytest
import zmq

from provisor import Pipeline, ask, wait_until

FIELDS = {name: number for number, name in enumerate((
    "topic at_ms origin event_id webhook_id events_id object_kind object_id body accepted_ms "
    "handler_id handler url attempt http_status error request response_headers response "
    "duration_us next_ms reason replay code path message source idempotency_key count stats "
    "replay_handler").split(), start=1)}


def record(topic, **members):
    members = {"topic": topic, "at_ms": int(time.time() * 1000), **members}
    return msgpack.packb({FIELDS[name]: value.encode() if isinstance(value, str) else value
                          for name, value in members.items()})


def event_id(n):
    return "01JG%022d" % n


def structs(frame):
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    unpacker.feed(frame)
    return list(unpacker)


class PlayedStage:
    """A stage's audit publisher: go-back-N behind the marks that it hears."""

    def __init__(self, auditor, service, endpoint, node=None):
        self.auditor, self.service, self.endpoint = auditor, service, endpoint
        self.node = node or "%016x" % random.getrandbits(64)
        self.pub, self.sub = (auditor.context.socket(kind) for kind in (zmq.XPUB, zmq.SUB))
        for socket in (self.pub, self.sub):
            socket.linger = 0
        self.pub.sndhwm = 0
        wait_until(self._bind, what=f"{endpoint} is free")
        for topic in (self.node, "beat"):
            self.sub.subscribe(topic)
        self.sub.connect(auditor.pipeline.env["PROVISOR_AUDITOR_MARKS"])
        self.rows = []      # of every boot: (origin, bytes); kept until it is marked, as a journal does
        self.origin = 0
        self.start()

    def _bind(self):
        try:
            self.pub.bind(self.endpoint)
            return True
        except zmq.ZMQError:
            return False

    def start(self):
        """A new boot: what is durable and not marked is sent again under new numbers."""
        self.boot = random.getrandbits(62) + 1
        self.records, self.origins = [r for _, r in self.rows], [o for o, _ in self.rows]
        self.mark = self.sent = 0
        self.gone = 0       # the stage itself has nothing up to this number any more
        self.joined = False  # the auditor subscribes; until then nothing that is sent arrives
        self.sent_at = 0    # anything: a silent stage is taken for dead
        self.tried_at = 0   # records, or a mark came: without one they are sent again
        self.beats = 0

    def add(self, topic, durable=True, **members):
        if durable:
            self.origin += 1
            members["origin"] = self.origin
        encoded = record(topic, **members)
        if durable:
            self.rows.append((self.origin, encoded))
        self.records.append(encoded)
        self.origins.append(members.get("origin", 0))

    def message(self, first, count, oldest=None, body=None):
        head = {1: 1, 2: self.node.encode(), 3: self.service.encode(), 4: self.boot, 5: first,
                6: max(self.mark, self.gone) + 1 if oldest is None else oldest, 7: count}
        records = b"".join(self.records[first - 1:first - 1 + count]) if body is None else body
        self.pub.send_multipart([self.node.encode(), msgpack.packb(head), records])
        self.sent_at = time.monotonic()
        if count:
            self.tried_at = self.sent_at

    def hear(self):
        while self.sub.poll(0):
            frames = self.sub.recv_multipart()
            if len(frames) == 1:
                self.beats += 1
                if time.monotonic() - self.sent_at > 0.9:
                    self.message(len(self.records) + 1, 0)
                continue
            mark = structs(frames[1])[0]
            assert mark[2].decode() == self.node
            if mark[3] != self.boot:
                continue
            assert mark[4] <= len(self.records), "a mark of what was never sent"
            if mark[4] > self.mark:
                self.mark = mark[4]
                self.sent_at = self.tried_at = time.monotonic()
                known = max([o for o in self.origins[:self.mark]], default=0)
                self.rows = [(o, r) for o, r in self.rows if o > known]

    def pump(self, batch=200):
        while self.pub.poll(0):
            self.pub.recv()
            self.joined, self.sent = True, self.mark
        self.hear()
        if self.sent > self.mark and time.monotonic() - self.tried_at > 1:
            self.sent = self.mark
        self.sent = max(self.sent, self.mark, self.gone)
        while self.sent < len(self.records) and self.sent < self.mark + 10000:
            count = min(batch, len(self.records) - self.sent)
            self.message(self.sent + 1, count)
            self.sent += count

    def settled(self):
        return self.mark == len(self.records)

    def close(self):
        self.pub.close()
        self.sub.close()


class Auditor:
    """The process, and everybody around it."""

    def __init__(self, directory, **env):
        self.pipeline = Pipeline(directory, env={f"PROVISOR_AUDITOR_{k.upper()}": str(v)
                                                 for k, v in env.items()})
        self.stage = self.pipeline["auditor"]
        self.context = zmq.Context()
        e = self.pipeline.env
        self.emitter = PlayedStage(self, "emitter", e["PROVISOR_EMITTER_AUDIT"])
        self.router = PlayedStage(self, "router", e["PROVISOR_ROUTER_AUDIT"])
        self.deliverer = PlayedStage(self, "deliverer", e["PROVISOR_DELIVERER_AUDIT"])
        self.stages = [self.emitter, self.router, self.deliverer]
        self.subscribers = []

    def start(self, **env):
        self.stage.start(env)
        wait_until(lambda: self.stage.answers() or not self.stage.alive(), what="the auditor answers")
        return self

    def restart_emitter(self):
        """As after a kill -9: same node, other boot."""
        old = self.emitter
        old.close()
        self.emitter = PlayedStage(self, "emitter", old.endpoint, old.node)
        self.emitter.rows, self.emitter.origin = old.rows, old.origin
        self.emitter.start()
        self.stages[0] = self.emitter

    def pump(self):
        for stage in self.stages:
            stage.pump()

    def until(self, predicate, what="the state", timeout=60):
        def turn():
            self.pump()
            return predicate()
        return wait_until(turn, timeout=timeout, what=what)

    def settle(self):
        self.until(lambda: all(stage.settled() for stage in self.stages), what="marks of everything")

    def ask(self, question, timeout=10):
        return ask(self.pipeline.env["PROVISOR_AUDITOR_QUESTIONS"], question, timeout)

    def records(self, *topics):
        return self.pipeline.records(topics)

    def stats(self):
        return self.stage.control("stats")["stats"]

    def subscribe(self, *topics):
        self.subscribers.append(self.pipeline.subscribe(*topics))
        return self.subscribers[-1]

    def deliver(self, n, outcome, handler_id=7, object_id="12", **members):
        self.deliverer.add(f"delivery.{outcome}", event_id=event_id(n), events_id="clients.update",
                           object_kind="client", object_id=object_id, handler_id=handler_id,
                           handler="crm", attempt=1, duration_us=1500, **members)

    def accept(self, n, object_id="12"):
        self.emitter.add("event.accepted", event_id=event_id(n), events_id="clients.update",
                         object_kind="client", object_id=object_id,
                         body='{"event":{},"data":{"n":%d,"m":0.10}}' % n)

    def close(self):
        for subscriber in self.subscribers:
            subscriber.close()
        for stage in self.stages:
            stage.close()
        self.stage.kill()
        if self.stage.process:
            self.stage.process.wait()
        self.context.destroy(linger=0)


class ReplaySocket:
    """The emitter's 5552: remembers keys as an emitter does; asserts that a key keeps its content."""

    def __init__(self, auditor):
        self.socket = auditor.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(auditor.pipeline.env["PROVISOR_EMITTER_REPLAY"])
        self.known, self.order = {}, []

    def serve(self, answer=lambda replay: "accepted", drop=False):
        """Answers what has come; answer(replay) -> accepted, busy or rejected."""
        while self.socket.poll(0):
            client, frame = self.socket.recv_multipart()
            answers, busy = b"", False
            for replay in structs(frame):
                key = replay[1].decode()
                status = "busy" if busy else answer(replay)
                busy = status == "busy"
                if status == "accepted" and key in self.known:
                    assert self.known[key] == replay, "the same key with other content"
                    status = "duplicate"
                elif status == "accepted":
                    self.known[key] = replay
                    self.order.append(replay)
                answers += msgpack.packb({1: replay[1], 2: status.encode(), 4: b"no such event"})
            if not drop:
                self.socket.send_multipart([client, answers])


@pytest.fixture
def make_auditor(tmp_path):
    made = []

    def make(start=True, **env):
        directory = tmp_path / f"a{len(made)}"
        directory.mkdir()
        made.append(Auditor(directory, **env))
        return made[-1].start() if start else made[-1]

    yield make
    for auditor in made:
        auditor.close()


@pytest.fixture
def auditor(make_auditor):
    return make_auditor()
