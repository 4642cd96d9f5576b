"""One real deliverer between a scripted emitter, router and auditor: what no other stage would send
can be sent, and what it owes them (receipts, records in order) is collected."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time

import msgpack
import pytest
import zmq

from provisor import BIN, SLOW, ask, free_ports, wait_until

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PARTITION = 5


def ulid(value):
    text = ""
    for _ in range(26):
        text = ALPHABET[value & 31] + text
        value >>= 5
    return text


class Deliverer:
    def __init__(self, directory, env=None):
        self.data = str(directory / "data")
        self.log_path = directory / "deliverer.log"
        keys = ("INTAKE", "RECEIPTS", "AUDIT", "CONTROL", "MARKS")
        self.at = {key: f"tcp://127.0.0.1:{port}" for key, port in zip(keys, free_ports(len(keys)))}
        self.env = {**{f"PROVISOR_DELIVERER_{key}": at for key, at in self.at.items()},
                    "PROVISOR_DISK_MIN_FREE": "1MiB", **(env or {})}
        self.context = zmq.Context()
        self.connect_router()
        self.emitter = self._socket(zmq.SUB, connect=self.at["RECEIPTS"])
        self.auditor = self._socket(zmq.SUB, connect=self.at["AUDIT"])
        self.marks = self._socket(zmq.PUB, bind=self.at["MARKS"])
        self.receipts, self.records = [], []
        self.heard = False  # a receipt for _connected
        self.auditing = True  # False: the auditor is down
        self.process = None
        self._origin = 0
        self._next_number = {}  # (node, boot) -> the number that comes next
        self._base, self._count = int(time.time() * 1000) << 80, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def connect_router(self):
        self.router = self._socket(zmq.PUSH, connect=self.at["INTAKE"])

    def _socket(self, kind, connect=None, bind=None):
        s = self.context.socket(kind)
        s.linger, s.sndhwm, s.rcvhwm, s.reconnect_ivl = 0, 0, 0, 10
        if kind == zmq.SUB:
            s.subscribe(b"")
        if connect:
            s.connect(connect)
        else:
            s.bind(bind)
        return s

    # the process

    def start(self, wait=True, **env):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BIN / "provisor-deliverer", "--data", self.data],
                                            env={**os.environ, **self.env, **env}, stderr=log)
        return self.wait_ready() if wait else self

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, self.log()
            try:
                return self.control("ping", timeout=1)["ready"]
            except TimeoutError:
                return False
        wait_until(ready, what="ready")
        wait_until(self._connected, what="receipts")
        return self

    def _connected(self):
        """Receipts that nobody hears yet are lost: asks for one, of an event that needs nothing else."""
        self.send([self.event(ulid(1))], [], low_water=ulid(2), partition=63, node=b"connecting")
        for _ in range(20):
            time.sleep(0.005)
            if self.heard:
                self.heard = False
                return True
        return False

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        return self.process.wait(30 * SLOW)

    def died(self):
        """The exit code of a process that ends by itself."""
        return self.process.wait(30 * SLOW)

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        self._stop.set()
        self._thread.join()
        self.context.destroy(0)

    # its peers

    def _run(self):
        poller = zmq.Poller()
        poller.register(self.emitter, zmq.POLLIN)
        poller.register(self.auditor, zmq.POLLIN)
        beat = 0
        while not self._stop.is_set():
            poller.poll(20)
            self._drain(self.emitter, self._on_receipts)
            self._drain(self.auditor, self._on_records)
            if self.auditing and time.monotonic() - beat > 0.3:
                beat = time.monotonic()
                self.marks.send_multipart([b"beat", b""])
                for key in self._next_number:
                    self._mark(key)

    @staticmethod
    def _drain(socket, call):
        while True:
            try:
                call(socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    @staticmethod
    def _structs(frame):
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(frame)
        return list(unpacker)

    def _on_receipts(self, frames):
        emitter, head, items = frames
        if emitter == b"connecting":
            self.heard = True
            return
        partition = msgpack.unpackb(head, strict_map_key=False)[3]
        for item in self._structs(items):
            self.receipts.append({"emitter": emitter.decode(), "partition": partition,
                                  "id": item[1].decode(), "unmatched": item.get(2, 0)})

    def _on_records(self, frames):
        head = msgpack.unpackb(frames[1], strict_map_key=False)
        key = (head[2], head[4])
        wanted = self._next_number.setdefault(key, 1)
        if not self.auditing:
            return
        for number, record in enumerate(self._structs(frames[2] if len(frames) > 2 else b""), head[5]):
            if number == wanted:
                wanted += 1
                self._take(self._record(record))
        self._next_number[key] = wanted
        self._mark(key)

    def _take(self, record):
        """A durable record counts once, whichever life of the deliverer tells it."""
        if record.get("origin", self._origin + 1) > self._origin:
            self._origin = record.get("origin", self._origin)
            self.records.append(record)

    @staticmethod
    def _record(record):
        names = {1: "topic", 3: "origin", 4: "event_id", 5: "webhook_id", 8: "object_id", 11: "handler_id",
                 12: "handler", 13: "url", 14: "attempt", 15: "http_status", 16: "error", 17: "request",
                 19: "response", 20: "duration_us", 21: "next_ms", 22: "reason", 23: "replay"}
        return {names[k]: v.decode(errors="replace") if isinstance(v, bytes) else v
                for k, v in record.items() if k in names}

    def _mark(self, key):
        node, boot = key
        mark = msgpack.packb({1: 1, 2: node, 3: boot, 4: self._next_number[key] - 1})
        self.marks.send_multipart([node, mark])

    # what the tests send

    def ids(self, count):
        first = self._count + 1
        self._count += count
        return [ulid(self._base + n) for n in range(first, first + count)]

    @staticmethod
    def event(id_, object_id=12, n=0, pad=0, **fields):
        body = {"event": {"dt": "2026-01-01T00:00:00+00:00", "events_id": "clients.update",
                          "object_id": object_id}, "data": {"n": n, "pad": "x" * pad}}
        packed = {1: id_.encode(), 2: b"clients.update", 3: b"client",
                  5: json.dumps(body, separators=(",", ":")).encode(), 6: int(time.time() * 1000)}
        if object_id is not None:
            packed[4] = json.dumps(object_id).encode()
        numbers = {"accepted_ms": 6, "webhook_id": 7, "replay_handler": 8, "replay": 9}
        packed.update({numbers[name]: value for name, value in fields.items()})
        return packed

    def send(self, events, targets, low_water="", partition=PARTITION, node=b"emitter1", table=None):
        """targets: handler ids for every event, or (event index, handler id, priority)s. table: matched
        with that version; None: the newest, so that the deliverer looks at the table first."""
        if targets and isinstance(targets[0], int):
            targets = [(i, handler, 100) for i in range(len(events)) for handler in targets]
        self.router.send_multipart([
            msgpack.packb({1: 1, 2: node, 3: partition, 4: low_water.encode()}),
            b"".join(msgpack.packb(e) for e in events),
            msgpack.packb({1: 1, 2: self.table_version() if table is None else table}),
            b"".join(msgpack.packb({1: i, 2: handler, 3: priority}) for i, handler, priority in targets)])

    def send_some(self, count, handlers, objects=10, **members):
        """count events over some objects; returns their ids."""
        ids = self.ids(count)
        self.send([self.event(id_, object_id=n % objects, n=n, **members) for n, id_ in enumerate(ids)],
                  handlers)
        return ids

    # what they look at

    def control(self, op, timeout=30, **members):
        return ask(self.at["CONTROL"], {"op": op, **members}, timeout)

    def stats(self):
        return self.control("stats")["stats"]

    def handler_stats(self, handler_id):
        return next(h for h in self.control("handlers")["handlers"] if h["handler_id"] == handler_id)

    def of(self, *topics):
        return [r for r in list(self.records) if r["topic"] in {f"delivery.{t}" for t in topics}]

    def wait_records(self, topic, count, timeout=60):
        wait_until(lambda: len(self.of(topic)) >= count, timeout, f"{count} x {topic}")
        return self.of(topic)

    def wait_receipts(self, ids, timeout=60):
        wait_until(lambda: set(ids) <= {r["id"] for r in list(self.receipts)}, timeout, "receipts")

    def table_version(self):
        if not os.path.exists(f"{self.data}/handlers.db"):
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/handlers.db?mode=ro", uri=True)) as db:
            row = db.execute("SELECT value FROM store_meta WHERE key = 'table_version'").fetchone()
        return int(row[0]) if row else 0

    def rows(self, table):
        with sqlite3.connect(f"file:{self.data}/queue.db?mode=ro", uri=True) as db:
            count = {"outbox": "COALESCE(SUM(n), 0)",  # a row of it holds n records
                     "known": "COALESCE(SUM(LENGTH(ids)), 0) / 27"}.get(table, "COUNT(*)")  # and of it many ids
            return db.execute(f"SELECT {count} FROM {table}").fetchone()[0]

    def cli(self, *args):
        done = subprocess.run([BIN / "provisor", *args, "--data", self.data], text=True,
                              env={**os.environ, **self.env}, capture_output=True, timeout=60 * SLOW)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def add_handler(self, url, *args, name="handler"):
        return int(self.cli("handler", "add", "--name", name, "--event", "*", "--task", url, *args).split()[0])


class Emitter:
    """Sends as a real one does: per object one message on its way, with what waits for it; the next
    after its receipts; the same again when they do not come."""

    RESEND_AFTER = 0.4

    def __init__(self, deliverer, handlers, count, objects, chance):
        self.d, self.handlers, self.objects, self.chance = deliverer, handlers, objects, chance
        self.ids = deliverer.ids(count)
        self.number = {id_: n for n, id_ in enumerate(self.ids)}
        self.waiting = [[i for n, i in enumerate(self.ids) if n % objects == o] for o in range(objects)]
        self.on_way = [None] * objects  # (ids, when)
        self.receipted, self.read, self.low = set(), 0, 0

    def object_of(self, id_):
        return self.number[id_] % self.objects

    def done(self):
        """One turn; True when everything has its receipt."""
        receipts = self.d.receipts
        while self.read < len(receipts):
            self.receipted.add(receipts[self.read]["id"])
            self.read += 1
        while self.low < len(self.ids) and self.ids[self.low] in self.receipted:
            self.low += 1
        for o in range(self.objects):
            self._send(o, time.monotonic())
        return self.low == len(self.ids)

    def _send(self, o, now):
        if self.on_way[o] and self.receipted.issuperset(self.on_way[o][0]):
            self.on_way[o] = None
            self.waiting[o] = [i for i in self.waiting[o] if i not in self.receipted]
        if not self.waiting[o] or (self.on_way[o] and now - self.on_way[o][1] < self.RESEND_AFTER):
            return
        part = self.on_way[o][0] if self.on_way[o] else self.waiting[o][:self.chance.randint(1, 12)]
        self.on_way[o] = part, now
        self.d.send([self.d.event(i, object_id=o, n=self.number[i]) for i in part], self.handlers,
                    low_water=self.ids[self.low])


@pytest.fixture
def make(tmp_path):
    made = []

    def make_one(start=True, **env):
        folder = tmp_path / f"d{len(made)}"
        folder.mkdir()
        made.append(Deliverer(folder, env={f"PROVISOR_DELIVERER_{k}": v for k, v in env.items()}))
        return made[-1].start() if start else made[-1]

    yield make_one
    for one in made:
        one.close()


def orders(requests):
    """Per object the counters as they came."""
    seen = {}
    for request in list(requests):
        body = json.loads(request["body"])
        seen.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    return seen


def assert_in_order(requests, lives=1):
    """Each life of the deliverer repeats at most a suffix of a lane: rising, without a hole."""
    for counters in orders(requests).values():
        falls = sum(b <= a for a, b in zip(counters, counters[1:]))
        assert falls < lives, counters
        first = list(dict.fromkeys(counters))
        assert first == sorted(first), counters


class Gate:
    """A handler's answer that waits until it is opened."""

    def __init__(self, status=200):
        self.opened, self.status = threading.Event(), status

    def __call__(self, request):
        self.opened.wait(60 * SLOW)
        return self.status
