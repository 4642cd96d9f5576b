"""History with the real auditor: sealing, retention, replay jobs over a kill, questions."""

import os
import subprocess

from provisor import BIN, event, wait_until


def segments(pipeline):
    return sorted((pipeline.data / "history").glob("segment-*.db"))


def fill_segments(pipeline):
    """Events of 50 objects, in turn, until there are four segments of at least 100 attempts; -> how many. On a slow disk
    commits are large, and one is never divided, and the next segment may not be prepared yet."""
    count = 0
    with pipeline.core() as core:
        while len(segments(pipeline)) < 4:
            assert count < 20000
            core.accept([event(object_id=n % 50, data={"n": n}) for n in range(count, count + 250)])
            count += 250
            wait_until(lambda: len(pipeline.records(["delivery.delivered"])) == count, what="history")
    return count


def exhausted(pipeline, handler, count):
    """count deliveries that were given up, and the handler, which answers 200 from now on."""
    answer = [404]
    h = handler(respond=lambda r: answer[0])
    id_ = pipeline.add_handler(h.url, "--retry", "none")
    with pipeline.core() as core:
        ids = core.accept([event(object_id=n, data={"n": n}) for n in range(count)])
    wait_until(lambda: len(pipeline.records(["delivery.exhausted"])) == count, what=f"{count} given up")
    answer[0] = 200
    return h, id_, ids


def test_segments_are_sealed_and_searched(make_pipeline, handler):
    pipeline = make_pipeline(env={"PROVISOR_AUDITOR_SEGMENT_ATTEMPTS": "100"})
    h = handler()
    pipeline.add_handler(h.url)
    count = fill_segments(pipeline)
    wait_until(lambda: pipeline["auditor"].control("stats")["stats"]["sealing"] == 0, what="sealed")
    rows = pipeline.cli_json("log", "--object", "7", "--limit", "1000")
    assert len(rows) == count // 50
    assert [r["audit_id"] for r in rows] == sorted(r["audit_id"] for r in rows)
    ids = [r["audit_id"] for r in pipeline.records()]
    assert ids == list(range(1, len(ids) + 1))


def test_retention_removes_whole_segments_and_ids_go_on(make_pipeline, handler):
    pipeline = make_pipeline(env={"PROVISOR_AUDITOR_SEGMENT_ATTEMPTS": "100",
                                  "PROVISOR_AUDITOR_RETENTION_AGE": "3s"})
    h = handler()
    pipeline.add_handler(h.url)
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(1000)])
        h.wait(1000)
        first = segments(pipeline)[0]
        wait_until(lambda: not first.exists(), timeout=60, what="the oldest segment removed")
        answer = pipeline.question({"from": 1, "to": 1 << 60, "topics": []})
        assert answer["oldest"] > 1
        event_id = core.push(event(object_id=5))["id"]
    record = wait_until(lambda: [r for r in pipeline.records(["delivery.delivered"]) if r["event_id"] == event_id],
                        what="the newest delivery")[0]
    assert record["audit_id"] > 1000
    assert pipeline.cli("show", event_id).returncode == 0


def spoil(segment, start):
    """Garbage from start on, also in the WAL beside it, which stays if a reader was the last to close it, and from
    which pages are read first."""
    for path in (segment, segment.with_name(segment.name + "-wal")):
        size = path.stat().st_size if path.exists() else 0
        if size > start:
            with path.open("r+b") as file:
                file.seek(start)
                file.write(os.urandom(size - start))


def assert_lacks(pipeline, lost, ids):
    """History is there but for the records of one segment."""
    known = [r["audit_id"] for r in pipeline.records()]
    assert not lost & set(known) and ids - lost <= set(known)
    answer = pipeline.question({"from": 1, "to": 2})
    assert {"from": min(lost), "to": max(lost)} in answer["damaged"]
    said = pipeline.cli("log", "--limit", "5")
    assert said.stdout.count("clients.") >= 5
    assert f"history lacks audit_id {min(lost)} to {max(lost)}" in said.stderr


def test_a_damaged_segment_is_set_aside_and_history_goes_on(make_pipeline, handler):
    pipeline = make_pipeline(env={"PROVISOR_AUDITOR_SEGMENT_ATTEMPTS": "100"})
    auditor, h = pipeline["auditor"], handler()
    pipeline.add_handler(h.url)
    count = fill_segments(pipeline)
    wait_until(lambda: auditor.control("stats")["stats"]["sealing"] == 0, what="sealed")
    ids = {r["audit_id"] for r in pipeline.records()}
    first, second, third = segments(pipeline)[:3]
    starts = [int(s.stem.partition("-")[2]) for s in (first, second, third)]
    gap = auditor.control("stats")["stats"]["last_audit_id"]
    auditor.stop()
    spoil(first, 100)  # seen at the start
    auditor.start()
    pipeline.wait_ready()
    wait_until(lambda: not first.exists(), what="the first one is set aside")
    spoil(second, 16384)  # seen when it is read
    pipeline.records()
    wait_until(lambda: not second.exists(), what="the second one is set aside")
    for segment in (first, second):
        assert segment.with_name(segment.name + ".damaged").exists()
    auditor.kill()
    auditor.start()
    pipeline.wait_ready()
    for at in range(2):
        assert_lacks(pipeline, set(range(starts[at], starts[at + 1])), ids - set(range(starts[0], starts[2])))
    gaps = wait_until(lambda: [r for r in pipeline.records(["stage.audit_gap"]) if r["audit_id"] > gap],
                      what="the gaps in history")
    assert [r["count"] for r in gaps] == [starts[1] - starts[0], starts[2] - starts[1]]
    assert auditor.control("stats")["stats"]["damaged"] == 2
    assert auditor.log_text().count("event=segment_damaged") == 2
    with pipeline.core() as core:
        core.accept([event(object_id=n) for n in range(50)])
    h.wait(count + 50)
    auditor.stop()
    spoil(segments(pipeline)[-1], 100)
    auditor.start()
    assert auditor.wait() == 78, "marks are in the live one"


def test_a_replay_goes_on_after_a_kill_of_the_auditor(pipeline, handler):
    h, id_, ids = exhausted(pipeline, handler, 300)
    at = h.count()
    watch = subprocess.Popen([BIN / "provisor", "replay", "--handler", str(id_), "--rate", "100",
                              "--data", pipeline.data], env={**os.environ, **pipeline.env},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    h.wait(at + 50)
    pipeline["auditor"].kill().wait()
    watch.kill()
    watch.communicate()
    pipeline["auditor"].start()
    pipeline.wait_ready()
    h.wait(at + 300, timeout=60)
    job = pipeline.question({"op": "replay_jobs"})["jobs"][0]["job"]
    assert "done: 300 of 300 sent" in pipeline.cli("replay", "--job", str(job)).stdout
    replayed = [r["headers"]["webhook-id"] for r in h.requests[at:]]
    assert sorted(replayed) == sorted(ids), "each once"
    took = h.requests[-1]["at"] - h.requests[at]["at"]
    assert took > 2, "100 a second"


def test_a_replay_can_be_cancelled(pipeline, handler):
    h, id_, _ = exhausted(pipeline, handler, 200)
    at = h.count()
    job = pipeline.question({"op": "replay", "handler_id": id_, "rate": 10})["job"]
    h.wait(at + 3)
    done = pipeline.cli("replay", "--job", str(job), "--cancel", check=False)
    assert "cancelled:" in done.stdout
    assert h.count() < at + 150


def test_malformed_questions_get_an_answer(pipeline):
    for question in ({}, {"op": "frob"}, {"op": "log", "limit": "many"}, {"from": "a"}, {"op": "event"},
                     {"op": "event", "event_id": "nonsense"}, {"op": "replay_status", "job": 99},
                     {"op": "replay"}, [1, 2], "text"):
        answer = pipeline.question(question)
        assert answer["ok"] is False and answer["error"], question
    assert pipeline.question({"from": 1, "to": 2})["ok"]


def test_a_replay_for_a_handler_that_is_gone_is_refused(pipeline, handler):
    _, id_, ids = exhausted(pipeline, handler, 1)

    def refusals(handler_id):
        questions = [{"op": "replay", "handler_id": handler_id},
                     {"op": "replay", "handler_id": handler_id, "event_id": ids[0]}]
        return [pipeline.question(q) for q in questions]

    assert refusals(99) == [{"ok": False, "error": "there is no handler 99"}] * 2
    done = pipeline.cli("replay", "--handler", "99", "--event-id", ids[0], check=False)
    assert done.returncode == 1 and "there is no handler 99" in done.stderr
    for state in ("archive", "delete"):
        pipeline.cli("handler", state, str(id_))
        assert all(not a["ok"] and f"handler {id_} is {state}d" in a["error"] for a in refusals(id_))
    assert pipeline.question({"op": "replay_jobs"})["jobs"] == []
