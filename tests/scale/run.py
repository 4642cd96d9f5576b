#!/usr/bin/python3
"""Dead, hanging and huge: what many waiting deliveries cost, and whom they disturb. Real processes.

Usage: run.py [--bin DIR] [--json] [--seconds N] [--scale X] [SCENARIO...]     default: all

dead        a dead handler with 100,000 waiting objects: probes, and what is written between them
hanging     a healthy handler without and with 100 that hang: latency and throughput
sudden      the same, but the 100 had answered before
suspend     a handler that only failed for 3 s: suspended, audited, shown; its backlog; enable
objects     a million objects wait for a dead handler: memory, restart, a healthy one, the drain
hot         the same with one object of 100,000 among them
share       a million come, the dead handler may hold half of them

Each prints its numbers; --scale 0.01 makes everything small. Exits 1 when something that must hold
on any machine does not: counts, order, memory, a restart in 3 s, half the rate beside those that hang.
Latencies are printed for the reader."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

PSS_MAX_MB = 150
RESTART_MAX_S = 3
TAKE_IN_S = 600  # to wait for a backlog
AFTER_PROBE_S = 3  # its outcome is committed and marked, and a second later WALs are tidied up


class Scene:
    """One scenario's pipeline, sink and numbers."""

    def __init__(self, options, **env):
        self.seconds, self.scale, self.numbers, self.wrong = options.seconds, options.scale, {}, []
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="provisor-scale-"))
        self.sink = Sinks()
        self.pipeline = provisor.Pipeline(self.dir, routers=1, deliverers=1, env={
            f"PROVISOR_{key}": str(value) for key, value in env.items()}).start()

    def close(self):
        self.pipeline.kill()
        self.sink.close()
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def count(self, n):
        return max(1, int(n * self.scale))

    def note(self, **numbers):
        self.numbers.update(numbers)

    def must(self, what, holds):
        if not holds:
            self.wrong.append(what)

    @property
    def pid(self):
        return self.pipeline["deliverer"].process.pid

    @property
    def intake(self):
        return self.pipeline.env["PROVISOR_EMITTER_INTAKE"]

    def add(self, name, event, *extra):
        return self.pipeline.add_handler(self.sink.url(name), *extra, name=name, event=event)

    def handler(self, id_):
        """As the deliverer sees it."""
        answer = self.pipeline["deliverer"].control("handlers", timeout=30)
        return next((h for h in answer["handlers"] if h["handler_id"] == id_), {"pending": 0})

    def wait_pending(self, id_, count):
        provisor.wait_until(lambda: self.handler(id_)["pending"] >= count, TAKE_IN_S,
                            f"{count} pending")

    def wait_idle(self, name, count):
        """The sink has had so many for this handler since the last reset."""
        provisor.wait_until(lambda: self.sink.peek(name)["answers"] >= count, 120,
                            f"{count} deliveries to {name}")

    def latency(self, name, events_id, per_s=300, seconds=None):
        """Of a handler that gets a paced load."""
        self.sink.stats(name)
        count = load.push_paced(self.intake, lambda i: load.event(events_id, i % 997, time.time_ns()),
                                per_s, seconds or self.seconds)
        self.wait_idle(name, count)
        stats = self.sink.stats(name)
        return {key: stats[key] for key in ("p50_ms", "p99_ms", "max_ms")}

    def throughput(self, name, events_id, count):
        self.sink.stats(name)
        load.push_all(self.intake, (load.event(events_id, i % 997, time.time_ns())
                                    for i in range(count)))
        self.wait_idle(name, count)
        return self.sink.stats(name)["per_s"]

    def compare(self, label, name, events_id):
        """Latency now against the one noted as alone."""
        now = self.latency(name, events_id)
        self.numbers[f"healthy_{label}"] = now
        self.numbers[f"p99_times_{label}"] = round(
            now["p99_ms"] / self.numbers["healthy_alone"]["p99_ms"], 2)


def dead(options):
    """Between probes nothing is written; there is one probe at a time."""
    with Scene(options, DELIVERER_BREAKER_PROBE="4s") as scene:
        scene.sink.set("dead", mode="error", delay_ms=50)
        id_ = scene.add("dead", "clients.*")
        count = scene.count(100_000)
        load.push_all(scene.intake, (load.event("clients.update", i, 1) for i in range(count)))
        scene.wait_pending(id_, count)
        provisor.wait_until(lambda: scene.handler(id_)["circuit"] != "closed", what="open circuit")
        settle_disk(scene)
        scene.sink.stats("dead")
        observe_disk(scene, max(20, scene.seconds * 3))
        stats = scene.sink.stats("dead")
        scene.note(waiting=scene.handler(id_)["pending"], probes=stats["arrivals"],
                   most_probes_at_once=stats["most_at_once"], pss_mb=watch.pss_mb(scene.pid))
        scene.must("one probe at a time", stats["most_at_once"] <= 1 and stats["arrivals"] > 0)
        scene.must("nothing is written between probes", not scene.numbers["quiet_writes"])
        return scene.numbers, scene.wrong


def queue_state(scene):
    """Others write what their own ten-second figures cost."""
    state = watch.files_state(scene.pipeline.data)
    return {path: value for path, value in state.items() if "/queue.db" in path}


def settle_disk(scene):
    """Until what came in is on disk everywhere and only probes are left."""
    provisor.wait_until(lambda: watch.is_still(scene.pipeline.data), TAKE_IN_S, "disks at rest")


def observe_disk(scene, seconds):
    """What is written while no probe was lately, and what probes cost in all."""
    began_bytes, quiet_samples, written = watch.written_bytes(scene.pid), 0, set()
    last, last_probes, probed_s = queue_state(scene), -1, time.monotonic()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        state = queue_state(scene)
        probe = scene.sink.peek("dead")
        if probe["arrivals"] != last_probes or probe["at_once"]:
            last_probes, probed_s = probe["arrivals"], time.monotonic()
        if time.monotonic() - probed_s > AFTER_PROBE_S:
            quiet_samples += 1
            written |= {path for path in state if state[path] != last.get(path)}
        last = state
    scene.note(observed_s=seconds, quiet_samples=quiet_samples, quiet_writes=sorted(pathlib.Path(path).name for path in written),
               deliverer_bytes=watch.written_bytes(scene.pid) - began_bytes)


def hang(options, answered_before):
    with Scene(options) as scene:
        names = [f"hang-{i}" for i in range(scene.count(100))]
        for name in names:
            scene.sink.set(name, mode="ok" if answered_before else "hang")
            scene.add(name, "dids.*")
        scene.add("healthy", "clients.*")
        time.sleep(1)  # the router and the deliverer read the table each 500 ms
        if answered_before:
            load.push_all(scene.intake, [load.event("dids.update", i, 1) for i in range(16)])
            for name in names:
                scene.wait_idle(name, 16)
                scene.sink.set(name, mode="hang")
        burst = scene.count(20_000)
        scene.latency("healthy", "clients.update", seconds=2)  # warm
        scene.note(hanging=len(names), healthy_alone=scene.latency("healthy", "clients.update"),
                   per_s_alone=scene.throughput("healthy", "clients.update", burst))
        load.push_all(scene.intake, [load.event("dids.update", i, 2) for i in range(64)])
        scene.compare("at_first", "healthy", "clients.update")
        scene.compare("later", "healthy", "clients.update")
        scene.note(per_s_beside=scene.throughput("healthy", "clients.update", burst),
                   hanging_requests=sum(scene.sink.peek(name)["at_once"] for name in names))
        scene.must("requests hang", scene.numbers["hanging_requests"] > 0)
        scene.must("the healthy one's rate: at least half",
                   2 * scene.numbers["per_s_beside"] >= scene.numbers["per_s_alone"])
        return scene.numbers, scene.wrong


def hanging(options):
    return hang(options, False)


def sudden(options):
    return hang(options, True)


def suspend(options):
    with Scene(options, DELIVERER_SUSPEND_AFTER="3s", DELIVERER_BREAKER_PROBE="200ms") as scene:
        scene.sink.set("dead", mode="error")
        id_ = scene.add("dead", "clients.*", "--retry", "200ms,500ms,1s,1s,1s,1s,1s,1s")
        count = scene.count(2_000)
        load.push_all(scene.intake, (load.event("clients.update", i // 2, i) for i in range(count)))
        show = lambda: scene.pipeline.cli_json("handler", "show", str(id_))[0]  # noqa: E731
        began = time.monotonic()
        provisor.wait_until(lambda: show()["status"] == "suspended", what="suspended")
        took_s = round(time.monotonic() - began, 1)
        provisor.wait_until(lambda: scene.pipeline.records(["handler.suspended"]), what="its record")
        listed = next(h for h in scene.pipeline.cli_json("handler", "list") if h["id"] == id_)
        scene.must("handler list shows it", listed["status"] == "suspended")
        provisor.wait_until(lambda: scene.sink.peek("dead")["at_once"] == 0, what="nothing in flight")
        scene.sink.set("dead", mode="ok")
        load.push_all(scene.intake, (load.event("clients.update", i // 2, count + i)
                                     for i in range(count)))
        scene.wait_pending(id_, 2 * count)
        scene.must("what waits and what comes parks", scene.sink.stats("dead")["arrivals"] == 0)
        scene.pipeline.cli("handler", "enable", str(id_))
        scene.wait_idle("dead", 2 * count)
        stats = scene.sink.stats("dead")
        scene.must("in order", stats["disordered"] == 0)
        scene.note(suspended_after_s=took_s, reason=show().get("reason"), parked=2 * count,
                   delivered_after_enable=stats["ok"], per_s=stats["per_s"])
        return scene.numbers, scene.wrong


def backlog(options, make_events, count, held, **env):
    """A backlog of a dead handler, and a healthy handler beside it."""
    with Scene(options, DELIVERER_BREAKER_PROBE="500ms", **env) as scene:
        scene.sink.set("dead", mode="error")
        dead_id = scene.add("dead", "clients.*")
        scene.add("healthy", "dids.*")
        time.sleep(1)  # the router and the deliverer read the table each 500 ms
        scene.latency("healthy", "dids.update", seconds=2)  # warm
        scene.note(healthy_alone=scene.latency("healthy", "dids.update"),
                   pss_empty_mb=watch.pss_mb(scene.pid))
        take_in(scene, dead_id, make_events, count, held)
        scene.compare("beside", "healthy", "dids.update")
        restart(scene, dead_id, held)
        scene.compare("restarted", "healthy", "dids.update")
        drain(scene, dead_id)
        return scene.numbers, scene.wrong


def take_in(scene, dead_id, make_events, count, held):
    stats = lambda name: scene.pipeline[name].control("stats", timeout=30)["stats"]  # noqa: E731
    began = time.monotonic()
    with watch.Peak(scene.pid) as peak:
        accepted_per_s = load.push_all(scene.intake, make_events(count))
        scene.wait_pending(dead_id, held)
        provisor.wait_until(lambda: stats("emitter")["journal_rows"] == 0, TAKE_IN_S, "the journal")
        taken_per_s = round(count / (time.monotonic() - began))
    settle_disk(scene)
    pss = {name: watch.pss_mb(stage.process.pid) for name, stage in scene.pipeline.stages.items()}
    deliverer = stats("deliverer")
    scene.note(accepted_per_s=accepted_per_s, taken_per_s=taken_per_s, pss_most_mb=peak.most_mb,
               pss_mb=pss, waiting=scene.handler(dead_id)["pending"],
               lanes=scene.handler(dead_id)["lanes"], exhausted=deliverer["exhausted"],
               store_mb=deliverer["store_bytes"] >> 20)
    scene.must(f"at most {PSS_MAX_MB} MB", max(peak.most_mb, pss["deliverer"]) < PSS_MAX_MB)


def restart(scene, dead_id, held):
    stage = scene.pipeline["deliverer"]
    stage.kill()
    stage.wait()
    scene.sink.stats("healthy")
    load.push_all(scene.intake, [load.event("dids.update", 12, time.time_ns())])
    began = time.monotonic()
    stage.start()
    most_mb = 0
    while not stage.ready():
        most_mb = max(most_mb, watch.pss_mb(scene.pid))
        time.sleep(0.02)
    ready_s = round(time.monotonic() - began, 2)
    scene.wait_idle("healthy", 1)
    scene.note(restart_ready_s=ready_s, restart_delivery_s=round(time.monotonic() - began, 2),
               restart_pss_most_mb=most_mb, restart_pss_mb=watch.pss_mb(scene.pid))
    scene.must(f"ready within {RESTART_MAX_S} s", ready_s < RESTART_MAX_S)
    scene.must("all is still there", scene.handler(dead_id)["pending"] >= held)
    scene.must(f"at most {PSS_MAX_MB} MB after a restart", watch.pss_mb(scene.pid) < PSS_MAX_MB)


def drain(scene, dead_id):
    """At 20 ms each the window is what bounds it; then as fast as it goes."""
    scene.sink.set("dead", mode="ok", delay_ms=20)
    began = time.monotonic()
    provisor.wait_until(lambda: scene.handler(dead_id)["circuit"] == "closed", 60, "closed circuit")
    scene.note(closed_after_s=round(time.monotonic() - began, 1))
    scene.sink.stats("dead")
    time.sleep(scene.seconds)
    slow = scene.sink.set("dead", delay_ms=0)
    scene.note(drain_window=slow["most_at_once"], drain_20ms_per_s=slow["per_s"])
    if scene.handler(dead_id)["pending"] > 64:
        scene.must("the drain fills the window", slow["most_at_once"] == 16)
    scene.compare("draining", "healthy", "dids.update")
    provisor.wait_until(lambda: scene.handler(dead_id)["pending"] == 0
                        or time.monotonic() - began > scene.drain_s, scene.drain_s + 60, "the drain")
    fast = scene.sink.stats("dead")
    scene.note(drain_per_s=fast["per_s"], drained=fast["ok"], disordered=fast["disordered"],
               left=scene.handler(dead_id)["pending"], pss_drained_mb=watch.pss_mb(scene.pid),
               in_all_s=round(time.monotonic() - began, 1))
    scene.must("in order", fast["disordered"] == 0)


def objects(options):
    count = max(1, int(1_000_000 * options.scale))
    return backlog(options, lambda n: (load.event("clients.update", i, 1) for i in range(n)),
                   count, count)


def hot_events(count):
    """One event in ten is of object 7."""
    for i in range(count):
        yield load.event("clients.update", 7 if i % 10 == 0 else 1_000_000 + i, i)


def hot(options):
    count = max(1, int(1_000_000 * options.scale))
    return backlog(options, hot_events, count, count)


def share(options):
    count = max(1000, int(1_000_000 * options.scale))
    return backlog(options, lambda n: (load.event("clients.update", i, 1) for i in range(n)),
                   count, count // 2, DELIVERER_QUEUE_MAX=count)


SCENARIOS = {f.__name__: f for f in (dead, hanging, sudden, suspend, objects, hot, share)}


def show(name, numbers, wrong, as_json):
    if as_json:
        print(json.dumps({"scenario": name, **numbers, "wrong": wrong}), flush=True)
        return
    print(name)
    for key, value in numbers.items():
        print(f"  {key:24} {value}")
    for what in wrong:
        print(f"  WRONG: {what}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--scale", type=float, default=1, help="of every count")
    parser.add_argument("--drain", type=int, default=60, help="seconds of each drain at most")
    options = parser.parse_args()
    os.environ["PROVISOR_BIN"] = options.bin
    global load, provisor, watch, Sinks
    import load, provisor, watch  # noqa: E401, PLC0415
    from sink import Sinks  # noqa: PLC0415
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    Scene.drain_s = options.drain
    failed = False
    for name in options.scenario or SCENARIOS:
        numbers, wrong = SCENARIOS[name](options)
        show(name, numbers, wrong, options.json)
        failed |= bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
