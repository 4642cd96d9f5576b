"""The real pipeline, for tests: starts and kills the real binaries on free ports of this machine,
and plays cores, handlers and subscribers with real clients. Nothing here waits a fixed time:
`wait_until` polls a state with a deadline."""

import concurrent.futures
import contextlib
import http.server
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import threading
import time

import zmq

BIN = pathlib.Path(os.environ.get("PROVISOR_BIN", "build/dev/bin")).resolve()
STAGES = ("emitter", "router", "deliverer", "auditor")
SHAPE = int(os.environ.get("PROVISOR_SHAPE", "1"))  # of routers, and of deliverers
SLOW = 4 if os.environ.get("PROVISOR_SLOW") else 1  # sanitizer builds wait longer


def wait_until(predicate, timeout=60, what="the state"):
    """Returns the first true value of predicate()."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout * SLOW} s for {what() if callable(what) else what}"
        time.sleep(0.01)


def whole_lines(path):
    """Of a file that a process may be writing: not the end of it that has no newline yet."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


BLOCK = 64  # ports
_left = []  # of this process's block
_guards = []


def free_block():
    """-> a guard, and BLOCK ports. While the guard is held, nobody else is given them here, not even
    those of a stage that is down. Below the ephemeral range, so that no client takes one."""
    blocks = range((31000 - 11000) // (BLOCK + 1))
    for n in blocks:
        first = 11000 + (os.getpid() + n) % len(blocks) * (BLOCK + 1)
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
            guard.listen()
            for port in range(first + 1, first + 1 + BLOCK):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
            return guard, list(range(first + 1, first + 1 + BLOCK))
        except OSError:
            guard.close()
    raise AssertionError("no free ports")


def free_ports(count):
    """Ports nobody listens on, this process's until it ends."""
    if len(_left) < count:
        guard, _left[:] = free_block()
        _guards.append(guard)
    taken, _left[:count] = _left[:count], []
    return taken


class Stage:
    """One process of the pipeline."""

    def __init__(self, pipeline, kind, name, env, data):
        self.pipeline, self.kind, self.name, self.env, self.data = pipeline, kind, name, env, data
        self.process = None
        self.wrapper = []  # of a command that is replaced by the stage
        self.log_path = pipeline.dir / f"{name}.log"

    def start(self, extra_env=None):
        env = {**os.environ, **self.pipeline.env, **self.env, **(extra_env or {})}
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self.wrapper, BIN / f"provisor-{self.kind}", "--data", str(self.data)],
            env=env, stderr=self.log, stdout=self.log, stdin=subprocess.DEVNULL)
        return self

    def kill(self, sig=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
        return self

    def wait(self, timeout=30):
        return self.process.wait(timeout * SLOW)

    def stop(self):
        """SIGTERM; the exit code must be 0."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.wait() == 0, self.log_text()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def control(self, op, timeout=30, **members):
        return ask(self.endpoint("control"), {"op": op, **members}, timeout)

    def endpoint(self, key):
        return {**self.pipeline.env, **self.env}[f"PROVISOR_{self.kind.upper()}_{key.upper()}"]

    def ready(self):
        try:
            return self.control("ping", timeout=1).get("ready")
        except TimeoutError:
            return False

    def answers(self):
        try:
            return self.control("ping", timeout=1)["ok"]
        except TimeoutError:
            return False

    def why(self):
        """Why it is not ready, in its words; empty: it is."""
        return self.control("ping").get("why", "")


def ask(endpoint, question, timeout=10):
    """One question over REQ, one JSON answer."""
    with zmq.Context() as context, context.socket(zmq.REQ) as req:
        req.linger = 0
        req.connect(endpoint)
        req.send(json.dumps(question).encode())
        if not req.poll(timeout * 1000 * SLOW):
            raise TimeoutError(f"no answer from {endpoint} to {question}")
        return json.loads(req.recv())


class Pipeline:
    """All four stages in one folder; routers and deliverers may be several (SHAPE)."""

    def __init__(self, directory, routers=SHAPE, deliverers=SHAPE, env=None):
        self.dir = pathlib.Path(directory)
        self.data = self.dir / "data"
        ports = iter(free_ports(12 + 3 * routers + 4 * deliverers))
        tcp = lambda: f"tcp://127.0.0.1:{next(ports)}"  # noqa: E731
        e = self.env = {"PROVISOR_DISK_MIN_FREE": "16MiB", **(env or {})}
        if SLOW > 1:
            e["PROVISOR_UP_MEMORY_MAX"] = "0"  # a sanitizer maps terabytes
        for key in ("PUSH", "INTAKE", "REPLAY", "AUDIT", "CONTROL"):
            e[f"PROVISOR_EMITTER_{key}"] = tcp()
        for key in ("MARKS", "STREAM", "QUESTIONS", "CONTROL"):
            e[f"PROVISOR_AUDITOR_{key}"] = tcp()
        for kind in ("EMITTER", "ROUTER", "DELIVERER"):
            e[f"PROVISOR_{kind}_MARKS"] = e["PROVISOR_AUDITOR_MARKS"]
        e["PROVISOR_AUDITOR_REPLAY"] = e["PROVISOR_EMITTER_REPLAY"]
        e["PROVISOR_AUDITOR_EMITTERS"] = e["PROVISOR_EMITTER_AUDIT"]
        e["PROVISOR_PROVISOR_HANDLERS"] = str(self.data)
        self.stages = {}
        router_envs = [{f"PROVISOR_ROUTER_{key}": tcp() for key in ("INTAKE", "AUDIT", "CONTROL")}
                       for _ in range(routers)]
        deliverer_envs = [{f"PROVISOR_DELIVERER_{key}": tcp()
                           for key in ("INTAKE", "RECEIPTS", "AUDIT", "CONTROL")}
                          for _ in range(deliverers)]
        e["PROVISOR_EMITTER_ROUTERS"] = " ".join(r["PROVISOR_ROUTER_INTAKE"] for r in router_envs)
        e["PROVISOR_AUDITOR_ROUTERS"] = " ".join(r["PROVISOR_ROUTER_AUDIT"] for r in router_envs)
        e["PROVISOR_EMITTER_RECEIPTS"] = " ".join(
            d["PROVISOR_DELIVERER_RECEIPTS"] for d in deliverer_envs)
        e["PROVISOR_AUDITOR_DELIVERERS"] = " ".join(
            d["PROVISOR_DELIVERER_AUDIT"] for d in deliverer_envs)
        ranges = [(64 * i // deliverers, 64 * (i + 1) // deliverers - 1) for i in range(deliverers)]
        e["PROVISOR_ROUTER_DELIVERERS"] = " ".join(
            f"{a}-{b}={d['PROVISOR_DELIVERER_INTAKE']}"
            for (a, b), d in zip(ranges, deliverer_envs))
        for env_, (a, b) in zip(deliverer_envs, ranges):
            env_["PROVISOR_DELIVERER_PARTITIONS"] = f"{a}-{b}"
        e["PROVISOR_CLI_ROUTERS"] = " ".join(r["PROVISOR_ROUTER_CONTROL"] for r in router_envs)
        e["PROVISOR_CLI_DELIVERERS"] = " ".join(
            d["PROVISOR_DELIVERER_CONTROL"] for d in deliverer_envs)
        e.update(router_envs[0])  # `provisor up` runs one of each
        e.update(deliverer_envs[0])
        self._add("auditor", "auditor", {}, self.data)
        for i, env_ in enumerate(deliverer_envs):
            self._add("deliverer", f"deliverer{i or ''}", env_, self.data / f"deliverer{i or ''}"
                      if deliverers > 1 else self.data)
        for i, env_ in enumerate(router_envs):
            self._add("router", f"router{i or ''}", env_, self.data)
        self._add("emitter", "emitter", {}, self.data)

    def _add(self, kind, name, env, data):
        self.stages[name] = Stage(self, kind, name, env, data)

    def __getitem__(self, name):
        return self.stages[name]

    def start(self, wait=True):
        for stage in self.stages.values():
            stage.start()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        for stage in self.stages.values():
            wait_until(lambda s=stage: s.ready() or not s.alive(), what=f"{stage.name} ready")
            assert stage.alive(), stage.log_text()

    def stop(self):
        """In order: upstream first, so that nothing is left in flight."""
        for stage in reversed(self.stages.values()):
            stage.stop()

    def kill(self):
        for stage in self.stages.values():
            stage.kill()
        for stage in self.stages.values():
            if stage.process:
                stage.process.wait()

    def cli(self, *args, check=True, stdin=None):
        """Runs `provisor ARGS`; returns the finished process (text)."""
        done = subprocess.run([BIN / "provisor", *args, "--data", str(self.data)],
                              env={**os.environ, **self.env}, input=stdin, text=True,
                              capture_output=True, timeout=60 * SLOW)
        assert not check or done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done

    def cli_all(self, *commands):
        """Several at once, for those that wait for long; whatever they return."""
        with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
            return list(pool.map(lambda args: self.cli(*args, check=False), commands))

    def cli_json(self, *args):
        """A command with --json: a list of objects, one per line."""
        out = self.cli(*args, "--json").stdout
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def add_handler(self, url, *extra, name="handler", event="*"):
        """Returns the new handler's id."""
        out = self.cli("handler", "add", "--name", name, "--event", event, "--task", url, *extra)
        return int(out.stdout.split()[0])

    def core(self):
        return Core(self.env["PROVISOR_EMITTER_INTAKE"])

    def question(self, question, timeout=10):
        return ask(self.env["PROVISOR_AUDITOR_QUESTIONS"], question, timeout)

    def records(self, topics=()):
        """Everything in history with these topics (all if none), by gap filling."""
        records, at = [], 1
        while at:
            answer = self.question({"from": at, "to": 1 << 60, "topics": list(topics)})
            assert answer["ok"], answer
            records += answer["records"]
            at = answer.get("next")
        return records

    def subscribe(self, *topics):
        return Subscriber(self.env["PROVISOR_AUDITOR_STREAM"], topics or ("",))


class Core:
    """A core on the acknowledged intake: DEALER, pipelined."""

    def __init__(self, endpoint):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def send(self, request):
        self.socket.send(request if isinstance(request, bytes) else json.dumps(request).encode())

    def recv(self, timeout=60):
        if not self.socket.poll(timeout * 1000 * SLOW):
            raise TimeoutError("no answer from the intake")
        return self.socket.recv()

    def push(self, request, timeout=60):
        """One request, its answer decoded."""
        self.send(request)
        return json.loads(self.recv(timeout))

    def accept(self, events, window=200):
        """Pushes all events, pipelined; asserts that each is accepted; returns their ids."""
        ids, sent = [], 0
        while len(ids) < len(events):
            while sent < len(events) and sent - len(ids) < window:
                self.send(events[sent])
                sent += 1
            answer = json.loads(self.recv())
            assert answer["status"] in ("accepted", "duplicate"), answer
            ids.append(answer["id"])
        return ids

    def close(self):
        self.socket.close()
        self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Terminal:
    """A command of the CLI whose messages go to a terminal; what it shows is read as it comes."""

    def __init__(self, pipeline, *args):
        self.shown = b""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen([BIN / "provisor", *args, "--data", pipeline.data],
                                        env={**os.environ, **pipeline.env}, stderr=theirs, stdout=subprocess.PIPE)
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        try:
            while part := os.read(self._ours, 4096):
                self.shown += part
        except OSError:
            pass  # the terminal's other end is closed

    def end(self, timeout=60):
        """Exit code and what went to stdout."""
        out, _ = self.process.communicate(timeout=timeout * SLOW)
        self._reader.join()
        os.close(self._ours)
        return self.process.returncode, out.decode()


def event(events_id="clients.update", object_id=12, data=None, **members):
    return {**members, "event": {"events_id": events_id, "object_id": object_id},
            "data": {"n": 1} if data is None else data}


class Subscriber:
    """A monitoring subscriber on the audit stream; collects records in a thread."""

    def __init__(self, endpoint, topics):
        self.records, self.heartbeats = [], []
        self._stop = threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 100000
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.connect(endpoint)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            if self._socket.poll(50):
                topic, body = self._socket.recv_multipart()
                record = json.loads(body)
                if topic in (b"stage.heartbeat", b"stage.stats"):
                    self.heartbeats.append(record)
                else:
                    self.records.append(record)
        self._socket.close()
        self._context.term()

    def close(self):
        self._stop.set()
        self._thread.join()


def answer_parts(answer):
    """200 | (200, "text") | (200, "text", {header: value}) -> status, text, headers"""
    parts = (answer,) if isinstance(answer, int) else tuple(answer)
    return (*parts, b"", {})[:3] if len(parts) < 2 else (*parts, {})[:3]


class Handler:
    """A handler: a real HTTP server that records what it gets, in order of arrival.

    `respond(request)` decides: an int (status), (status, body), (status, body, headers), or None
    (hang until close)."""

    def __init__(self, respond=lambda request: 200, tls=None):
        self.requests = []
        self.lock = threading.Lock()
        self.respond = respond
        self.released = threading.Event()
        outer = self

        class RequestHandler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = {"path": self.path, "headers": dict(self.headers.items()), "body": body,
                           "at": time.monotonic(), "client": self.client_address}
                with outer.lock:
                    request["n"] = len(outer.requests)
                    outer.requests.append(request)
                answer = outer.respond(request)
                if answer is None:
                    outer.released.wait(60)
                    self.close_connection = True
                    return
                status, text, headers = answer_parts(answer)
                text = text.encode() if isinstance(text, str) else text
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), RequestHandler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/api"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def bodies(self):
        with self.lock:
            return [json.loads(r["body"]) for r in self.requests]

    def count(self):
        with self.lock:
            return len(self.requests)

    def wait(self, count, timeout=60):
        wait_until(lambda: self.count() >= count, timeout, lambda: f"{count} requests, got {self.count()}")
        return self.requests

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def handler(*args, **kwargs):
    h = Handler(*args, **kwargs)
    try:
        yield h
    finally:
        h.close()
