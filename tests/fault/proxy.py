#!/usr/bin/python3
"""Links that can be cut: a TCP proxy per link, in a process of its own.

usage: proxy.py HOST, first line of stdin: {"name": [[own port, target host, port], ...], ...}; further lines:
`cut NAME` (resets every connection, refuses new ones), `freeze NAME` (keeps them, moves nothing),
`lose NAME` (drops a third of the messages, whole ones, as a socket does whose queue is full),
`open NAME`. Answers each line with its own copy, so that the driver knows that it is in force."""

import asyncio
import json
import random
import socket
import struct
import sys

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


GREETING = 64
MORE, LONG, COMMAND = 1, 2, 4  # flags of a ZMTP frame


class Messages:
    """What one side of a connection sends, cut into messages."""

    def __init__(self):
        self.buffer, self.greeting_left = b"", GREETING
        self.message = b""  # frames of one that is not complete

    def frame_size(self):
        """0: not known yet."""
        head = 9 if self.buffer and self.buffer[0] & LONG else 2
        return head + int.from_bytes(self.buffer[1:head], "big") if len(self.buffer) >= head else 0

    def take(self, data):
        """-> (bytes, whether they are a message that can be lost), ... A greeting is an exchange: each
        byte of it is passed on at once."""
        if self.greeting_left:
            greeting = data[:self.greeting_left]
            self.greeting_left -= len(greeting)
            data = data[len(greeting):]
            yield greeting, False
        self.buffer += data
        while 0 < (size := self.frame_size()) <= len(self.buffer):
            flags = self.buffer[0]
            self.message += self.buffer[:size]
            self.buffer = self.buffer[size:]
            if not flags & MORE:
                # subscriptions of older peers are messages of one small frame
                yield self.message, not flags & COMMAND and len(self.message) > 40
                self.message = b""


class Link:
    def __init__(self, host, target, is_zmtp):
        self.host, self.target, self.state, self.is_zmtp = host, target, "open", is_zmtp
        self.moving = asyncio.Event()
        self.moving.set()
        self.writers = set()
        self.random = random.Random(target)

    def loses(self):
        return self.state == "lose" and self.random.random() < 1 / 3

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
            there, back = await asyncio.open_connection(self.host, self.target)
            self.writers.add(back)
            for sock in (writer.get_extra_info("socket"), back.get_extra_info("socket")):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # also: it was cut meanwhile
            return self.drop(writer)
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))
        self.drop(writer)
        self.drop(back)

    async def pump(self, reader, writer):
        messages = Messages() if self.is_zmtp else None
        try:
            while True:
                await self.moving.wait()
                data = await reader.read(65536)
                await self.moving.wait()
                if not data:
                    break
                if messages:
                    data = b"".join(part for part, is_message in messages.take(data)
                                    if not (is_message and self.loses()))
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
        links[name] = [Link(host, target, name != "handlers") for _, host, target in ports]
        for link, (port, _, _) in zip(links[name], ports):
            servers.append(await asyncio.start_server(link.accepted, sys.argv[1], port, backlog=512))
    print("ready", flush=True)
    async for line in stdin:
        state, name = line.decode().split()
        for link in links.get(name, ()):  # not each link goes through here
            link.set(state)
        print(line.decode().strip(), flush=True)


asyncio.run(main())
