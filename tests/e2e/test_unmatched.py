"""That nothing matched is an outcome too: history must say so, whatever is killed meanwhile."""

from provisor import event, wait_until


def unmatched(pipeline):
    return [r["event_id"] for r in pipeline.records(["event.unmatched"])]


def test_unmatched_survives_the_emitter_while_no_auditor_runs(make_pipeline):
    """The deliverer has forgotten the events before they are sent to it again."""
    pipeline = make_pipeline(start=False)
    stages = [stage for stage in pipeline.stages.values() if stage.kind != "auditor"]
    emitter, auditor = pipeline["emitter"], pipeline["auditor"]
    deliverers = [stage for stage in stages if stage.kind == "deliverer"]

    def stats(stage):
        return stage.control("stats")["stats"]

    for stage in stages:
        stage.start()
    with pipeline.core() as core:
        ids = core.accept([event(object_id=n) for n in range(20)])  # there are no handlers
    wait_until(lambda: stats(emitter)["unmatched"] == 20, what="all receipts")
    wait_until(lambda: sum(stats(d)["known_events"] for d in deliverers) == 0,
               what="low_water passed them")
    emitter.kill().wait()
    emitter.start()
    auditor.start()
    pipeline.wait_ready()
    wait_until(lambda: stats(emitter)["journal_rows"] == 0, what="an empty journal")
    assert sorted(unmatched(pipeline)) == sorted(ids)
