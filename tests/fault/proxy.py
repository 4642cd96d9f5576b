#!/usr/bin/python3
"""Links that can be cut: a TCP proxy per link, in a process of its own.

usage: proxy.py, first line of stdin: {"name": [[listen port, target port], ...], ...}; further lines:
`cut NAME` (resets every connection, refuses new ones), `freeze NAME` (keeps them, moves nothing),
`open NAME`. Answers each line with its own copy, so that the driver knows that it is in force."""

import asyncio
import json
import socket
import struct
import sys

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Link:
    def __init__(self, target):
        self.target, self.state = target, "open"
        self.moving = asyncio.Event()
        self.moving.set()
        self.writers = set()

    def set(self, state):
        self.state = state
        if state == "freeze":
            self.moving.clear()
            return
        self.moving.set()
        if state == "cut":
            for writer in list(self.writers):
                self.drop(writer)

    def drop(self, writer):
        self.writers.discard(writer)
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    async def accepted(self, reader, writer):
        self.writers.add(writer)
        try:
            await self.moving.wait()
            if self.state == "cut":
                return self.drop(writer)
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return self.drop(writer)
        self.writers.add(back)
        for sock in (writer.get_extra_info("socket"), back.get_extra_info("socket")):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))
        self.drop(writer)
        self.drop(back)

    async def pump(self, reader, writer):
        try:
            while True:
                await self.moving.wait()
                data = await reader.read(65536)
                await self.moving.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        # one side is gone: so is the other, at once after what it was sent
        try:
            writer.close()
        except OSError:
            pass


async def main():
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    links, servers = {}, []
    for name, ports in json.loads(await stdin.readline()).items():
        links[name] = [Link(target) for _, target in ports]
        for link, (port, _) in zip(links[name], ports):
            servers.append(await asyncio.start_server(link.accepted, "127.0.0.1", port, backlog=512))
    print("ready", flush=True)
    async for line in stdin:
        state, name = line.decode().split()
        for link in links[name]:
            link.set(state)
        print(line.decode().strip(), flush=True)


asyncio.run(main())
