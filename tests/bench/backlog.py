"""A million events wait for a handler that is dead: what they cost, and what comes after. Once; what can be repeated
within that is."""

import contextlib
import statistics
import time

import provisor
import rig
import watch
from result import Result
from runs import ARRAY, count, repeat, steady_run

SLICE_S = 2  # of the drain
TAKE_IN_S, DRAIN_S = 300, 300  # at most
PSS_MB, PSS_AIM_MB = 150, 100
# Heads that were tried wait for their schedule and not for the circuit; the default's third step is 5 minutes.
RETRY = ",".join(["5s"] * 12 + ["1h"])


def backlog(options, folder):
    n = count(options, 1000000, 1000)
    with rig.Sink() as healthy, rig.Sink() as dead, rig.pipeline(folder / "backlog") as p:
        dead.fail(True)
        p.add_handler(healthy.url, "--secret", "generate", name="healthy", event="dids.*")
        p.add_handler(dead.url, "--secret", "generate", "--retry", RETRY, name="dead", event="clients.*")
        scene = Scene(options, p, healthy, dead, n)
        rates = scene.steady()
        alone = scene.latencies("alone")
        yield from scene.take_in()
        beside = scene.latencies("while it waits")
        yield scene.restarts()
        drains, draining = scene.drain()
        rates += scene.steady()
        yield scene.memory()
        yield Result("backlog, drain", [d / rates[i] for i, d in enumerate(drains)], "of steady", 0.8, 1.0,
                     rates=drains, limits=rates, note=f"steady before and behind: {min(rates):,.0f} to {max(rates):,.0f}/s")
        for name, reports in (("alone", alone), ("it waits", beside), ("it drains", draining)):
            if reports:
                yield latency_row(name, reports)


def latency_row(name, reports):
    p50, ack = (statistics.median(r[key] for r in reports) / 1000 for key in ("p50_us", "ack_p99_us"))
    return Result(f"backlog, healthy p99, {name}", [r["p99_us"] / 1000 for r in reports], "ms", lower=True,
                  note=f"1,000/s; p50 {p50:.2f} ms; to the answer p99 {ack:.2f} ms")


class Scene:
    def __init__(self, options, pipeline, healthy, dead, n):
        self.options, self.p, self.healthy, self.dead, self.n = options, pipeline, healthy, dead, n
        self.paced = count(options, 3000, 100)
        self.most_mb = {}  # of the deliverer, by phase

    def healthy_load(self, n, *arguments):
        return self.p.intake("--event", "dids.hold", "--count", n, *arguments)

    def steady(self):
        """Deliveries/s to the healthy handler, while nothing waits."""
        n = count(self.options, 50000, 1000)
        arguments = self.p.intake("--event", "dids.hold", "--array", ARRAY, "--window", 2000)
        steady_run(self.p, self.healthy, arguments, n // 4, n // 4, [])
        return [steady_run(self.p, self.healthy, arguments, n, n, []) for _ in repeat(self.options, "backlog, steady")]

    def latencies(self, name, still=lambda: True):
        """Of the healthy handler at 1,000/s; as often as still() holds afterwards."""
        reports = []
        for _ in repeat(self.options, f"backlog, latency {name}"):
            self.healthy.report(reset=True)
            acks = rig.load(*self.healthy_load(self.paced, "--rate", 1000))
            provisor.wait_until(lambda: self.healthy.count()["requests"] >= self.paced, what="healthy deliveries")
            if not still():
                break
            reports.append({**self.healthy.report(), "ack_p99_us": acks["p99_us"]})
        return reports

    @contextlib.contextmanager
    def peak(self, phase):
        with watch.Peak(self.p["deliverer"].process.pid) as peak:
            yield
        self.most_mb[phase] = max(peak.most_mb, watch.pss_mb(peak.pid))

    def is_taken(self):
        return (self.p.stats("deliverer")["pending"] >= self.n and self.p.stats("emitter")["journal_rows"] == 0
                and self.p.stats("auditor")["waiting_records"] == 0)

    def take_in(self):
        rig.progress(f"backlog: {self.n} events for a dead handler")
        before = disk_bytes(self.p.data)
        with self.peak("taking in"):
            arguments = self.p.intake("--array", ARRAY, "--window", 10000, "--count", self.n)
            report = rig.load(*arguments, timeout=TAKE_IN_S)
            provisor.wait_until(self.is_taken, TAKE_IN_S, "the backlog in the queue")
            seconds = (time.monotonic_ns() - report["first_ns"]) / 1e9
        yield Result("backlog, taken in", [self.n / seconds], "events/s", note=f"{self.n:,} in {seconds:.1f} s; once")
        rig.progress("backlog: disks come to rest")
        provisor.wait_until(lambda: watch.is_still(self.p.data), 60, "disks at rest")
        grown = {name: (size - before.get(name, 0)) / self.n for name, size in disk_bytes(self.p.data).items()}
        self.pss_mb = {name: watch.pss_mb(pid) for name, pid in self.p.pids().items()}
        yield Result("backlog, on disk", [sum(grown.values())], "bytes/event", lower=True,
                     note=" ".join(f"{name} {size:.0f}" for name, size in grown.items()) + "; once")

    def restarts(self):
        """From the start of a killed deliverer until the healthy handler has an event that waited for it."""
        seconds, stage = [], self.p["deliverer"]
        for _ in repeat(self.options, "backlog, restart"):
            stage.kill().wait()
            self.healthy.report(reset=True)
            rig.load(*self.healthy_load(1))
            began_ns = time.monotonic_ns()
            stage.start()
            provisor.wait_until(lambda: self.healthy.count()["requests"], what="a delivery after the restart")
            seconds.append((self.healthy.count()["first_ns"] - began_ns) / 1e9)
            provisor.wait_until(stage.ready, what="the deliverer ready")
            if self.p.stats("deliverer")["pending"] < self.n:
                raise rig.Failed("some of the backlog is gone after a restart")
        self.most_mb["restarted"] = watch.pss_mb(stage.process.pid)
        return Result("backlog, restart to first delivery", seconds, "s", 3, 1, lower=True)

    def drain(self):
        """Rates of slices of it, alone; then the healthy handler's latency beside it; then to the end."""
        self.dead.report(reset=True)
        with self.peak("draining"):
            self.dead.fail(False)
            provisor.wait_until(lambda: self.dead.count()["requests"], what="the circuit closed")
            self.seen, self.seen_ns = 1, self.dead.count()["first_ns"]
            rates = [self.slice_rate() for _ in repeat(self.options, "backlog, drain")]
            draining = self.latencies("while it drains", lambda: self.p.stats("deliverer")["pending"] > 0)
            rig.progress("backlog: drains to its end")
            provisor.wait_until(lambda: self.p.stats("deliverer")["pending"] == 0, DRAIN_S, "the drain")
        return rates, draining

    def slice_rate(self):
        """Of the requests since the last slice; of one at least."""
        time.sleep(SLICE_S * min(1, self.options.scale))
        provisor.wait_until(lambda: self.dead.count()["requests"] > self.seen or
                            self.p.stats("deliverer")["pending"] == 0, what="another request")
        now = self.dead.count()
        requests, ns = now["requests"] - self.seen, now["last_ns"] - self.seen_ns
        if requests == 0:
            raise rig.Failed("the drain ended before it was measured")
        self.seen, self.seen_ns = now["requests"], now["last_ns"]
        return requests * 1e9 / ns

    def memory(self):
        stages = " ".join(f"{name} {mb}" for name, mb in self.pss_mb.items())
        phases = ", ".join(f"{phase} {mb}" for phase, mb in self.most_mb.items())
        return Result("backlog, deliverer's most PSS", [max(self.most_mb.values())], "MB", PSS_MB, PSS_AIM_MB,
                      lower=True, note=f"{phases}; at rest: {stages}")


def disk_bytes(data):
    """Of journal, queue and history, whatever files they have."""
    sizes = {}
    for path in data.rglob("*"):
        if path.is_file():
            name = "history" if path.parent.name == "history" else path.name.partition(".")[0]
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return {name: size for name, size in sizes.items() if name in ("journal", "queue", "history")}
