#!/usr/bin/python3
"""A fast HTTP receiver for many handlers, in a process of its own, told how to behave over HTTP.

POST /NAME is a delivery to handler NAME (what it does: ok, after delay_ms; error: 503; hang: never
answers). Data may carry n (rises per object: arrivals are checked for order) and t (monotonic ns of
sending: latency). GET /peek/NAME gives the counts; GET /stats/NAME all numbers of the phase that ends now;
GET /set/NAME?mode=ok&delay_ms=0 the same, and changes the behaviour. Sink is the caller's side."""

import array
import asyncio
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request

LATENCIES_MAX = 2_000_000


class Receiver:
    """What one handler got. Counts of a phase are reset; order and totals are kept."""

    def __init__(self):
        self.mode, self.delay_s = "ok", 0.0
        self.total = self.ok = self.repeats = self.disordered = self.now = 0
        self.last_n = {}
        self.reset()

    def reset(self):
        self.latencies_us = array.array("q")
        self.arrivals, self.answers, self.most_at_once = 0, 0, self.now
        self.first_s = self.last_s = None

    def arrived(self):
        self.total += 1
        self.arrivals += 1
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)

    def take(self, body):
        now_ns = time.monotonic_ns()
        message = json.loads(body)
        self.ok += 1
        self.answers += 1
        self.first_s = self.first_s or now_ns / 1e9
        self.last_s = now_ns / 1e9
        data, object_id = message["data"], message["event"].get("object_id")
        if "n" in data:
            last = self.last_n.get(object_id, -1)
            self.repeats += data["n"] == last
            self.disordered += data["n"] < last
            self.last_n[object_id] = data["n"]
        if data.get("t") and len(self.latencies_us) < LATENCIES_MAX:
            self.latencies_us.append((now_ns - data["t"]) // 1000)

    def counts(self):
        return {"total": self.total, "ok": self.ok, "arrivals": self.arrivals,
                "answers": self.answers, "at_once": self.now, "most_at_once": self.most_at_once,
                "objects": len(self.last_n), "repeats": self.repeats,
                "disordered": self.disordered}

    def stats(self):
        sorted_us = sorted(self.latencies_us)
        at = lambda share: sorted_us[int(len(sorted_us) * share)] / 1000 if sorted_us else None  # noqa: E731
        seconds = self.last_s - self.first_s if self.first_s else 0
        return {**self.counts(), "p50_ms": at(0.5), "p99_ms": at(0.99),
                "max_ms": sorted_us[-1] / 1000 if sorted_us else None,
                "per_s": round((self.answers - 1) / seconds, 1) if seconds else None}


class Connection(asyncio.Protocol):
    receivers = {}
    OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    ERROR = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

    def connection_made(self, transport):
        self.transport, self.waiting, self.receiver = transport, b"", None

    def connection_lost(self, _error):
        if self.receiver:
            self.receiver.now -= 1
            self.receiver = None

    def data_received(self, data):
        self.waiting += data
        while True:
            end = self.waiting.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.waiting[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15:].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + size:
                return
            target = self.waiting.split(b" ", 2)[1].decode()
            body = self.waiting[end + 4:end + 4 + size]
            self.waiting = self.waiting[end + 4 + size:]
            self.request(head[:4] == b"post", target, body)

    def request(self, is_post, target, body):
        if not is_post:
            self.control(urllib.parse.urlsplit(target))
            return
        receiver = self.receivers.setdefault(target[1:], Receiver())
        receiver.arrived()
        self.receiver = receiver
        if receiver.mode == "hang":
            return
        if receiver.delay_s:
            asyncio.get_running_loop().call_later(receiver.delay_s, self.answer, receiver, body)
        else:
            self.answer(receiver, body)

    def answer(self, receiver, body):
        if not self.receiver:  # the sender has gone
            return
        self.receiver = None
        receiver.now -= 1
        if receiver.mode == "ok":
            receiver.take(body)
            self.transport.write(self.OK)
        else:
            self.transport.write(self.ERROR)

    def control(self, url):
        _, op, name = url.path.split("/", 2)
        receiver = self.receivers.setdefault(name, Receiver())
        answer = json.dumps(receiver.stats() if op != "peek" else receiver.counts()).encode()
        if op == "set":
            settings = dict(urllib.parse.parse_qsl(url.query))
            receiver.mode = settings.get("mode", receiver.mode)
            receiver.delay_s = float(settings.get("delay_ms", receiver.delay_s * 1000)) / 1000
        if op != "peek":
            receiver.reset()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                             % (len(answer), answer))


async def serve():
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while sys.stdin.readable():  # ends with whoever started it
        if not await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read):
            return


class Sink:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def url(self, name):
        return f"{self.base}/{name}"

    def peek(self, name):
        return self._get(f"/peek/{name}")

    def stats(self, name):
        return self._get(f"/stats/{name}")

    def set(self, name, **settings):
        return self._get(f"/set/{name}?{urllib.parse.urlencode(settings)}")

    def _get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=60) as answer:
            return json.load(answer)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


class Sinks:
    """A process for the healthy handler and one for all others, so that none of those delays it."""

    def __init__(self):
        self.healthy, self.others = Sink(), Sink()

    def of(self, name):
        return self.healthy if name == "healthy" else self.others

    def url(self, name):
        return self.of(name).url(name)

    def peek(self, name):
        return self.of(name).peek(name)

    def stats(self, name):
        return self.of(name).stats(name)

    def set(self, name, **settings):
        return self.of(name).set(name, **settings)

    def close(self):
        self.healthy.close()
        self.others.close()


if __name__ == "__main__":
    asyncio.run(serve())
