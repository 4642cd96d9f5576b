"""The real router between an emitter and two deliverers that are played here, frame by frame
(common/wire/messages.c)."""

import signal
import sqlite3
import threading
import time

import msgpack
import pytest
import zmq

from provisor import SLOW, wait_until

ID = "01JGZZZZZZZZZZZZZZZZZZZZ%02d"


def batch(partition=0, extra=None):
    return msgpack.packb({1: 1, 2: b"emitter-1", 3: partition, 4: ID.encode() % 0, **(extra or {})})


def event(n=1, events_id="clients.update", data=b'{"amount":10.50}', extra=None):
    body = (b'{"event":{"dt":"2026-01-01T00:00:00+00:00","events_id":"%s","object_id":12},"data":%s}'
            % (events_id.encode(), data))
    return msgpack.packb({1: ID.encode() % n, 2: events_id.encode(), 3: b"client", 4: b"12",
                          5: body, 6: 1767225600000, **(extra or {})})


def structs(frame):
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(frame)
    return list(unpacker)


class Peers:
    """The emitter's PUSH socket, the deliverers' PULL sockets, and an auditor that beats."""

    def __init__(self, pipeline):
        self.router = pipeline["router"]
        self.context = zmq.Context()
        self.emitter = self.socket(zmq.PUSH)
        self.emitter.immediate = 1
        self.emitter.connect(self.router.endpoint("intake"))
        self.endpoints = [pipeline[name].endpoint("intake") for name in ("deliverer", "deliverer1")]
        self.deliverers = [None, None]
        self.auditor_stops = threading.Event()
        self.auditor = threading.Thread(target=self._audit)
        self.auditor.start()

    def _audit(self):
        records, marks = self.socket(zmq.SUB), self.socket(zmq.PUB)
        records.subscribe(b"")
        records.connect(self.router.endpoint("audit"))
        marks.bind(self.router.endpoint("marks"))
        while not self.auditor_stops.is_set():
            if records.poll(100):  # a socket that nobody reads does not subscribe again
                records.recv_multipart()
            marks.send(b"beat")
        records.close()
        marks.close()

    def socket(self, kind, **options):
        socket = self.context.socket(kind)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        return socket

    def start_deliverer(self, i, **options):
        self.deliverers[i] = self.socket(zmq.PULL, **options)
        wait_until(lambda: self._bind(i), what="the port is free")

    def _bind(self, i):
        try:
            self.deliverers[i].bind(self.endpoints[i])
            return True
        except zmq.ZMQError:
            return False

    def stop_deliverer(self, i):
        self.deliverers[i].close()

    def push(self, *frames):
        assert self.emitter.poll(10000 * SLOW, zmq.POLLOUT)
        self.emitter.send_multipart(frames)

    def pull(self, i=0, timeout=10):
        """batch, events, match, targets of the next message, decoded."""
        frames = self.pull_frames(i, timeout)
        assert len(frames) == 4
        return [structs(frame) for frame in frames]

    def pull_frames(self, i=0, timeout=10):
        assert self.deliverers[i].poll(timeout * 1000 * SLOW), "nothing came"
        return self.deliverers[i].recv_multipart()

    def targets(self, *events, **kwargs):
        """(event, handler, priority) of each target of a batch of these events."""
        self.push(batch(), b"".join(events))
        return [(t[1], t[2], t[3]) for t in self.pull(**kwargs)[3]]

    def stats(self):
        return self.router.control("stats")["stats"]

    def wait_ready(self):
        wait_until(self.router.ready, what="router ready")

    def stop_auditor(self):
        self.auditor_stops.set()
        self.auditor.join()

    def close(self):
        self.stop_auditor()
        for socket in (self.emitter, *self.deliverers):
            if socket:
                socket.close()
        self.context.term()


@pytest.fixture
def make_peers(make_pipeline):
    made = []

    def make(**env):
        pipeline = make_pipeline(start=False, deliverers=2, env=env)
        router = pipeline["router"].start()
        peers = Peers(pipeline)
        made.append(peers)
        wait_until(lambda: router.answers() or not router.alive(), what="router answers")
        assert router.alive(), router.log_text()
        return pipeline, peers

    yield make
    for peers in made:
        peers.close()


@pytest.fixture
def pipeline_and_peers(make_peers):
    pipeline, peers = make_peers()
    peers.start_deliverer(0)
    peers.start_deliverer(1)
    peers.wait_ready()
    return pipeline, peers


def test_ready_when_emitter_deliverers_and_auditor_are_there(make_peers):
    _, peers = make_peers()

    def lacks(*words):
        return all(word in peers.router.why() for word in words)

    wait_until(lambda: lacks("deliverer", peers.endpoints[0]), what="the first deliverer is missing")
    peers.start_deliverer(0)
    wait_until(lambda: lacks("deliverer", peers.endpoints[1]), what="the second deliverer is missing")
    peers.start_deliverer(1)
    peers.wait_ready()
    peers.emitter.close()
    wait_until(lambda: lacks("emitter"), what="the emitter is missing")
    peers.emitter = peers.socket(zmq.PUSH)
    peers.emitter.connect(peers.router.endpoint("intake"))
    peers.wait_ready()
    peers.stop_auditor()
    wait_until(lambda: lacks("auditor"), what="the auditor is missing")


def add(pipeline, event="*", *extra):
    return pipeline.add_handler("http://127.0.0.1:1/api", *extra, event=event)


def test_both_frames_pass_untouched_to_the_partitions_owner(pipeline_and_peers):
    _, peers = pipeline_and_peers
    newer = batch(partition=32, extra={99: [1, {"x": "y"}], 1: 2})
    events = event(1, extra={77: b"newer"}) + event(2)
    peers.push(newer, events)
    peers.push(batch(partition=31), b"")  # tells low_water only
    frames = peers.pull_frames(1)
    assert frames[:2] == [newer, events]
    assert structs(frames[2]) == [{1: 1, 2: 0}] and frames[3] == b""
    assert peers.pull_frames(0)[1] == b""
    stats = peers.stats()
    assert (stats["batches"], stats["events"], stats["unmatched"]) == (2, 2, 2)


def test_targets_and_live_changes(pipeline_and_peers):
    pipeline, peers = pipeline_and_peers
    every = add(pipeline, "*", "--priority", "200")
    some = add(pipeline, "clients.*", "--filter", "/data/amount >= 10.5")
    other = add(pipeline, "dids.*")

    def targets():
        return peers.targets(event(1), event(2, "dids.hold"), event(3, data=b'{"amount":10.49}'))

    expected = [(0, some, 100), (0, every, 200), (1, other, 100), (1, every, 200), (2, every, 200)]
    begin = time.monotonic()
    wait_until(lambda: targets() == expected, what="the handlers are known")
    assert time.monotonic() - begin < 5 * SLOW
    pipeline.cli("handler", "disable", str(every))
    wait_until(lambda: targets() == [(0, some, 100), (1, other, 100)], what="disable is known")
    pipeline.cli("handler", "update", str(some), "--priority", "-1", "--filter", "")
    wait_until(lambda: targets() == [(0, some, -1), (1, other, 100), (2, some, -1)],
               what="update is known")
    pipeline.cli("handler", "archive", str(some))
    wait_until(lambda: targets() == [(1, other, 100)], what="archive is known")
    peers.push(batch(), event())
    assert peers.pull()[2][0][2] == peers.stats()["table_version"]
    assert peers.stats()["handlers"] == 1


def test_a_replay_goes_to_its_handler_only(pipeline_and_peers):
    pipeline, peers = pipeline_and_peers
    add(pipeline, "*")
    disabled = add(pipeline, "dids.*", "--filter", "/data/x = 1")
    pipeline.cli("handler", "disable", str(disabled))
    replays = [event(1, extra={8: disabled, 9: 1}), event(2, extra={8: 999, 9: 1})]
    wait_until(lambda: peers.targets(*replays) == [(0, disabled, 100)], what="the handler is known")
    pipeline.cli("handler", "delete", str(disabled))
    wait_until(lambda: peers.targets(*replays) == [], what="delete is known")


@pytest.mark.parametrize("frames", [
    (b"",), (b"", b""), (b"junk", event()), (batch(), b"junk"), (batch(), event()[:-1]),
    (batch(), event(), b"third"), (batch(partition=64), event()), (batch(partition=-1), event()),
    (msgpack.packb({1: 1}), event()), (batch(), event() + msgpack.packb({1: b"no body"})),
    (batch(), b"\xdd\xff\xff\xff\xff"), (batch(), b"\x81" * 100000), (b"x",) * 1000])
def test_what_cannot_be_decoded_is_dropped(pipeline_and_peers, frames):
    _, peers = pipeline_and_peers
    for _ in range(3):
        peers.push(*frames)
    peers.push(batch(), event(5))
    assert peers.pull()[1][0][1] == ID.encode() % 5
    stats = peers.stats()
    assert (stats["malformed"], stats["batches"]) == (3, 1)
    assert peers.router.log_text().count("event=malformed_message") == 1


def test_what_a_filter_of_a_newer_version_may_match_is_not_forwarded(pipeline_and_peers):
    """The emitter keeps it; forwarding it without the handler would lose it for that one."""
    pipeline, peers = pipeline_and_peers
    every, newer = add(pipeline, "*"), add(pipeline, "dids.*", "--filter", "/data/x = 1")
    table = sqlite3.connect(f"{pipeline.data}/handlers.db", isolation_level=None)
    version = table.execute("SELECT max(version) FROM handlers").fetchone()[0] + 1
    table.execute("UPDATE handlers SET filter = '/data/x matches \"^a\"', version = ? WHERE id = ?",
                  (version, newer))
    table.execute("UPDATE store_meta SET value = ? WHERE key = 'table_version'", (str(version),))
    table.close()
    wait_until(lambda: f"handler {newer}: filter" in peers.router.why(), what="not ready")
    peers.push(batch(), event(1) + event(2, "dids.hold"))
    peers.push(batch(), event(3))
    assert [e[1] for e in peers.pull()[1]] == [ID.encode() % 3]
    assert peers.stats()["unsure"] == 1
    pipeline.cli("handler", "update", str(newer), "--filter", "/data/x = 2")
    peers.wait_ready()
    assert peers.targets(event(2, "dids.hold")) == [(0, every, 100)]


def test_no_message_is_larger_than_an_emitter_would_send(make_peers):
    _, peers = make_peers(PROVISOR_EMITTER_EVENT_MAX="2MiB")
    peers.start_deliverer(0)
    peers.start_deliverer(1)
    peers.wait_ready()
    body = lambda size: b'"' + b"x" * size + b'"'  # noqa: E731
    peers.push(batch(), event(1, data=body((2 << 20) + 100)))
    assert peers.pull()[1][0][1] == ID.encode() % 1
    peers.push(batch(), event(2, data=body(4 << 20)))  # the connection is closed

    def passes():
        peers.push(batch(), event(3))
        return peers.deliverers[0].poll(200)

    wait_until(passes, what="a message after it")
    assert peers.pull()[1][0][1] == ID.encode() % 3


def test_a_deliverer_that_stands_still_stops_nobody(make_peers):
    _, peers = make_peers(PROVISOR_ROUTER_PENDING_BYTES="1MiB")
    peers.start_deliverer(0)
    peers.start_deliverer(1, rcvhwm=1, rcvbuf=4096)  # and never reads
    peers.wait_ready()
    big = event(data=b'"' + b"x" * 100000 + b'"')

    def stalled():
        for _ in range(50):
            peers.push(batch(partition=63), big)
            peers.push(batch(partition=0), event())
            peers.pull(0)
        return peers.stats()["deliverers"][1]["dropped"] > 0

    wait_until(stalled, what="messages are dropped")
    wait_until(lambda: peers.endpoints[1] in peers.router.why(), what="not ready")
    assert peers.stats()["deliverers"][0]["dropped"] == 0
    peers.stop_deliverer(1)
    peers.start_deliverer(1)
    peers.wait_ready()
    peers.push(batch(partition=63), event(9))
    while peers.pull(1)[1][0][1] != ID.encode() % 9:  # what was on its way comes first
        pass


def test_a_burst_waits_for_a_slow_deliverer(pipeline_and_peers):
    _, peers = pipeline_and_peers
    count = 5000
    for n in range(count):
        peers.push(batch(partition=1), event(n % 100, data=b'"' + b"x" * 2000 + b'"'))
    got = [peers.pull(0)[1][0][1] for n in range(count)]
    assert got == [ID.encode() % (n % 100) for n in range(count)]
    assert peers.stats()["deliverers"][0]["dropped"] == 0


def test_killed_with_a_message_in_hand_it_comes_back(make_peers):
    pipeline, peers = make_peers()
    peers.start_deliverer(0)
    peers.start_deliverer(1)
    peers.router.kill().wait()
    peers.router.start({"PROVISOR_CRASH": "router.in_hand:3"})
    for n in range(3):
        peers.push(batch(), event(n))
    assert peers.router.wait() == -signal.SIGKILL
    peers.router.start()
    peers.wait_ready()
    peers.push(batch(), event(2))  # the emitter sends again
    wait_until(lambda: peers.pull()[1][0][1] == ID.encode() % 2, what="the resend")


def test_it_stops_in_order(pipeline_and_peers):
    pipeline, peers = pipeline_and_peers
    handler = add(pipeline, "*", "--filter", "/data/amount = 10.5")
    wait_until(lambda: peers.targets(event()) == [(0, handler, 100)], what="the handler is known")
    pipeline["router"].stop()


def test_a_bad_map_stops_the_start(make_pipeline):
    pipeline = make_pipeline(start=False)
    router = pipeline["router"].start({"PROVISOR_ROUTER_DELIVERERS": "0-62=tcp://127.0.0.1:1"})
    assert router.wait() == 78
    assert "PROVISOR_ROUTER_DELIVERERS" in router.log_text() and "63-63" in router.log_text()
