"""One real emitter between a scripted router, deliverer and auditor, and real cores."""

import json
import signal
import threading

import msgpack
import pytest
import zmq

from provisor import SLOW, Pipeline, event, wait_until


def structs(frame):
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)
    unpacker.feed(frame)
    return list(unpacker)


class Emitter:
    """The process, and sockets to each of its ports."""

    def __init__(self, directory, **env):
        self.pipeline = Pipeline(directory, env=env)
        self.stage = self.pipeline["emitter"]
        self.context = zmq.Context()
        self.peers = []

    def start(self, **extra_env):
        self.stage.start(extra_env)
        wait_until(lambda: self.stage.answers() or not self.stage.alive(), what="emitter answers")
        return self

    def restart(self, sig=signal.SIGKILL, **extra_env):
        self.stage.kill(sig).wait()
        return self.start(**extra_env)

    def stats(self):
        return self.stage.control("stats")["stats"]

    def socket(self, kind, key, **options):
        socket = self.context.socket(kind)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(self.stage.endpoint(key))
        return socket

    def dealer(self, key="intake", **options):
        return self.socket(zmq.DEALER, key, **options)

    def push(self):
        return self.socket(zmq.PUSH, "push", sndhwm=0)

    def ask(self, *frames, key="intake", timeout=10):
        """One request on a connection of its own; the frames of its answer, None if none came."""
        socket = self.dealer(key)
        socket.send_multipart(frames)
        answered = socket.poll(timeout * 1000 * SLOW)
        answer = socket.recv_multipart() if answered else None
        socket.close()
        return answer

    def ask_json(self, request):
        return json.loads(self.ask(request if isinstance(request, bytes) else encode(request))[-1])

    def assert_lives(self):
        assert self.ask_json(event())["status"] == "accepted"

    def play(self, **options):
        """Starts a router and a deliverer in one."""
        self.peers.append(Downstream(self, **options))
        return self.peers[-1]

    def play_auditor(self):
        self.peers.append(Auditor(self))
        return self.peers[-1]

    def close(self):
        for peer in self.peers:
            peer.close()
        self.pipeline.kill()
        self.context.destroy(linger=0)


def encode(value):
    return json.dumps(value).encode()


def receive(socket, timeout=60):
    assert socket.poll(timeout * 1000 * SLOW), "no answer"
    return socket.recv()


class _Peer:
    def __init__(self, emitter):
        self.emitter = emitter
        self.lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self.failure = None
        self._thread.start()

    def _guarded(self):
        context = zmq.Context()
        try:
            self._run(context)
        except Exception as failure:  # noqa: BLE001 - shown by close ()
            self.failure = failure
        finally:
            context.destroy(linger=0)

    def bind(self, context, kind, key, owner="emitter"):
        socket = context.socket(kind)
        socket.rcvhwm = socket.sndhwm = 0
        endpoint = self.emitter.pipeline.env[f"PROVISOR_{owner.upper()}_{key.upper()}"]

        def bound():
            try:
                socket.bind(endpoint)
                return True
            except zmq.ZMQError:
                return False
        wait_until(bound, what=f"{endpoint} is free")
        return socket

    def close(self):
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
        if self.failure:
            raise self.failure


class Downstream(_Peer):
    """Takes batches into custody and sends receipts, as long as `receipting`."""

    def __init__(self, emitter, receipting=True, unmatched=lambda event: False, lose=None):
        self.receipting, self.unmatched = receipting, unmatched
        self.lose = lose or (lambda batch, events: False)
        self.messages = []  # (batch, events) in the order of arrival
        self.custody = {}   # id -> event, in that order
        self.low_water = {}  # partition -> the highest
        super().__init__(emitter)

    def _run(self, context):
        pull = self.bind(context, zmq.PULL, "routers")
        receipts = self.bind(context, zmq.PUB, "receipts")
        while not self._stop.is_set():
            if not pull.poll(20):
                continue
            batch, events = [structs(frame) for frame in pull.recv_multipart()]
            with self.lock:
                self._take(batch[0], events, receipts)

    def _take(self, batch, events, receipts):
        if self.lose(batch, events):
            return
        partition = batch.get(3, 0)
        self.messages.append((batch, events))
        for e in events:
            if e[1] not in self.custody:
                assert e[1] >= self.low_water.get(partition, b""), "below low_water"
                self.custody[e[1]] = e
        self.low_water[partition] = max(batch[4], self.low_water.get(partition, b""))
        if events and self.receipting:
            items = [{1: e[1], **({2: 1} if self.unmatched(e) else {})} for e in events]
            receipts.send_multipart([batch[2], msgpack.packb({1: 1, 2: b"d", 3: partition}),
                                     b"".join(map(msgpack.packb, items))])

    def bodies(self):
        with self.lock:
            return [e[5] for e in self.custody.values()]

    def wait(self, count, timeout=30):
        wait_until(lambda: len(self.custody) >= count, timeout,
                   f"{count} events, got {len(self.custody)}")
        return list(self.custody.values())


class Auditor(_Peer):
    """Takes records in, each number once, and sends marks, as long as `marking`."""

    def __init__(self, emitter):
        self.marking = True
        self.records = []
        super().__init__(emitter)

    def _run(self, context):
        records = context.socket(zmq.SUB)
        records.rcvhwm = 0
        records.subscribe(b"")
        records.connect(self.emitter.stage.endpoint("audit"))
        marks = self.bind(context, zmq.PUB, "marks", owner="auditor")
        have = {}
        while not self._stop.is_set():
            if not self.marking:
                self._stop.wait(0.02)
                continue
            if records.poll(100):
                self._take(records.recv_multipart(), have)
            marks.send_multipart([b"beat", b""])
            for (node, boot), number in have.items():
                marks.send_multipart([node, msgpack.packb({1: 1, 2: node, 3: boot, 4: number})])

    def _take(self, frames, have):
        node, head, number = frames[0], structs(frames[1])[0], 0
        at = (node, head[4])
        number = head[5]
        if number > have.get(at, 0) + 1:
            return  # a hole: the stage repeats
        for record in structs(frames[2]):
            if number > have.get(at, 0):
                with self.lock:
                    self.records.append(record)
                have[at] = number
            number += 1

    def of(self, topic):
        with self.lock:
            return [r for r in self.records if r[1] == topic.encode()]


@pytest.fixture
def make_emitter(tmp_path):
    made = []

    def make(start=True, **env):
        directory = tmp_path / f"e{len(made)}"
        directory.mkdir()
        made.append(Emitter(directory, **env))
        return made[-1].start() if start else made[-1]

    yield make
    for emitter in made:
        emitter.close()


@pytest.fixture
def emitter(make_emitter):
    return make_emitter()


def rss_mib(emitter):
    with open(f"/proc/{emitter.stage.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
