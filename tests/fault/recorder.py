#!/usr/bin/python3
"""Recording handlers: HTTP servers that write down what arrives, in order, in a process of their own.

usage: recorder.py LOG SEED HOST, first line of stdin: [{"name", "port", "manner"}, ...]; further lines:
`heal` (all answer 200 at once from now on), `quit`. Answers each line with its own copy.

Lines of the log: `A time handler id object counter replay` when a request is read in full,
`R time handler id status` when its answer has been written, `L time late` when something that was to
happen then did so late, by so many seconds: the machine is busy. Times are CLOCK_MONOTONIC seconds.

Manners: fast; slow (20-80 ms); flaky (30% are 500, 503, or a closed connection); hanging (10% are
never answered); refusing (nobody listens until healed); gone (410 from the 20th request until
healed); doomed (500 always, for half of the events by their id)."""

import asyncio
import json
import random
import sys
import time
import zlib


LATE_S = 0.02  # what is less is not worth a line


def is_doomed(event_id):
    return zlib.crc32(event_id.encode()) & 1


class Handler:
    def __init__(self, name, port, manner, log, seed):
        self.name, self.port, self.manner, self.log, self.seed = name, port, manner, log, seed
        self.healed = False
        self.count = 0
        self.attempts = {}
        self.server = None

    async def listen(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), sys.argv[3], self.port,
                                               backlog=512)

    async def heal(self):
        self.healed = True
        if self.server is None:
            await self.listen()

    def answer(self, event_id):
        """-> (status or None for never or 0 for closing, delay); by seed, id and attempt only."""
        self.count += 1
        attempt = self.attempts[event_id] = self.attempts.get(event_id, 0) + 1
        if self.manner == "doomed":
            return (500 if is_doomed(event_id) else 200), 0
        if self.healed:
            return 200, 0
        chance = random.Random(f"{self.seed} {self.name} {event_id} {attempt}")
        if self.manner == "slow":
            return 200, chance.uniform(0.02, 0.08)
        if self.manner == "flaky" and chance.random() < 0.3:
            return chance.choice((500, 503, 0)), chance.uniform(0, 0.01)
        if self.manner == "hanging" and chance.random() < 0.1:
            return None, 0
        if self.manner == "gone" and self.count > 20:
            return 410, 0
        return 200, 0


class Connection(asyncio.Protocol):
    def __init__(self, handler):
        self.handler, self.buffer = handler, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            headers = {}
            for line in head.split(b"\r\n")[1:]:
                key, _, value = line.partition(b":")
                headers[key.strip().lower()] = value.strip().decode()
            size = int(headers.get(b"content-length", 0))
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            self.request(headers, rest[:size])

    def request(self, headers, body):
        event = json.loads(body)
        event_id = headers[b"webhook-id"]
        replay = headers.get(b"provisor-replay", "0")
        self.handler.log.write(f"A {time.monotonic():.6f} {self.handler.name} {event_id} "
                               f"{event['event']['events_id'].split('.')[0]}/{event['event']['object_id']} "
                               f"{event['data']['n']} {replay}\n")
        status, delay = self.handler.answer(event_id)
        if status == 0:
            self.handler.log.write(f"R {time.monotonic():.6f} {self.handler.name} {event_id} 0\n")
            self.transport.abort()
        elif status is not None and delay:
            asyncio.get_running_loop().call_later(delay, self.respond, event_id, status)
        elif status is not None:
            self.respond(event_id, status)

    def respond(self, event_id, status):
        if self.transport.is_closing():
            return
        self.transport.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
        self.handler.log.write(f"R {time.monotonic():.6f} {self.handler.name} {event_id} {status}\n")


async def write_lateness(log):
    while True:
        due = time.monotonic() + LATE_S
        await asyncio.sleep(LATE_S)
        late = time.monotonic() - due
        if late > LATE_S:
            log.write(f"L {due:.6f} {late:.6f}\n")


async def main():
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    with open(sys.argv[1], "w", buffering=1 << 20) as log:
        handlers = [Handler(h["name"], h["port"], h["manner"], log, sys.argv[2])
                    for h in json.loads(await stdin.readline())]
        for handler in handlers:
            if handler.manner != "refusing":
                await handler.listen()
        lateness = asyncio.create_task(write_lateness(log))
        print("ready", flush=True)
        async for line in stdin:
            if line == b"heal\n":
                for handler in handlers:
                    await handler.heal()
            log.flush()
            print(line.decode().strip(), flush=True)
            if line == b"quit\n":
                lateness.cancel()
                return


if __name__ == "__main__":
    asyncio.run(main())
