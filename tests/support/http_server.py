"""A small HTTP/1.1 server whose path says how it behaves, well or badly.

http_server.py [--tls CERT KEY [--client-ca CA]]  prints its port, serves until stdin ends.
Every well-behaved answer carries x-connection (which connection, from 1) and x-request (which
request on it), so that a client's reuse of connections shows.
"""
import argparse
import gzip
import itertools
import socket
import ssl
import struct
import sys
import threading
import time

connections = itertools.count(1)


class Client:
    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.requests = 0
        self.buffer = b""

    def read_request(self):
        """(path, raw head, body) or None at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        while len(self.buffer) < size:
            if not self.fill():
                return None
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        self.requests += 1
        return head.split(b" ")[1].decode(), head, body

    def fill(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, status, body=b"", headers=()):
        lines = ["HTTP/1.1 %d Said" % status, "x-connection: %d" % self.number,
                 "x-request: %d" % self.requests, *headers]
        if status not in (204, 304):
            lines.append("content-length: %d" % len(body))
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


# Each: (client, argument, head, body) -> True to keep the connection

def ok(client, argument, head, body):
    client.answer(200, b"fine")
    return True


def status(client, argument, head, body):
    client.answer(int(argument), b"" if argument in ("204", "304") else b"status " + argument.encode())
    return True


def echo(client, argument, head, body):
    client.answer(200, head + b"\r\n\r\n" + body)
    return True


def size(client, argument, head, body):
    client.answer(200, b"x" * int(argument))
    return True


def delay(client, argument, head, body):
    time.sleep(int(argument) / 1000)
    return ok(client, argument, head, body)


def drip(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        client.send(b".")
        time.sleep(int(argument) / 1000)


def drip_headers(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.send(b"x: y\r\n")
        time.sleep(int(argument) / 1000)


def stall(client, argument, head, body):
    while client.fill():
        pass


def close(client, argument, head, body):
    pass


def reset(client, argument, head, body):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it")


def once(client, argument, head, body):
    """Keeps the connection by its words, and closes it when the next request comes."""
    client.answer(200, b"fine")
    client.fill()


def endless(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.send(b"e" * 65536)


def endless_head(start, more):
    """A head that never ends."""
    def answer(client, argument, head, body):
        client.send(start)
        while True:
            client.send(more)
    return answer


endless_headers = endless_head(b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"h" * 1000 + b"\r\n")
endless_header = endless_head(b"HTTP/1.1 200 OK\r\nx-more: ", b"h" * 1000)
endless_status = endless_head(b"HTTP/1.1 200 ", b"s" * 1000)
endless_continue = endless_head(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_chunk(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;")
    bytes_ = b"e" * (4 << 20)
    for _ in range(1 << 12):  # 16 GiB
        client.send(bytes_)


def padded_chunks(client, argument, head, body):
    """A little of a body, in much that is none."""
    client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"1;" + b"e" * 5000 + b"\r\nx\r\n"
    for _ in range(1 << 13):
        client.send(chunk * 100)


def small_chunks(client, argument, head, body):
    """A byte each, in segments of their own."""
    client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(int(argument)):
        client.send(b"1;e=0\r\nx\r\n")
    client.send(b"0\r\n\r\n")
    return True


def headers(client, argument, head, body):
    line = "x-filler: " + "f" * 88
    client.answer(200, b"fine", [line] * (int(argument) // 100))
    return True


def bomb(client, argument, head, body):
    client.answer(200, gzip.compress(bytes(16 << 20)), ["content-encoding: gzip"])
    return True


def redirect(client, argument, head, body):
    client.answer(302, b"elsewhere", ["location: /ok"])
    return True


def malformed(client, argument, head, body):
    client.send(b"HTTP/1.1 two hundred\r\n\r\n")


def http09(client, argument, head, body):
    client.send(b"just text, as in 1991\n")


def switch(client, argument, head, body):
    client.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n" + b"\0" * 100)
    stall(client, argument, head, body)


def interim(client, argument, head, body):
    client.send(b"HTTP/1.1 100 Continue\r\nretry-after: 1\r\n\r\n"
                b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    return ok(client, argument, head, body)


def retry_after(client, argument, head, body):
    client.answer(503, b"later", ["Retry-After:  %s " % argument.replace("_", " ")])
    return True


def chunked(client, argument, head, body):
    client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: retry-after\r\n\r\n"
                b"4\r\nfine\r\n0\r\nretry-after: 7\r\n\r\n")
    return True


ROUTES = {name.replace("_", "-"): call for name, call in list(globals().items())
          if callable(call) and not isinstance(call, type)}


def serve(sock, number, context):
    try:
        if context:
            sock = context.wrap_socket(sock, server_side=True)
        client = Client(sock, number)
        while True:
            request = client.read_request()
            if request is None:
                break
            route, _, argument = request[0].lstrip("/").partition("/")
            if not ROUTES[route](client, argument, *request[1:]):
                break
    except (OSError, ssl.SSLError):
        pass
    finally:
        sock.close()


def accept(listener, context):
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(sock, next(connections), context),
                         daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--client-ca")
    args = parser.parse_args()
    context = None
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        if args.client_ca:
            context.load_verify_locations(args.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=accept, args=(listener, context), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


main()
