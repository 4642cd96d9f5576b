"""From one deliverer to two, and to three: the map of partitions changes while cores go on sending."""

import json
import signal
import threading

from provisor import Terminal, event, wait_until


class Traffic:
    """A core that counts up per object, one event after the other, until it is told to stop."""

    def __init__(self, pipeline, objects):
        self.sent = {n: 0 for n in range(objects)}
        self._stop = threading.Event()
        self._pipeline = pipeline
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        with self._pipeline.core() as core:
            while not self._stop.is_set():
                core.accept([event(object_id=n, data={"n": self.sent[n]}) for n in self.sent])
                for n in self.sent:
                    self.sent[n] += 1
                self._stop.wait(0.05)

    def stop(self):
        self._stop.set()
        self._thread.join()


def counters(requests):
    """Per object what came, copies left out: a stage that was killed may have sent again."""
    seen = {}
    for body in requests:
        seen.setdefault(body["event"]["object_id"], []).append(body["data"]["n"])
    return {n: list(dict.fromkeys(came)) for n, came in seen.items()}


def test_from_one_deliverer_to_two(make_pipeline, handler):
    p = make_pipeline(start=False, deliverers=2)
    one, two, router = p["deliverer"], p["deliverer1"], p["router"]
    halves = p.env["PROVISOR_ROUTER_DELIVERERS"]
    p.env["PROVISOR_ROUTER_DELIVERERS"] = f"0-63={one.endpoint('intake')}"
    one.env["PROVISOR_DELIVERER_PARTITIONS"] = "0-63"
    stages = [p["auditor"], one, router, p["emitter"]]
    for stage in stages:
        stage.start()
    wait_until(one.ready, what="the deliverer")
    down, got = [True], []
    respond = lambda r: 503 if down[0] else got.append(json.loads(r["body"])) or 200  # noqa: E731
    p.add_handler(handler(respond=respond).url, "--retry", ",".join(["2s"] * 15))
    traffic = Traffic(p, 100)
    try:
        wait_until(lambda: one.control("stats")["stats"]["pending"] > 500, what="a backlog")

        one.stop()
        one.env["PROVISOR_DELIVERER_PARTITIONS"] = "0-31"
        assert one.start().wait() == 78
        assert "provisor drain" in one.log_text()
        one.env["PROVISOR_DELIVERER_PARTITIONS"] = "0-63"
        one.start()
        wait_until(one.ready, what="the deliverer")

        drain = ("drain", "--deliverer", one.endpoint("control"))
        late = p.cli(*drain, "--timeout", "1s", "--json", check=False)
        assert late.returncode == 1
        assert json.loads(late.stdout)["pending"] > 500 and not json.loads(late.stdout)["empty"]
        down[0] = False
        assert p.cli(*drain).stdout == "empty; takes nothing new until it is restarted\n"
        assert one.control("stats")["stats"]["known_events"] == 0

        one.stop()
        router.kill(signal.SIGTERM).wait()
        p.env["PROVISOR_ROUTER_DELIVERERS"] = halves
        one.env["PROVISOR_DELIVERER_PARTITIONS"] = "0-31"
        for stage in (one, two, router):
            stage.start()
    finally:
        traffic.stop()
    total = sum(traffic.sent.values())
    wait_until(lambda: len(got) >= total, 60, "all delivered")
    assert counters(got) == {n: list(range(sent)) for n, sent in traffic.sent.items()}
    for stage in (one, two):
        wait_until(lambda s=stage: s.control("stats")["stats"]["delivered"] > 0, what="both deliver")


def test_from_two_deliverers_to_three(make_pipeline, handler):
    p = make_pipeline(start=False, deliverers=3)
    deliverers = [p["deliverer"], p["deliverer1"], p["deliverer2"]]
    old, router = deliverers[:2], p["router"]
    thirds = p.env["PROVISOR_ROUTER_DELIVERERS"]
    mine = [d.env["PROVISOR_DELIVERER_PARTITIONS"] for d in deliverers]
    for d, half in zip(old, ("0-31", "32-63")):
        d.env["PROVISOR_DELIVERER_PARTITIONS"] = half
    p.env["PROVISOR_ROUTER_DELIVERERS"] = " ".join(
        f"{d.env['PROVISOR_DELIVERER_PARTITIONS']}={d.endpoint('intake')}" for d in old)
    p.env["PROVISOR_CLI_DELIVERERS"] = " ".join(d.endpoint("control") for d in old)
    for stage in [p["auditor"], *old, router, p["emitter"]]:
        stage.start()
    for d in old:
        wait_until(d.ready, what=d.name)
    down, got = [True], []
    respond = lambda r: 503 if down[0] else got.append(json.loads(r["body"])) or 200  # noqa: E731
    p.add_handler(handler(respond=respond).url, "--retry", ",".join(["2s"] * 30))
    traffic = Traffic(p, 100)
    try:
        for d in old:
            wait_until(lambda d=d: d.control("stats")["stats"]["pending"] > 200, what="a backlog")
        for d, third, half in zip(old, mine, ("0-31", "32-63")):
            d.stop()
            d.env["PROVISOR_DELIVERER_PARTITIONS"] = third
            assert d.start().wait() == 78, "both lose partitions"
            assert "provisor drain" in d.log_text()
            d.env["PROVISOR_DELIVERER_PARTITIONS"] = half
            d.start()
            wait_until(d.ready, what=d.name)
        draining = Terminal(p, "drain", "--timeout", "60s")
        wait_until(lambda: draining.shown.count(b"\rpending ") >= 3, what="progress")
        down[0] = False
        assert draining.end() == (0, "empty; takes nothing new until it is restarted\n")
        assert b"pending 0, ids 0, records 0" in draining.shown.splitlines()[-1]

        for stage in (*old, router):
            stage.stop()
        p.env["PROVISOR_ROUTER_DELIVERERS"] = thirds
        for d, third in zip(deliverers, mine):
            d.env["PROVISOR_DELIVERER_PARTITIONS"] = third
        for stage in (*deliverers, router):
            stage.start()
        before = traffic.sent[0]
        wait_until(lambda: traffic.sent[0] > before + 2, what="more traffic")
    finally:
        down[0] = False
        traffic.stop()
    total = sum(traffic.sent.values())
    wait_until(lambda: len(got) >= total, 60, "all delivered")
    assert counters(got) == {n: list(range(sent)) for n, sent in traffic.sent.items()}
    assert len(got) == total, "nothing was killed: nothing comes twice"
    for d in deliverers:
        wait_until(lambda d=d: d.control("stats")["stats"]["delivered"] > 0, what="all three deliver")
