"""The delivery contract: signatures, retries, Retry-After, 410, hold, max_age, priority, headers."""

import base64
import hashlib
import hmac
import json
import threading
import time

from provisor import SHAPE, event, wait_until


def verified(request, secret):
    """Standard Webhooks, independently: does one of the signatures fit this secret?"""
    key = base64.b64decode(secret[len("whsec_"):])
    h = request["headers"]
    signed = f'{h["webhook-id"]}.{h["webhook-timestamp"]}.'.encode() + request["body"]
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return wanted in h["webhook-signature"].split(" ")


def whsec(byte):
    return "whsec_" + base64.b64encode(bytes([byte]) * 32).decode()


def attempts_of(pipeline, **match):
    return [r for r in pipeline.cli_json("log", "--limit", "1000")
            if all(r.get(k) == v for k, v in match.items())]


def test_signatures_verify_also_while_a_secret_rotates(pipeline, handler):
    h = handler()
    id_ = pipeline.add_handler(h.url, "--secret", whsec(1))
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(50)])
        h.wait(50)
        assert all(verified(r, whsec(1)) for r in h.requests)
        pipeline.cli("handler", "update", str(id_), "--secret", whsec(2), "--secret", whsec(1))
        at = h.count()
        core.accept([event(object_id=n) for n in range(50)])
        h.wait(at + 50)
        assert all(verified(r, whsec(1)) and verified(r, whsec(2)) for r in h.requests[at:])
        sent = 0
        rotated = threading.Thread(target=pipeline.cli, args=(
            "handler", "update", str(id_), "--secret", whsec(2)))
        rotated.start()
        while rotated.is_alive() or sent < 50:  # events flow during the change
            core.accept([event(object_id=1000 + sent)])
            sent += 1
        rotated.join()
        h.wait(at + 50 + sent)
        assert all(verified(r, whsec(2)) for r in h.requests[at:]), "during and after the change"
        core.accept([event(object_id=999)])
        h.wait(at + 50 + sent + 1)
        assert not verified(h.requests[-1], whsec(1))
    for r in h.requests:
        assert abs(int(r["headers"]["webhook-timestamp"]) - time.time()) < 600
    shown = pipeline.cli("handler", "show", str(id_)).stdout + pipeline.cli("handler", "list").stdout
    assert whsec(2) not in shown


def test_500_twice_then_200_takes_three_attempts(pipeline, handler):
    h = handler(respond=lambda r: (500, "try later") if r["n"] < 2 else (200, "thanks"))
    pipeline.add_handler(h.url, "--retry", "20ms,50ms,1s")
    with pipeline.core() as core:
        event_id = core.push(event())["id"]
    h.wait(3)
    rows = wait_until(lambda: (r := attempts_of(pipeline, event_id=event_id)) and len(r) == 3 and r,
                      what="three rows in the log")
    assert [(r["attempt"], r["status"], r["outcome"], r["http_status"], r["response"]) for r in rows] == [
        (1, "fail", "retrying", 500, "try later"),
        (2, "fail", "retrying", 500, "try later"),
        (3, "success", "delivered", 200, "thanks")]
    assert all(r["duration_ms"] > 0 for r in rows)
    assert len({r["headers"]["webhook-id"] for r in h.requests}) == 1
    gaps = [b["at"] - a["at"] for a, b in zip(h.requests, h.requests[1:])]
    assert gaps[0] >= 0.017 and gaps[1] >= 0.044 and sum(gaps) < 5  # a tenth of jitter, whole milliseconds
    story = pipeline.cli("show", event_id).stdout
    assert story.count("try later") == 2 and "thanks" in story


def test_a_used_up_schedule_ends_as_exhausted(pipeline, handler):
    h = handler(respond=lambda r: 503)
    pipeline.add_handler(h.url, "--retry", "10ms,10ms")
    with pipeline.core() as core:
        event_id = core.push(event())["id"]
    record = wait_until(lambda: pipeline.records(["delivery.exhausted"]), what="exhausted")[0]
    assert (record["event_id"], record["attempt"], record["reason"]) == (event_id, 3, "attempts")
    assert h.count() == 3


def test_order_holds_while_an_event_is_retried(pipeline, handler):
    seen = []

    def respond(request):
        n = json.loads(request["body"])["data"]["n"]
        seen.append(n)
        return 500 if n == 0 and seen.count(0) < 4 else 200

    h = handler(respond=respond)
    pipeline.add_handler(h.url, "--retry", "30ms,30ms,30ms,30ms")
    with pipeline.core() as core:
        core.accept([event(object_id=7, data={"n": n}) for n in range(5)])
    h.wait(8)
    assert seen == [0, 0, 0, 0, 1, 2, 3, 4]


def test_other_objects_do_not_wait_for_a_retry(pipeline, handler):
    h = handler(respond=lambda r: 500 if json.loads(r["body"])["event"]["object_id"] == 1 else 200)
    pipeline.add_handler(h.url, "--retry", "1h")
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(1, 101)])
    wait_until(lambda: len(attempts_of(pipeline, status="success")) == 99, what="99 successes")


def test_hold_lets_later_events_go_on(pipeline, handler):
    h = handler(respond=lambda r: 500 if json.loads(r["body"])["data"]["n"] == 0 else 200)
    pipeline.add_handler(h.url, "--retry", "50ms,50ms,50ms,50ms,1h", "--hold", "100ms")
    with pipeline.core() as core:
        core.accept([event(object_id=7, data={"n": n}) for n in range(3)])
    wait_until(lambda: [b["data"]["n"] for b in h.bodies()][-2:] == [1, 2] or
               {1, 2} <= {b["data"]["n"] for b in h.bodies()}, what="the later events")
    order = [b["data"]["n"] for b in h.bodies() if b["data"]["n"]]
    assert order == [1, 2]


def test_max_age_gives_up(pipeline, handler):
    h = handler(respond=lambda r: 500)
    pipeline.add_handler(h.url, "--retry", "50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms,50ms",
                         "--max-age", "150ms")
    with pipeline.core() as core:
        core.push(event())
    record = wait_until(lambda: pipeline.records(["delivery.exhausted"]), what="exhausted")[0]
    assert record["reason"] == "max_age"
    assert h.count() < 11


def test_retry_after_is_honoured(pipeline, handler):
    h = handler(respond=lambda r: (429, "slow", {"Retry-After": "1"}) if r["n"] == 0 else 200)
    pipeline.add_handler(h.url, "--retry", "10ms,2s")
    with pipeline.core() as core:
        core.push(event())
    h.wait(2)
    assert h.requests[1]["at"] - h.requests[0]["at"] >= 0.99


def test_retry_after_as_a_date(pipeline, handler):
    def respond(request):
        if request["n"]:
            return 200
        at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
        return 503, "", {"Retry-After": at}

    h = handler(respond=respond)
    pipeline.add_handler(h.url, "--retry", "10ms,10s")
    with pipeline.core() as core:
        core.push(event())
    h.wait(2)
    assert h.requests[1]["at"] - h.requests[0]["at"] >= 1.5


def test_410_suspends_and_enable_goes_on(pipeline, handler):
    gone = [True]
    h = handler(respond=lambda r: 410 if gone[0] else 200)
    id_ = pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.push(event(object_id=1))
        wait_until(lambda: pipeline.cli_json("handler", "show", str(id_))[0]["status"] == "suspended",
                   what="suspended")
        core.accept([event(object_id=n) for n in range(1, 6)])
        wait_until(lambda: "410" in json.dumps(pipeline.records(["handler.suspended"])),
                   what="handler.suspended in the audit")
    assert "suspended: answered 410 Gone" in pipeline.cli("status", check=False).stdout
    assert "answered 410 Gone" in pipeline.cli("handler", "list").stdout
    for shown in pipeline.cli_json("status")[0]["handlers"] + pipeline.cli_json("handler", "list"):
        assert shown["status_reason"].startswith("answered 410 Gone"), shown
    at = h.count()
    gone[0] = False
    pipeline.cli("handler", "enable", str(id_))
    assert "410" not in pipeline.cli("handler", "list").stdout, "the reason outlived the suspension"
    h.wait(at + 6)
    assert [b["event"]["object_id"] for b in h.bodies()[at:]].count(1) == 2


def test_retries_survive_a_restart(pipeline, handler):
    down = [True]
    h = handler(respond=lambda r: 500 if down[0] else 200)
    pipeline.add_handler(h.url, "--retry", "300ms,300ms,300ms,300ms,300ms,300ms,300ms,300ms,300ms,300ms")
    with pipeline.core() as core:
        event_id = core.push(event())["id"]
    h.wait(1)
    pipeline["deliverer"].kill().wait()
    down[0] = False
    pipeline["deliverer"].start()
    wait_until(lambda: attempts_of(pipeline, event_id=event_id, outcome="delivered"), what="delivered")
    assert all(r["headers"]["webhook-id"] == event_id for r in h.requests)


def test_a_hanging_handler_times_out_and_slows_nobody(pipeline, handler):
    hanging, healthy = handler(respond=lambda r: None), handler()
    pipeline.add_handler(hanging.url, "--timeout", "300ms", "--retry", "1h", name="hanging")
    pipeline.add_handler(healthy.url, name="healthy")
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(200)])
    healthy.wait(200)
    rows = wait_until(lambda: attempts_of(pipeline, handler="hanging"), what="the time-out in the log")
    assert rows[0]["status"] == "fail" and "timed out" in rows[0]["error"]


def test_lower_priority_numbers_go_first(pipeline, handler):
    order = []
    first = handler(respond=lambda r: (time.sleep(0.05), order.append("first"), 200)[2])
    second = handler(respond=lambda r: (order.append("second"), 200)[1])
    pipeline.add_handler(second.url, "--priority", "20", name="second")
    pipeline.add_handler(first.url, "--priority", "10", name="first")
    with pipeline.core() as core:
        for n in range(5):
            core.push(event(object_id=n))
            wait_until(lambda: len(order) == 2 * n + 2, what="both")
    assert order == ["first", "second"] * 5


def test_a_hanging_first_handler_delays_the_second_by_priority_wait(make_pipeline, handler):
    pipeline = make_pipeline(env={"PROVISOR_DELIVERER_PRIORITY_WAIT": "1s"})
    first, second = handler(respond=lambda r: None), handler()
    pipeline.add_handler(first.url, "--priority", "1", "--timeout", "30s", name="first")
    pipeline.add_handler(second.url, "--priority", "2", name="second")
    with pipeline.core() as core:
        core.push(event())
    second.wait(1)
    first.wait(1)
    assert 0.5 <= second.requests[0]["at"] - first.requests[0]["at"] < 5


def test_a_blocked_lane_of_the_first_handler_does_not_delay_the_second(make_pipeline, handler):
    """The second event of the object cannot have its attempt at the first handler now: no waiting."""
    pipeline = make_pipeline(env={"PROVISOR_DELIVERER_PRIORITY_WAIT": "600s"})
    first, second = handler(respond=lambda r: 500), handler()
    pipeline.add_handler(first.url, "--priority", "1", "--retry", "1h", name="first")
    pipeline.add_handler(second.url, "--priority", "2", name="second")
    with pipeline.core() as core:
        core.push(event(object_id=1))
        second.wait(1)
        core.push(event(object_id=1))
    second.wait(2)
    assert first.count() == 1


def test_custom_headers_are_sent_and_not_shown(pipeline, handler):
    h = handler()
    id_ = pipeline.add_handler(h.url, "--header", "Authorization: Bearer s3cret", "--header", "X-Tenant: 7")
    with pipeline.core() as core:
        event_id = core.push(event())["id"]
    h.wait(1)
    headers = h.requests[0]["headers"]
    assert headers["Authorization"] == "Bearer s3cret" and headers["X-Tenant"] == "7"
    wait_until(lambda: attempts_of(pipeline, event_id=event_id), what="the log")
    shown = pipeline.cli("show", event_id, "--details").stdout + pipeline.cli("handler", "show", str(id_)).stdout
    assert "s3cret" not in shown and "***" in shown


def test_connections_are_reused(pipeline, handler):
    h = handler()
    pipeline.add_handler(h.url, "--window", "1")
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(100)])
    h.wait(100)
    assert len({r["client"] for r in h.requests}) <= SHAPE  # one per deliverer


def test_scripts_are_off_by_default_and_work_when_allowed(make_pipeline, tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    script = folder / "note.sh"
    script.write_text('#!/bin/sh\ncat > "$0.body"\necho "$PROVISOR_EVENTS_ID" > "$0.env"\n')
    script.chmod(0o755)
    pipeline = make_pipeline(env={"PROVISOR_DELIVERER_SCRIPT_DIR": str(folder)})
    pipeline.cli("handler", "add", "--name", "script", "--type", "script", "--event", "*", "--task", str(script))
    with pipeline.core() as core:
        event_id = core.push(event(data={"x": 0.10}))["id"]
    wait_until(lambda: attempts_of(pipeline, event_id=event_id, outcome="delivered"), what="delivered")
    assert json.loads((folder / "note.sh.body").read_text())["event"]["events_id"] == "clients.update"
    assert (folder / "note.sh.env").read_text() == "clients.update\n"
    other = make_pipeline()
    other.cli("handler", "add", "--name", "script", "--type", "script", "--event", "*", "--task", str(script),
              "--retry", "none")
    with other.core() as core:
        core.push(event())
    record = wait_until(lambda: other.records(["delivery.exhausted"]), what="refused")[0]
    assert "script_dir" in record["error"]
