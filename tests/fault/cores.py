"""Cores: acknowledged intake, pipelined, singles and arrays, keys; each event carries a counter of its
object. They do what docs/protocol.md tells a core to do, so that each event is acknowledged in the
end, and they write down each acknowledgement."""

import contextlib
import json
import random
import threading
import time

import zmq

KINDS = (  # events_id, weight; the last but one matches no handler, the last one that is added late
    ("clients.update", 30), ("clients.balance_zero", 8), ("clients.balance_notzero", 8),
    ("clients.create", 10), ("dids.update", 20), ("dids.block", 6), ("importd.process_success", 4),
    ("accounting.charges.create", 6))
NO_ANSWER_S = 2.0  # then the core starts again behind the last acknowledgement


class Sent:
    """An event of a core, and what it heard of it."""

    __slots__ = ("events_id", "object", "n", "key", "id", "status", "first_sent_at", "sent_at",
                 "tries", "acked_at")

    def __init__(self, events_id, object_, n, key):
        self.events_id, self.object, self.n, self.key = events_id, object_, n, key
        self.id = self.status = self.first_sent_at = self.sent_at = self.acked_at = None
        self.tries = 0

    @property
    def object_key(self):
        return f"{self.events_id.split('.')[0]}/{self.object}"

    def request(self):
        return {"id": self.key,
                "event": {"events_id": self.events_id, "object_id": self.object},
                "data": {"n": self.n}}


class Core(threading.Thread):
    """Sends `rate` events a second for `seconds` (or until it is `enough`), beginning after `delay_s`,
    then goes on until all are acknowledged."""

    def __init__(self, index, seed, endpoint, rate, seconds, delay_s=0):
        super().__init__(daemon=True)
        self.random = random.Random(f"{seed} core {index}")
        self.index, self.endpoint = index, endpoint
        self.events = self.make_events(int(rate * seconds))
        self.rate = rate
        self.begins_at = time.monotonic() + delay_s
        self.done = 0            # events acknowledged
        self.sent = 0            # of which nobody may be forgotten
        self.restarts = self.busy = 0
        self.failure = None
        self.give_up, self.enough = threading.Event(), threading.Event()
        self.window = self.random.choice((1, 20, 200))
        self.largest_array = self.random.choice((1, 1, 5, 50))

    def make_events(self, count):
        counters, events = {}, []
        kinds, weights = zip(*KINDS)
        for i in range(count):
            events_id = self.random.choices(kinds, weights)[0]
            hot = self.random.random() < 0.2
            object_ = self.index * 100000 + self.random.randrange(3 if hot else 1000)
            kind = (events_id.split(".")[0], object_)
            counters[kind] = counters.get(kind, 0) + 1
            events.append(Sent(events_id, object_, counters[kind], f"c{self.index}-{i}"))
        return events

    def run(self):
        try:
            with zmq.Context() as context:
                while self.done < len(self.events) and not self.give_up.is_set():
                    with contextlib.suppress(zmq.Again):
                        self.connected(context)
                    self.restarts += 1
        except Exception as e:  # the round reports it
            self.failure = repr(e)

    def connected(self, context):
        """One connection. It is never mended by the library: what it had sent may be lost while what
        it sends later arrives, and answers carry no number."""
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.setsockopt(zmq.RECONNECT_IVL, -1)
            socket.sndtimeo = int(NO_ANSWER_S * 1000)  # without a connection a send waits for ever
            socket.connect(self.endpoint)
            waiting, sent = [], self.done  # waiting: (first, end) of requests without an answer
            last_heard = time.monotonic()
            while self.done < len(self.events) and not self.give_up.is_set():
                while (sent < len(self.events) and len(waiting) < self.window
                       and self.events_due() > sent):
                    end = self.send(socket, sent)
                    waiting.append((sent, end))
                    sent = end
                if self.enough.is_set():
                    del self.events[self.sent:]
                if not waiting:
                    self.give_up.wait(0.01)
                    last_heard = time.monotonic()
                    continue
                if socket.poll(20):
                    last_heard = time.monotonic()
                    if not self.answered(json.loads(socket.recv()), waiting.pop(0)):
                        break
                elif time.monotonic() - last_heard > NO_ANSWER_S:
                    break

    def events_due(self):
        return int((time.monotonic() - self.begins_at) * self.rate) + 1

    def send(self, socket, first):
        size = self.random.randint(1, self.largest_array)
        end = max(first + 1, min(len(self.events), first + size, self.events_due()))
        requests = [e.request() for e in self.events[first:end]]
        now = time.monotonic()
        for e in self.events[first:end]:
            e.first_sent_at, e.sent_at, e.tries = e.first_sent_at or now, now, e.tries + 1
        self.sent = max(self.sent, end)
        socket.send(json.dumps(requests if self.largest_array > 1 else requests[0]).encode())
        return end

    def answered(self, answer, part):
        """False: busy, start again from the first event that was not taken."""
        if not isinstance(answer, list):  # also an array's when all of it was refused
            answer = [answer] * (part[1] - part[0] if answer["status"] == "busy" else 1)
        if len(answer) != part[1] - part[0]:
            raise AssertionError(f"{part[1] - part[0]} events, answer {answer}")
        for e, a in zip(self.events[part[0]:part[1]], answer):
            if a["status"] == "busy":
                self.busy += 1
                self.give_up.wait(min(a["retry_after_ms"], 300) / 1000)
                return False
            if a["status"] not in ("accepted", "duplicate"):
                raise AssertionError(f"{e.key}: {a}")
            e.id, e.status, e.acked_at = a["id"], a["status"], time.monotonic()
            self.done += 1
        return True
