"""What the benchmark's scenarios are made of: the machine's limits, sinks, loads, and a pipeline whose processes are
measured. Everything is on loopback and in one folder, and ends with its `with` block."""

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.request

import zmq

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))

sys.path.extend(str(pathlib.Path(__file__).parents[1] / name) for name in ("fault", "scale"))  # behind: a rig too

import disk  # noqa: E402
import provisor  # noqa: E402
import watch  # noqa: E402

PROGRAMS = provisor.BIN.parent / "bench"
BODY_BYTES = 400
WAKES = 8  # a second, about those of one of our processes when nothing happens


class Failed(Exception):
    """A run that measured nothing: an event was refused, a process died, the time was over."""


def progress(text):
    """What is being done now; "" takes it away from a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\033[K{text}\r")
    elif text:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def run_program(name, *arguments, cpu=None, timeout=60):
    """Its output; cpu pins it."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    command = [*pin, PROGRAMS / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{name}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


class Tls:
    """A certificate for 127.0.0.1 that signs itself, and its key."""

    def __init__(self, folder):
        self.certificate, self.key = folder / "tls.pem", folder / "tls.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)

    def context(self):
        return ssl.create_default_context(cafile=self.certificate)


class Sink:
    def __init__(self, *arguments, cpu=None, tls=None):
        pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        tls_arguments = ["--tls", tls.certificate, tls.key] if tls else []
        self.process = subprocess.Popen([*pin, PROGRAMS / "sink", *map(str, arguments), *map(str, tls_arguments)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/api"

    def report(self, reset=False):
        return self._get("/reset" if reset else "/report")

    def count(self):
        """A report without quantiles."""
        return self._get("/count")

    def fail(self, on):
        self._get("/fail" if on else "/ok")

    def _get(self, path):
        url = self.url.replace("/api", path)
        context = self.tls.context() if self.tls else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             *([urllib.request.HTTPSHandler(context=context)] if context else []))
        with opener.open(url, timeout=10) as answer:
            return json.load(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Limit:
    """(a): what libcurl alone does against the sink on the other core; the best concurrency is found once."""

    seconds = 2.0  # of a measurement; --scale

    def __init__(self, sink_arguments=(), tls=None, body_bytes=BODY_BYTES, concurrent=(8, 16, 32, 64)):
        self.sink_arguments, self.tls, self.body_bytes = sink_arguments, tls, body_bytes
        self.concurrent, self.best = concurrent, None

    def _run(self, sink, concurrent, seconds):
        ca = [self.tls.certificate] if self.tls else []
        return float(run_program("limit_http", sink.url, concurrent, seconds, self.body_bytes, *ca, cpu=0))

    def measure(self):
        with Sink(*self.sink_arguments, cpu=1, tls=self.tls) as sink:
            if self.best is None:
                progress("limit (a): the bare libcurl loop")
                rates = {n: self._run(sink, n, self.seconds / 2) for n in self.concurrent}
                self.best = max(rates, key=rates.get)
            return self._run(sink, self.best, self.seconds)


def load(*arguments, timeout=120):
    """A core's run. Returns its report, with the CPU seconds that it used."""
    child = subprocess.Popen([PROGRAMS / "load", *map(str, arguments), "--seconds", str(timeout)],
                             stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Failed(f"load: exit {child.returncode}: {output.strip()}")
    return {**json.loads(output), "cpu_seconds": usage.ru_utime + usage.ru_stime}


def cpu_seconds(pid):
    """User and system time, of threads that have ended as well."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def core_times():
    """Per core: (idle, all), in ticks."""
    rows = [line.split() for line in pathlib.Path("/proc/stat").read_text().splitlines()]
    return [(int(r[4]) + int(r[5]), sum(map(int, r[1:9]))) for r in rows if r[0].startswith("cpu") and r[0] != "cpu"]


def switches(pid, kinds=("voluntary", "nonvoluntary")):
    """Context switches; voluntary: it waited, and was woken up."""
    total = 0
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        total += sum(int(line.split()[1]) for line in status.read_text().splitlines()
                     if line.startswith(tuple(f"{kind}_ctxt_switches" for kind in kinds)))
    return total


class Syscalls:
    """Counts those of processes, with perf, until read()."""

    def __init__(self, pids):
        self.counters = {name: subprocess.Popen(
            ["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for name, pid in pids.items()}

    def read(self):
        counts = {}
        for name, counter in self.counters.items():
            counter.send_signal(signal.SIGINT)
            output = counter.communicate(timeout=10)[1]
            fields = [line.split(",") for line in output.splitlines() if "sys_enter" in line]
            if not fields or not fields[0][0].isdigit():
                raise Failed(f"perf counted no system calls of {name}: {output.strip()}")
            counts[name] = int(fields[0][0])
        return counts


class Meter:
    """CPU of processes and idle share of cores between its making and read()."""

    count_syscalls = False  # --syscalls

    def __init__(self, pids):
        self.pids = pids
        self.syscalls = Syscalls(pids) if self.count_syscalls else None
        self.before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        self.switches = {name: switches(pid) for name, pid in pids.items()}
        self.cores = core_times()

    def read(self, n_events, load_report=None):
        """cpu_us, switches and system calls per event, idle share of each core, PSS in MB."""
        cpu = {name: (cpu_seconds(pid) - self.before[name]) * 1e6 / n_events for name, pid in self.pids.items()}
        if load_report:
            cpu["core"] = load_report["cpu_seconds"] * 1e6 / n_events
        idle = [(b[0] - a[0]) / max(1, b[1] - a[1]) for a, b in zip(self.cores, core_times())]
        numbers = {"cpu_us": {k: round(v, 2) for k, v in cpu.items()}, "cpu_us_all": round(sum(cpu.values()), 2),
                   "switches": {k: round((switches(p) - self.switches[k]) / n_events, 3)
                                for k, p in self.pids.items()},
                   "idle": [round(i, 3) for i in idle], "pss_mb": {k: watch.pss_mb(p) for k, p in self.pids.items()}}
        if self.syscalls:
            numbers["syscalls"] = {k: round(n / n_events, 3) for k, n in self.syscalls.read().items()}
        return numbers


class Pipeline(provisor.Pipeline):
    """All four stages with their default settings; stats over kept sockets."""

    def __init__(self, folder, env=None):
        super().__init__(folder, routers=1, deliverers=1, env=env)
        self.dir.mkdir(parents=True)
        self.context = zmq.Context()
        self.sockets = {}
        self.switches = {}  # of the shim, by stage

    def stats(self, stage):
        socket = self.sockets.get(stage)
        if not socket:
            socket = self.sockets[stage] = self.context.socket(zmq.REQ)
            socket.linger = 0
            socket.connect(self.stages[stage].endpoint("control"))
        socket.send(b'{"op":"stats"}')
        if not socket.poll(10000):
            raise Failed(f"{stage} does not answer: {self.stages[stage].log_text()[-500:]}")
        return json.loads(socket.recv())["stats"]

    def intake(self, *arguments):
        return ("--intake", self.env["PROVISOR_EMITTER_INTAKE"], *arguments)

    def push(self, *arguments):
        return ("--push", self.env["PROVISOR_EMITTER_PUSH"], *arguments)

    def pids(self, **others):
        return {**{name: stage.process.pid for name, stage in self.stages.items()}, **others}

    def slow_down(self, sync_ms):
        """Before the start: the fault harness's shim in each stage."""
        shim = disk.build_shim(self.dir)
        for name, stage in self.stages.items():
            control = self.dir / f"{name}.switches"
            switches = self.switches[name] = disk.Switches(control)
            switches.set("sync_ms", sync_ms)
            stage.env.update(LD_PRELOAD=str(shim), PROVISOR_FAULT_CONTROL=str(control))

    def check_slowed(self, sync_ms):
        """Fails unless the shim saw the commits of each stage that has a store, and delayed them."""
        for name in ("emitter", "deliverer", "auditor"):
            commits = self.switches[name].commits()
            if not commits or min(ended - began for began, ended in commits) < sync_ms / 1000:
                raise Failed(f"the shim delayed no sync of {name}, or not all: {len(commits)} commits")

    def copy_handler(self, handler_id, n):
        """n more of it, each with its own name, and its own value if the filter has "never", straight into the table,
        as the CLI takes one at a time (and can change none after that: the table's version is not told). Waits until
        the router has them."""
        with contextlib.closing(sqlite3.connect(self.data / "handlers.db", timeout=30)) as db, db:
            names = [row[1] for row in db.execute("PRAGMA table_info(handlers)")]
            changed = {"id": "id + n", "name": "name || n", "version": "version + n",
                       "filter": "replace(filter, 'never', 'never' || n)"}
            copied = ",".join(changed.get(name, name) for name in names)
            db.execute("WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < ?)"
                       f" INSERT INTO handlers ({','.join(names)}) SELECT {copied} FROM handlers, counter WHERE id = ?",
                       (n, handler_id))
        provisor.wait_until(lambda: self.stats("router")["handlers"] > n, what="the handlers at the router")

    def finished(self, accepted):
        """All delivered, journal and queue empty, history complete."""
        emitter = self.stats("emitter")
        if emitter["accepted"] < accepted or emitter["journal_rows"] > 0:
            return False
        deliverer = self.stats("deliverer")
        return deliverer["pending"] == 0 and deliverer["outbox"] == 0

    def wait_finished(self, accepted, timeout=120):
        """The moment (ns, monotonic)."""
        end = time.monotonic() + timeout
        while not self.finished(accepted):
            if time.monotonic() > end:
                stats = {s: self.stats(s) for s in ("emitter", "deliverer")}
                raise Failed(f"not finished after {timeout} s: {stats}")
            time.sleep(0.02)
        return time.monotonic_ns()

    def close(self):
        self.kill()
        for socket in self.sockets.values():
            socket.close()
        self.context.term()


@contextlib.contextmanager
def pipeline(folder, without=(), before=lambda p: None):
    """A started one. without: stages that are not. before: what is done with it before."""
    p = Pipeline(folder)
    try:
        before(p)
        for name, stage in p.stages.items():
            if name not in without:
                stage.start()
        for name, stage in p.stages.items():
            if not without:
                provisor.wait_until(lambda s=stage: s.ready() or not s.alive(), what=f"{name} ready")
            if name not in without:
                provisor.wait_until(lambda s=stage: s.answers() or not s.alive(), what=f"{name} answers")
                if not stage.alive():
                    raise Failed(f"{name} died: {stage.log_text()[-500:]}")
        yield p
        for name, stage in p.stages.items():
            if stage.process and not stage.alive():
                raise Failed(f"{name} died: {stage.log_text()[-500:]}")
    finally:
        p.close()
