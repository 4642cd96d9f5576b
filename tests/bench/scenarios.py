"""The benchmark's scenarios. Each is a generator of results (bench.Result): a name, its repetitions, what they are
measured in, and the bar."""

import time

import idle
import rig
from backlog import backlog
from history import history
from limits import all_limits
from result import Result
from runs import ARRAY, count, latency_rows, repeat, steady_rows, steady_run

FAN = 5
MANY = 10000
SYNC_MS = 5
LARGE_BYTES = 20000
WINDOWS = (1, 2, 4, 8, 16, 32, 64)


def steady(options, folder):
    """1 handler, a saturating core: without keys, with 1,000,000 keys remembered, and pushed."""
    n = count(options, 100000)
    limit = rig.Limit()
    with rig.Sink() as sink, rig.pipeline(folder / "steady") as p:
        p.add_handler(sink.url, "--secret", "generate")
        arguments = p.intake("--array", ARRAY, "--window", 2000)
        yield steady_rows(options, "steady", limit, p, sink, arguments, n, 0.6, 0.8)
        yield steady_rows(options, "steady, single requests", limit, p, sink, p.intake(), n, None, None)
        yield steady_rows(options, "steady, pushed", limit, p, sink, p.push(), n, None, None)
    with rig.Sink() as sink, rig.pipeline(folder / "keys") as p:
        remember(options, p)
        p.add_handler(sink.url, "--secret", "generate")
        keyed = Keyed(p.intake("--array", ARRAY, "--window", 2000))
        yield steady_rows(options, "steady, with keys", limit, p, sink, keyed, n, 0.5, 0.7)


def remember(options, p):
    """Fills the idempotency index with events that nothing matches."""
    n = count(options, 1000000)
    rig.progress(f"steady with keys: {n} keys to be remembered")
    rig.load(*p.intake("--array", ARRAY, "--count", n, "--key", "filling", "--size", 100), timeout=240)
    p.wait_finished(n, timeout=240)


class Keyed(tuple):
    """Arguments of a load that end with a key of their own each time they are used."""

    def __iter__(self):
        yield from super().__iter__()
        yield from ("--key", f"k{time.monotonic_ns()}")


def latency(options, folder):
    """At a fixed rate, from the core's send to the arrival at the handler, and to the answer."""
    with rig.Sink() as sink, rig.pipeline(folder / "latency") as p:
        p.add_handler(sink.url, "--secret", "generate")
        for rate, bars, aims in ((1000, (1.2, 5), (0.6, 1.5)), (5000, (2, 8), (1.2, 3))):
            n = count(options, 4 * rate, 100)
            rig.load(*p.intake("--count", rate, "--rate", rate))
            p.wait_finished(0)
            yield from latency_rows(options, p, sink, rate, n, bars, aims)


def acceptance(options, folder):
    """Accepted/s while the router is stopped: singles and arrays, without and with keys."""
    variants = (("singles", 1, (), None, None, count(options, 100000)),
                ("arrays of 100", ARRAY, (), 100000, 200000, count(options, 300000)),
                ("singles, with keys", 1, ("--key",), None, None, count(options, 100000)),
                ("arrays of 100, with keys", ARRAY, ("--key",), 40000, 80000, count(options, 300000)))
    for name, array, key, bar, aim, n in variants:
        rates, meters = [], []
        for i in repeat(options, f"acceptance, {name}"):
            with rig.pipeline(folder / f"acceptance{array}{len(key)}{i}", without=("router",)) as p:
                meter = rig.Meter({"emitter": p["emitter"].process.pid, "auditor": p["auditor"].process.pid})
                report = rig.load(*p.intake("--array", array, "--count", n, "--window", 10000 if array > 1 else 1000),
                                  *(("--key", f"k{i}") if key else ()))
                rates.append(n * 1e9 / (report["last_ns"] - report["first_ns"]))
                meters.append(meter.read(n, report))
        yield Result(f"acceptance, {name}", rates, "events/s", bar, aim, meters=meters)


def fan_out(options, folder):
    """Each event to 5 handlers; deliveries/s."""
    n = count(options, 20000)
    with rig.Sink() as sink, rig.pipeline(folder / "fan-out") as p:
        for i in range(FAN):
            p.add_handler(sink.url, "--secret", "generate", name=f"handler{i}")
        arguments = p.intake("--array", ARRAY, "--window", 2000)
        yield steady_rows(options, f"fan-out, {FAN} handlers", rig.Limit(), p, sink, arguments, n, 0.7, 0.9, fan=FAN)


def hot_object(options, folder):
    """All events of one object, to a handler that takes 1 ms: what one request after the other gets."""
    n = count(options, 4000)
    slow = ("--delay-us", 1000)
    with rig.Sink(*slow) as sink, rig.pipeline(folder / "hot-object") as p:
        p.add_handler(sink.url, "--secret", "generate")
        arguments = p.intake("--array", ARRAY, "--window", 2000, "--objects", 1)
        limit = rig.Limit(slow, concurrent=(1,))
        yield steady_rows(options, "hot object, 1 ms", limit, p, sink, arguments, n, 0.7, 0.9, unit="of 1/lat.")


def large(options, folder):
    """Events of 20 kB; no bar."""
    n = count(options, 20000)
    with rig.Sink() as sink, rig.pipeline(folder / "large") as p:
        p.add_handler(sink.url, "--secret", "generate")
        arguments = p.intake("--array", 10, "--window", 500, "--size", LARGE_BYTES)
        limit = rig.Limit(body_bytes=LARGE_BYTES)
        yield steady_rows(options, "large, 20 kB", limit, p, sink, arguments, n, None, None)


def tls(options, folder):
    """Steady over HTTPS, connections kept, the certificate checked; no bar. The limit does the same."""
    n = count(options, 100000)
    certificate = rig.Tls(folder)
    with rig.Sink(tls=certificate) as sink, rig.pipeline(folder / "tls") as p:
        p.add_handler(sink.url, "--secret", "generate", "--ca-file", str(certificate.certificate))
        arguments = p.intake("--array", ARRAY, "--window", 2000)
        yield steady_rows(options, "tls", rig.Limit(tls=certificate), p, sink, arguments, n, None, None)


def idle_pipeline(options, folder):
    """All four together, after some work, when nothing happens."""
    seconds = count(options, 20)
    runs = [idle.measure(folder / f"idle{n}", seconds) for n in repeat(options, "idle")]
    wake_us = float(rig.run_program("limit_idle", rig.WAKES, seconds))
    wakes = runs[-1][-1]["wakes_per_s"]
    bare = f"; {wakes:.0f} wake-ups/s, of which one costs a process that only waits {wake_us:.0f} us: " \
           f"{wakes * wake_us / 1e4:.2f}%"
    for key, unit, bar, aim in (("cpu_percent", "% of core", 0.5, 0.1), ("pss_mb", "MB PSS", 40, 28)):
        note = " ".join(f"{row['process']} {row[key]}" for row in runs[-1][:-1]) + (bare if key == "cpu_percent" else "")
        yield Result(f"idle, {unit}", [rows[-1][key] for rows in runs], unit, bar, aim, lower=True, note=note)


def many_handlers(options, folder):
    """1 handler, and the same with 9,999 more on other events, or failing in their filter: the CPU of an event, as a
    ratio."""
    others = (("on other events", ("--event", "dids.hold"), 1.1, 1.02),
              ("failing in the filter", ("--event", "clients.*", "--filter", '/data/pad = "never"'), 3, 1.3))
    for name, arguments, bar, aim in others:
        yield many_row(options, folder / name.replace(" ", "-"), name, arguments, bar, aim)


def many_row(options, folder, name, other, bar, aim):
    n = count(options, 50000)
    rows = {1: [], MANY: []}
    with rig.Sink() as sink, rig.pipeline(folder / "one") as one, rig.pipeline(folder / "many") as many:
        for p in (one, many):
            p.add_handler(sink.url, "--secret", "generate", event="clients.*")
        other_id = int(many.cli("handler", "add", "--name", "other", "--task", sink.url, *other).stdout.split()[0])
        many.copy_handler(other_id, MANY - 2)
        for p in (one, many):  # warms up
            steady_run(p, sink, p.intake("--array", ARRAY, "--window", 2000), n // 4, n // 4, [])
        for _ in repeat(options, f"many handlers, {name}"):
            for p, n_handlers in ((one, 1), (many, MANY)):
                arguments = p.intake("--array", ARRAY, "--window", 2000)
                steady_run(p, sink, arguments, n, n, rows[n_handlers])
    ratios = [b["cpu_us_all"] / a["cpu_us_all"] for a, b in zip(rows[1], rows[MANY])]
    return Result(f"many handlers, {name}", ratios, "of 1", bar, aim, lower=True, meters=rows[MANY],
                  note=f"with 1 handler {' '.join(str(m['cpu_us_all']) for m in rows[1])} us/event")


def slow_disk(options, folder):
    """Each sync of a store takes 5 ms longer: deliveries/s against the fast disk in turns, and latency."""
    n = count(options, 100000)
    fast_rates, rates, meters = [], [], []
    with rig.Sink() as sink, rig.pipeline(folder / "fast") as fast, \
            rig.pipeline(folder / "slow", before=lambda p: p.slow_down(SYNC_MS)) as slow:
        for p in (fast, slow):
            p.add_handler(sink.url, "--secret", "generate")
            steady_run(p, sink, p.intake("--array", ARRAY, "--window", 2000), n // 4, n // 4, [])  # warms up
        for _ in repeat(options, "slow disk"):
            for p, into, meter in ((fast, fast_rates, []), (slow, rates, meters)):
                into.append(steady_run(p, sink, p.intake("--array", ARRAY, "--window", 2000), n, n, meter))
        ratios = [b / a for a, b in zip(fast_rates, rates)]
        yield Result(f"slow disk, {SYNC_MS} ms a sync", ratios, "of fast", 0.8, 0.95, rates=rates, limits=fast_rates,
                     meters=meters)
        n = count(options, 4000, 100)
        yield from latency_rows(options, slow, sink, 1000, n, (None, 30), (None, 20), "slow disk")
        slow.check_slowed(SYNC_MS)


def concurrency(options, folder):
    """How deliveries/s to a handler that takes 2 ms grow with its window, against libcurl alone with as many at a time;
    no bar."""
    slow = ("--delay-us", 2000)
    with rig.Sink(*slow) as sink, rig.pipeline(folder / "concurrency") as p:
        handler_id = p.add_handler(sink.url, "--secret", "generate")
        arguments = p.intake("--array", ARRAY, "--window", 2000)
        for window in WINDOWS:
            p.cli("handler", "update", str(handler_id), "--window", str(window))
            time.sleep(1)  # the deliverer looks at the table each 500 ms
            n = count(options, 1000 * window, 100)
            limit = rig.Limit(slow, concurrent=(window,))
            yield steady_rows(options, f"concurrency, window {window}", limit, p, sink, arguments, n, None, None)


ALL = {"limits": all_limits, "steady": steady, "latency": latency, "acceptance": acceptance, "fan-out": fan_out,
       "hot-object": hot_object, "large": large, "tls": tls, "idle": idle_pipeline, "many-handlers": many_handlers,
       "history": history, "backlog": backlog, "slow-disk": slow_disk, "concurrency": concurrency}
