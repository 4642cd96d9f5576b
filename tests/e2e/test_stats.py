"""stage.stats: what each stage says of itself every 10 s, on the audit stream only."""

from provisor import wait_until

STAGES = {"emitter", "router", "deliverer", "auditor"}


def test_every_stage_tells_its_stats_and_history_keeps_none(pipeline):
    subscriber = pipeline.subscribe("stage.stats")
    wait_until(lambda: {r["service"] for r in subscriber.heartbeats} >= STAGES, timeout=30,
               what="stage.stats of every stage")
    for record in subscriber.heartbeats:
        answer = pipeline[record["service"]].control("stats")["stats"]
        assert set(record["stats"]) == set(answer), record["service"]
        assert "audit_id" not in record and record["node"] and record["at"].endswith("Z")
    assert pipeline.records(["stage.stats"]) == []
