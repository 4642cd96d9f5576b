"""The store of one stage is full, or of all, and has room again: what is sent meanwhile, and that
everything goes on by itself. Needs root, for small disks."""

import pytest

from provisor import event, wait_until
from test_emitter_full import SmallDisk

STORES = ("emitter", "deliverer", "auditor")


@pytest.fixture
def small_disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    if not disk.mounted:
        pytest.skip("no small disk can be mounted")
    yield disk
    disk.close()


def says_full(stage):
    ping = stage.control("ping")
    return not ping["ready"] and "full" in ping["why"]


def stats(stage):
    return stage.control("stats")["stats"]


def fill_until_full(pipeline, names, disk, core):
    """Events are sent until one of the stages has met the end of its disk. Returns how many; the
    answers are still to be read."""
    sent = 0
    full = lambda: any(says_full(pipeline[name]) for name in names)  # noqa: E731
    disk.fill()
    while not full() or (names == ("deliverer",) and not offers_again(pipeline["emitter"], full)):
        assert sent < 900, "more unread answers than an emitter keeps"
        for _ in range(10):
            core.send(event(object_id=sent % 40, data={"n": sent, "pad": "x" * 4000}))
            sent += 1
        disk.fill()  # what was given back meanwhile
    return sent


def offers_again(emitter, full):
    """Whether there is something without a receipt that is offered again while the store stays
    full. A retry's outcome may have met the end of the disk with every receipt given."""
    before = stats(emitter)
    if before["unreceipted"] == 0:
        return False
    wait_until(lambda: stats(emitter)["resent"] > before["resent"] or not full(), what="the next offer")
    return full()


def per_event(h, since=0):
    counts = {}
    for request in h.requests[since:]:
        counts[request["headers"]["webhook-id"]] = counts.get(request["headers"]["webhook-id"], 0) + 1
    return counts


@pytest.mark.parametrize("names", [*((name,) for name in STORES), STORES], ids=[*STORES, "all"])
def test_nothing_is_sent_over_and_over_while_a_store_is_full(make_pipeline, handler, small_disk, names):
    p = make_pipeline(start=False, routers=1, deliverers=1, env={"PROVISOR_DISK_MIN_FREE": "0"})
    for name in names:
        p[name].data = small_disk.folder / name
    p.start()
    down = [True]
    good, bad = handler(), handler(respond=lambda r: 404 if down[0] else 200)
    p.add_handler(good.url, name="good")
    p.add_handler(bad.url, "--retry", ",".join(["100ms"] * 32), "--max-age", "1d", name="bad")
    with p.core() as core:
        core.accept([event(object_id=n, data={"n": -1}) for n in range(40)])
        good.wait(40)
        sent = fill_until_full(p, names, small_disk, core)
        if names == ("deliverer",):
            in_flight = stats(p["deliverer"])["in_flight"]
            at = bad.count()
            resent = stats(p["emitter"])["resent"]
            wait_until(lambda: stats(p["emitter"])["resent"] >= resent + 2, what="what has no receipt offered again")
            assert bad.count() - at <= in_flight, "no attempt begins that could not be recorded"
        elif names == ("auditor",):
            wait_until(lambda: good.count() == 40 + sent, what="deliveries that history cannot record yet")
        assert set(per_event(good).values()) == {1}
        small_disk.free()
        down[0] = False
        answers = [core.recv(timeout=30) for _ in range(sent)]
        accepted = sum(b'"accepted"' in a for a in answers)
        assert accepted + sum(b'"busy"' in a for a in answers) == sent
        assert "emitter" in names or accepted == sent
        wait_until(lambda: b'"accepted"' in (core.send(event(object_id=50)) or core.recv()), what="room")
    total = 40 + accepted + 1
    good.wait(total)
    wait_until(lambda: stats(p["deliverer"])["pending"] == 0, 40, "all delivered")
    wait_until(lambda: stats(p["emitter"])["journal_rows"] == 0, 30, "an empty journal")
    assert len(per_event(good)) == total and set(per_event(good).values()) == {1}
    assert len(per_event(bad)) == total
    delivered = lambda: [r["delivery_id"] for r in p.records(["delivery.delivered"])]  # noqa: E731
    wait_until(lambda: len(delivered()) >= 2 * total, 30, "history of all")
    assert len(delivered()) == len(set(delivered())) == 2 * total
    ids = [r["audit_id"] for r in p.records()]
    assert ids == list(range(1, len(ids) + 1))
    for stage in p.stages.values():
        assert stage.alive(), stage.log_text()
        assert stage.log_text().count("event=started") == 1


def test_restarts_on_a_full_disk_send_nothing(make_pipeline, handler, small_disk):
    """Who could not record an outcome before it died must not begin again with each life."""
    p = make_pipeline(start=False, routers=1, deliverers=1, env={"PROVISOR_DISK_MIN_FREE": "0"})
    deliverer, emitter = p["deliverer"], p["emitter"]
    deliverer.data = small_disk.folder / "deliverer"
    p.start()
    down = [True]
    h = handler(respond=lambda r: 404 if down[0] else 200)
    p.add_handler(h.url, "--retry", ",".join(["100ms"] * 32), "--max-age", "1d")
    with p.core() as core:
        core.accept([event(object_id=n, data={"n": -1}) for n in range(40)])
        h.wait(40)
        sent = fill_until_full(p, ("deliverer",), small_disk, core)
        for _ in range(sent):
            assert b'"accepted"' in core.recv()
    deliverer.kill().wait()
    at = h.count()
    for life in range(3):
        small_disk.fill()
        loaded = deliverer.log_text().count("event=queue_loaded")
        deliverer.start()
        wait_until(lambda n=loaded: not deliverer.alive() or deliverer.log_text().count("event=queue_loaded") > n,
                   what="a deliverer that has read its queue, or could not")
        if deliverer.alive():
            resent = stats(emitter)["resent"]
            wait_until(lambda n=resent: stats(emitter)["resent"] > n or stats(emitter)["unreceipted"] == 0,
                       what="what has no receipt offered again")
        assert h.count() == at, f"life {life}"
        deliverer.kill().wait()
    small_disk.free()
    down[0] = False
    deliverer.start()
    wait_until(deliverer.ready, what="the deliverer")
    wait_until(lambda: len(per_event(h)) == 40 + sent, 40, "all of them")
    wait_until(lambda: stats(deliverer)["pending"] == 0, what="all delivered")
    delivered = lambda: [r["delivery_id"] for r in p.records(["delivery.delivered"])]  # noqa: E731
    wait_until(lambda: len(delivered()) == 40 + sent, what="history of all")
    assert len(set(delivered())) == 40 + sent
