"""The real processes of a round with everything between them that a fault needs: proxies on each link,
the shim in each process, recording handlers, history as it grows."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import disk
import network as networks
import plan as planning
import zmq

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import provisor  # noqa: E402

HERE = pathlib.Path(__file__).parent
HANDLERS = (  # name, manner, events, flags
    ("fast", "fast", ("clients.*", "dids.*"), ("--priority", "10", "--window", "32")),
    ("slow", "slow", ("clients.update",), ("--priority", "50", "--window", "32")),
    ("flaky", "flaky", ("clients.*",), ("--priority", "50")),
    ("hanging", "hanging", ("clients.balance_zero",), ("--priority", "60", "--window", "8")),
    ("refusing", "refusing", ("clients.balance_notzero",), ("--priority", "5")),
    ("gone", "gone", ("dids.update",), ()),
    ("doomed", "doomed", ("dids.block",), ()),
    ("late", "fast", ("accounting.charges.*",), ()),  # added while events for it flow
)
LISTENS = {"emitter": ("push", "intake", "replay", "audit", "control"),
           "router": ("intake", "audit", "control"),
           "deliverer": ("intake", "receipts", "audit", "control"),
           "auditor": ("marks", "stream", "questions", "control")}
LATE_AT = 0.4  # of a round's time
TIMEOUT_S = 1.0
CONCURRENCY = 48  # requests in flight of a deliverer
RETRY = ",".join(["300ms"] * 24 + ["1s"] * 8)


def matches(name, events_id):
    patterns = next(h[2] for h in HANDLERS if h[0] == name)
    return any(events_id.startswith(p[:-1]) if p.endswith("*") else events_id == p for p in patterns)


class Helper:
    """A process of ours that is told things line by line, and repeats each when it is done."""

    def __init__(self, first, *argv):
        self.lock = threading.Lock()
        self.process = subprocess.Popen([sys.executable, *map(str, argv)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.tell(json.dumps(first)) == "ready"

    def tell(self, line):
        with self.lock:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Historian(threading.Thread):
    """Reads history as it grows (retention may remove it), by gap filling."""

    def __init__(self, endpoint):
        super().__init__(daemon=True)
        self.endpoint, self.records, self.next = endpoint, [], 1
        self.removed = 0        # records that retention took before they were read
        self.quiet = 0          # answers in a row that had nothing new
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            with zmq.Context() as context:
                while not self.stopping.is_set():
                    with context.socket(zmq.REQ) as socket:
                        socket.linger = 0
                        socket.connect(self.endpoint)
                        while not self.stopping.is_set() and self.read(socket):
                            pass
        except Exception as e:
            self.failure = repr(e)

    def read(self, socket):
        """False: no answer, the socket is of no use any more."""
        socket.send_json({"from": self.next, "to": 1 << 60, "topics": []})
        if not socket.poll(2000):
            return False
        answer = socket.recv_json()
        if not answer["ok"]:  # it had no descriptor left
            self.stopping.wait(0.1)
            return True
        self.quiet = 0 if answer["records"] else self.quiet + 1
        for record in answer["records"]:
            self.removed += max(0, record["audit_id"] - self.next)
            self.records.append(record)
            self.next = record["audit_id"] + 1
        if not answer["records"]:
            self.stopping.wait(0.1)
        return True

    def close(self):
        self.stopping.set()
        self.join(10)


class Rig:
    def __init__(self, folder, plan, shim, parted):
        """parted: each stage has a network namespace of its own."""
        self.folder, self.plan = folder, plan
        self.guard, self.ports = provisor.free_block()
        provisor.free_ports = lambda count: [self.ports.pop() for _ in range(count)]
        self.pipeline = provisor.Pipeline(folder, routers=plan.routers, deliverers=plan.deliverers, env={
            "PROVISOR_DISK_MIN_FREE": "4MiB", "PROVISOR_DELIVERER_BREAKER_PROBE": "300ms",
            "PROVISOR_DELIVERER_PRIORITY_WAIT": "200ms", **plan.settings})
        self.network, self.host = None, "127.0.0.1"
        self.small_disk = self.recorder = self.proxy = None
        if parted:
            self.network, self.host = networks.Network(self.pipeline.stages), networks.HUB
            self.give_addresses()
        if plan.small_disk:
            self.small_disk = disk.SmallDisk(self.pipeline.data)
        self.undo = folder / "undo"
        self.undo.mkdir()
        self.switches = {}
        for name, stage in self.pipeline.stages.items():
            control = folder / f"{name}.switches"
            self.switches[name] = disk.Switches(control)
            stage.env.update(LD_PRELOAD=str(shim), PROVISOR_FAULT_CONTROL=str(control),
                             PROVISOR_DELIVERER_CONCURRENCY=str(CONCURRENCY),
                             ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") +
                             ":verify_asan_link_order=0")
            if plan.power_cut:
                stage.env["PROVISOR_FAULT_UNDO"] = str(self.undo)
        self.handler_ids = {}

    def give_addresses(self):
        """Each stage listens at its own, where the others look for it."""
        at = {}
        self.pipeline.env["PROVISOR_PROVISOR_TRUSTED_NETWORK"] = "1"
        for name, stage in self.pipeline.stages.items():
            stage.wrapper = self.network.wrapper(name)
            for key in LISTENS[stage.kind]:
                at[stage.endpoint(key).rpartition(":")[2]] = self.network.addresses[name]
        for env in (self.pipeline.env, *(stage.env for stage in self.pipeline.stages.values())):
            for key, value in env.items():
                env[key] = re.sub(r"(?<=tcp://)127\.0\.0\.1(?=:(\d+))", lambda match: at[match[1]], value)

    def name_of(self, address):
        return address.replace(".", "-") + ".test" if self.plan.names else address

    def start(self):
        self.start_proxy()
        self.start_recorder()
        self.add_handlers()
        self.historian = Historian(self.pipeline.env["PROVISOR_AUDITOR_QUESTIONS"])
        self.historian.start()

    def start_proxy(self):
        """Each connecting end of a link is sent through the proxy; between network namespaces only
        where a fault needs it."""
        e, ports = self.pipeline.env, {}

        def through(link, endpoints, name_of=self.name_of):
            def replace(match):
                address, port = match[1], int(match[2])
                if not self.network or link in self.plan.proxied:
                    ports.setdefault(link, []).append((provisor.free_ports(1)[0], address, port))
                    address, port = self.host, ports[link][-1][0]
                return f"tcp://{name_of(address)}:{port}"
            return re.sub(r"tcp://([\d.]+):(\d+)", replace, endpoints)

        self.intake = through("intake", e["PROVISOR_EMITTER_INTAKE"], name_of=str)
        keys = {"emitter-router": "EMITTER_ROUTERS", "receipts": "EMITTER_RECEIPTS",
                "router-deliverer": "ROUTER_DELIVERERS", "replay": "AUDITOR_REPLAY"}
        for kind in ("emitter", "router", "deliverer"):
            keys[f"{kind}-audit"] = f"AUDITOR_{kind.upper()}S"
            keys[f"{kind}-marks"] = f"{kind.upper()}_MARKS"
        for link, key in keys.items():
            e[f"PROVISOR_{key}"] = through(link, e[f"PROVISOR_{key}"])
        self.handler_ports = {h[0]: provisor.free_ports(2) for h in HANDLERS}
        ports["handlers"] = [(front, self.host, back) for front, back in self.handler_ports.values()]
        self.proxy = Helper(ports, HERE / "proxy.py", self.host)

    def start_recorder(self):
        self.arrivals = self.folder / "arrivals"
        self.recorder = Helper([{"name": name, "manner": manner, "port": self.handler_ports[name][1]}
                                for name, manner, _, _ in HANDLERS],
                               HERE / "recorder.py", self.arrivals, self.plan.seed, self.host)

    def add_handlers(self, late=False):
        """They are reached through the proxy where the plan cuts the link "handlers"."""
        cut = any(f.target == "handlers" for f in self.plan.faults)
        host = self.name_of(self.host)
        for name, _, patterns, flags in HANDLERS:
            if late != (name == "late"):
                continue
            retry = "100ms,100ms" if name == "doomed" else RETRY
            port = self.handler_ports[name][0 if cut else 1]
            events = [x for p in patterns for x in ("--event", p)]
            self.handler_ids[name] = int(self.pipeline.cli(
                "handler", "add", "--name", name, *events, "--task", f"http://{host}:{port}/api",
                "--timeout", f"{int(TIMEOUT_S * 1000)}ms", "--retry", retry,
                "--max-age", "2d", *flags).stdout.split()[0])

    def heal(self):
        for link in (*planning.LINKS, "handlers"):
            self.proxy.tell(f"open {link}")
        self.recorder.tell("heal")

    def enable_suspended(self):
        for handler in self.pipeline.cli_json("handler", "list"):
            if handler["status"] == "suspended":
                self.pipeline.cli("handler", "enable", str(handler["id"]))

    def hurry(self, stage):
        """What an operator does: try now. Else the probes of an open circuit come ever more rarely."""
        for id_ in self.handler_ids.values():
            with contextlib.suppress(TimeoutError):
                stage.control("retry", handler_id=id_, timeout=2)

    def left(self):
        """What is not finished yet, in words; empty when all is done."""
        left = []
        for name, stage in self.pipeline.stages.items():
            if stage.kind not in ("emitter", "deliverer"):
                continue
            try:
                stats = stage.control("stats", timeout=2)["stats"]
            except (TimeoutError, KeyError):
                left.append(f"{name} does not answer")
                continue
            if stats.get("pending") and name.startswith("deliverer"):
                self.hurry(stage)
            left += [f"{name} {key}={stats[key]}"
                     for key in ("journal_rows", "pending", "in_flight", "outbox", "known_events")
                     if stats.get(key)]
        return left

    def close(self):
        self.pipeline.kill()
        if hasattr(self, "historian"):
            self.historian.close()
        for helper in (self.recorder, self.proxy):
            if helper:
                helper.close()
        for stage in self.pipeline.stages.values():
            if stage.process:
                stage.log.close()
        if self.small_disk:
            self.small_disk.close()
        if self.network:
            self.network.close()
        self.guard.close()
