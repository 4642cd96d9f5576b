"""What scenarios share: repetitions, and runs that begin and end with an empty pipeline."""

import rig
from result import Result

ARRAY = 100


def count(options, full, least=1):
    return max(least, int(full * options.scale))


def repeat(options, name):
    for n in range(options.repeat):
        rig.progress(f"{name}: {n + 1} of {options.repeat}")
        yield n


def steady_run(p, sink, arguments, n_events, n_requests, meters):
    """Sends, waits for the end; returns requests/s from the first event sent until everything is done."""
    sink.report(reset=True)
    accepted = p.stats("emitter")["accepted"]
    meter = rig.Meter(p.pids(sink=sink.process.pid))
    report = rig.load(*arguments, "--count", n_events)
    end_ns = p.wait_finished(accepted + n_events)
    meters.append(meter.read(n_events, report))
    got = sink.report()["requests"]
    if got != n_requests:
        raise rig.Failed(f"{got} requests at the sink, not {n_requests}")
    return n_requests * 1e9 / (end_ns - report["first_ns"])


def steady_rows(options, name, limit, p, sink, arguments, n_events, bar, aim, fan=1, unit="of (a)"):
    """Warms up once, then alternates the limit and the pipeline. fan: handlers of each event."""
    ratios, rates, limits, meters = [], [], [], []
    steady_run(p, sink, arguments, n_events // 4, n_events // 4 * fan, [])
    for _ in repeat(options, name):
        limits.append(limit.measure())
        rates.append(steady_run(p, sink, arguments, n_events, n_events * fan, meters))
        ratios.append(rates[-1] / limits[-1])
    return Result(name, ratios, unit, bar, aim, rates=rates, limits=limits, meters=meters)


def latency_rows(options, p, sink, rate, n, bars, aims, name="latency"):
    arrivals, acks, meters = [], [], []
    for _ in repeat(options, f"{name} at {rate}/s"):
        sink.report(reset=True)
        accepted = p.stats("emitter")["accepted"]
        meter = rig.Meter(p.pids(sink=sink.process.pid))
        acks.append(rig.load(*p.intake("--count", n, "--rate", rate)))
        meters.append(meter.read(n, acks[-1]))
        p.wait_finished(accepted + n)
        arrivals.append(sink.report())
    in_ms = lambda reports, key: [r[key] / 1000 for r in reports]  # noqa: E731
    for key, bar, aim in (("p50_us", bars[0], aims[0]), ("p99_us", bars[1], aims[1]), ("p999_us", None, None)):
        quantile = key.removesuffix("_us").replace("p999", "p99.9")
        yield Result(f"{name} {rate}/s, arrival {quantile}", in_ms(arrivals, key), "ms", bar, aim, lower=True,
                     meters=meters if key == "p50_us" else ())
    for key in ("p50_us", "p99_us", "p999_us"):
        quantile = key.removesuffix("_us").replace("p999", "p99.9")
        yield Result(f"{name} {rate}/s, answer {quantile}", in_ms(acks, key), "ms", None, None, lower=True)
