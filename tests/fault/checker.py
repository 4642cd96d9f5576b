"""What must be true after a round, from the cores' acknowledgements, the recorders' arrivals, history
and the driver's diary. Each check returns texts, one per violation."""

import bisect
import collections
import contextlib
import pathlib
import re
import sqlite3

import rig as rigs
from recorder import is_doomed

GRACE_S = 1.0   # a lane's last arrival so long before a kill may be repeated
HEARD_S = 0.3   # a deliverer that runs has handed an answer to its writer so long after
LATE_ANSWER_S = 0.5  # a recorder reads and answers what a dead deliverer had sent
BUSY = 3        # and so many times as long as the machine was seen to be late then
SYNC_S = 0.5    # what the driver holds a sync for
FINAL = ("delivered", "exhausted", "cancelled")
FILES = re.compile(  # wal and shm: of who reads beside the owner, or a kill left them
    r"deliverer\d*|(deliverer\d*/)?(journal|queue|handlers)\.(db(-wal|-shm)?|lock)|lost\+found|"
    r"history|history\.lock|history/.*\.lock|history/(segment-\d{20}|jobs)\.db(-wal|-shm)?|"
    r"history/segment-next\.new(-wal|-shm)?")  # the next one is made ahead


class Arrival:
    __slots__ = ("at", "handler", "id", "object", "n", "replay", "status", "answered_at")

    def __init__(self, at, handler, id_, object_, n, replay):
        self.at, self.handler, self.id, self.object = at, handler, id_, object_
        self.n, self.replay, self.status, self.answered_at = n, replay, None, None


def read_arrivals(path):
    """-> arrivals, and [(when, so late)] of a busy machine."""
    arrivals, open_, late = [], {}, []
    for line in path.read_text().splitlines():
        kind, at, handler, *rest = line.split()
        id_, *rest = rest or [""]
        if kind == "A":
            arrival = Arrival(float(at), handler, id_, rest[0], int(rest[1]), int(rest[2]))
            arrivals.append(arrival)
            open_[handler, id_] = arrival
        elif kind == "L":
            late.append((float(at), float(handler)))
        else:
            arrival = open_[handler, id_]
            arrival.status, arrival.answered_at = int(rest[0]), float(at)
    return arrivals, late


class Checker:
    def __init__(self, driver, cores, records, removed):
        self.driver, self.rig, self.plan = driver, driver.rig, driver.plan
        self.events = [e for core in cores for e in core.events]
        self.by_id = {e.id: e for e in self.events if e.id}
        self.records, self.removed = records, removed
        self.arrivals, self.late_at = read_arrivals(self.rig.arrivals)
        self.stops = [d for d in driver.diary if d.what == "stop"]
        self.kills = sorted((d.began, d.ended, self.heard_since(d), self.answered_until(d))
                            for d in driver.diary
                            if d.what == "kill" and d.stage.startswith("deliverer"))
        self.cuts = [(d.began, d.ended) for d in driver.diary if d.what == "link handlers"]
        self.history = collections.defaultdict(list)  # (event id, handler name): delivery.* records
        names = {id_: name for name, id_ in self.rig.handler_ids.items()}
        for r in records:
            if r["topic"].startswith("delivery.") and not r.get("replay"):
                self.history[r["event_id"], names[r["handler_id"]]].append(r)
        self.history.default_factory = None  # looking does not make an entry

    def run(self):
        checks = (self.acknowledged, self.not_before_the_sync, self.every_handler, self.order,
                  self.doubles, self.doubles_per_kill, self.webhook_ids, self.final_outcomes,
                  self.attempts, self.audit_ids, self.replays, self.queues, self.files)
        return [f"{check.__name__}: {text}" for check in checks for text in some(check())]

    # ---- times

    def slack(self, at):
        """What takes no time may have taken so long then: a measure of the recorder's process, which
        waits for a processor as others do. Nearly nothing on a machine that keeps up."""
        return BUSY * max((late for due, late in self.late_at if due - 1 <= at <= due + late + 1), default=0)

    def heard_since(self, kill):
        """Answers before this time are in a commit that had ended at the kill. A process that was
        stopped has heard nothing meanwhile."""
        heard_s = HEARD_S + self.slack(kill.committed)
        stops = [d.began for d in self.stops
                 if d.stage == kill.stage and d.began < kill.committed < d.ended + heard_s]
        return min([kill.committed, *stops]) - heard_s

    def answered_until(self, kill):
        return kill.ended + LATE_ANSWER_S + self.slack(kill.ended)

    def heard_in_time(self, arrival):
        """A 2xx that the deliverer had time to hear."""
        return arrival.status == 200 and arrival.answered_at - arrival.at + \
            self.slack(arrival.answered_at) < rigs.TIMEOUT_S * 0.7

    def kill_that_lost(self, at):
        """The last kill at which what became known at this time may not have been on disk; or None."""
        last = None
        for kill in self.kills:
            _, _, since, until = kill
            if since <= at <= until:
                last = kill
        return last

    def kill_between(self, a, b):
        return any(ended >= a and began <= b for began, ended, _, _ in self.kills)

    def cut_near(self, a, b):
        """A request that waited in a frozen link may be answered when its deadline has passed."""
        return any(ended >= a - rigs.TIMEOUT_S and began <= b + 0.5 for began, ended in self.cuts)

    # ---- 1

    def acknowledged(self):
        ids = collections.Counter(e.id for e in self.events if e.id)
        yield from (f"event id {id_} was given {count} times" for id_, count in ids.items() if count > 1)
        last = {}
        for e in self.events:
            if e.id is None:
                yield f"{e.key} was never acknowledged"
                continue
            if last.get((e.object_key), "") >= e.id:
                yield f"{e.object_key}: {e.n} has id {e.id}, not above the one before"
            last[e.object_key] = e.id
            if e.tries == 1 and e.status == "duplicate":
                yield f"{e.key} was sent once and answered duplicate"

    def held(self):
        """(event, answered after) of those that were sent once, and while each sync took SYNC_S."""
        for entry in self.driver.diary:
            if entry.what == "slow sync" and entry.stage == "emitter":
                for e in self.events:
                    if e.id and e.tries == 1 and entry.began + 0.01 < e.sent_at < entry.ended - SYNC_S:
                        yield e, e.acked_at - e.sent_at

    def not_before_the_sync(self):
        """Of the commits that began to sync after an event was sent one had ended when it was accepted."""
        commits = sorted(self.rig.switches["emitter"].commits())
        begins = [began for began, _ in commits]
        for e in self.events:
            if e.id and e.tries == 1:
                at = bisect.bisect_left(begins, e.sent_at)
                if at == len(commits) or commits[at][1] > e.acked_at:
                    yield (f"{e.key} was sent at {e.sent_at:.3f} and accepted at {e.acked_at:.3f}, and no "
                           "commit began and ended between")
        yield from (f"{e.key} was accepted after {after_s:.3f} s although a sync takes {SYNC_S} s"
                    for e, after_s in self.held() if after_s < SYNC_S - 0.01)

    def every_handler(self):
        delivered = {(a.id, a.handler) for a in self.arrivals if a.status == 200}
        unmatched = {r["event_id"] for r in self.records if r["topic"] == "event.unmatched"}
        accepted = collections.Counter(r["event_id"] for r in self.records
                                       if r["topic"] == "event.accepted" and not r.get("replay"))
        for e in self.events:
            if not e.id:
                continue
            if accepted[e.id] != 1 and not self.removed:
                yield f"{e.key} {e.id}: {accepted[e.id]} event.accepted in history"
            handlers = [h[0] for h in rigs.HANDLERS if rigs.matches(h[0], e.events_id)]
            if not handlers and e.id not in unmatched and not self.removed:
                yield f"{e.key} {e.id} matches nothing, and history has no event.unmatched"
            if handlers == ["late"]:
                yield from self.late(e, (e.id, "late") in delivered, e.id in unmatched)
                continue
            for name in handlers:
                outcomes = [r["outcome"] for r in self.history.get((e.id, name), ())]
                if name == "doomed" and is_doomed(e.id):
                    if "exhausted" not in outcomes and not self.removed:
                        yield f"{e.key} {e.id} {name}: not exhausted in history but {outcomes}"
                elif (e.id, name) not in delivered and not (name == "doomed" and "exhausted" in outcomes):
                    yield f"{e.key} {e.id} ({e.object_key} {e.n}) never reached {name}: {outcomes}"
        known = set(self.by_id)
        yield from (f"{a.handler} got {a.id}, which no core was told of" for a in self.arrivals
                    if a.id not in known and not a.replay)

    def late(self, e, is_delivered, is_unmatched):
        """A handler that was added while events flowed: from a second after, it has them all (a
        process that starts reads the table at once; one that is stopped does so when it goes on)."""
        outcomes = [r["outcome"] for r in self.history.get((e.id, "late"), ())]
        if "cancelled" in outcomes:
            yield f"{e.key} {e.id}: cancelled although its handler was never deleted"
        elif not is_delivered and not (is_unmatched and e.first_sent_at < self.driver.late_at + 1.5):
            if not self.removed or not e.first_sent_at < self.driver.late_at + 1.5:
                yield f"{e.key} {e.id}: {'' if is_unmatched else 'not '}unmatched, and not at late"

    # ---- 2

    def order(self):
        place = {}  # (handler, event id): its place in its lane
        counts = collections.Counter()
        for e in self.events:
            for name, *_ in rigs.HANDLERS:
                if e.id and rigs.matches(name, e.events_id) and \
                        (name != "late" or self.history.get((e.id, name))):
                    place[name, e.id] = counts[name, e.object_key]
                    counts[name, e.object_key] += 1
        lanes = collections.defaultdict(list)
        for a in self.arrivals:
            if not a.replay and (a.handler, a.id) in place:
                lanes[a.handler, a.object].append(a)
        for (name, object_), arrivals in lanes.items():
            yield from self.lane(name, object_, arrivals, place)

    def lane(self, name, object_, arrivals, place):
        """Each arrival is the one before again, or the next after that was answered; only after a kill
        does a lane go back, and from there on again one by one."""
        last, answered = None, set()
        for a in arrivals:
            at = place[name, a.id]
            if last is None:
                if at != 0 and name != "doomed":
                    yield f"{name} {object_}: began with place {at}"
            elif at > place[name, last.id] + 1 and name != "doomed":
                yield f"{name} {object_}: place {at} after {place[name, last.id]} at {a.at:.3f}"
            elif at > place[name, last.id] and last.id not in answered and name != "doomed":
                yield f"{name} {object_}: place {at} before {last.id} was answered, at {a.at:.3f}"
            elif at < place[name, last.id] and not self.kill_between(last.at - GRACE_S, a.at):
                yield f"{name} {object_}: back from place {place[name, last.id]} to {at} without a kill"
            if a.status == 200:
                answered.add(a.id)
            last = a

    # ---- 3

    def repeated(self):
        """(arrival, the one before that was answered 200 in time) of what was seen again."""
        first_ok = {}
        for a in self.arrivals:
            if a.replay:
                continue
            before = first_ok.get((a.handler, a.id))
            if before:
                yield a, before
            if self.heard_in_time(a):
                first_ok[a.handler, a.id] = a

    def doubles(self):
        for a, before in self.repeated():
            if not self.kill_that_lost(before.answered_at) and \
                    not self.cut_near(before.at, before.answered_at):
                yield (f"{a.handler} {a.id} ({a.object} {a.n}) again at {a.at:.3f}, was answered 200 at "
                       f"{before.answered_at:.3f}, took {before.answered_at - before.at:.3f}")

    def per_kill(self):
        """-> {kill: (repeated, at most)}: what was in flight, and answers since the commit that ended
        last began: the batch of the next one."""
        lost = {before for _, before in self.repeated()}  # a repeat that fails is tried again
        repeated = collections.Counter(self.kill_that_lost(before.answered_at) for before in lost)
        bounds = {}
        for kill in self.kills:
            began, _, since, until = kill
            in_flight = sum(a.at <= until and
                            (a.answered_at is None or a.answered_at >= began) and
                            a.at > began - rigs.TIMEOUT_S - HEARD_S for a in self.arrivals)
            batch = sum(a.status == 200 and since <= a.answered_at < began for a in self.arrivals)
            most = self.plan.deliverers * rigs.CONCURRENCY
            bounds[kill] = repeated[kill], min(in_flight, most) + batch
        return bounds

    def doubles_per_kill(self):
        yield from (f"{count} repeated after the kill at {kill[0]:.3f}, at most {most} were in flight or "
                    "not committed" for kill, (count, most) in self.per_kill().items() if count > most)
        if not self.kills and not self.cuts:
            yield from (f"{a.handler} {a.id} again without a kill" for a, _ in self.repeated())

    def webhook_ids(self):
        """What is sent again has the id of the first time."""
        ids = collections.defaultdict(set)
        for a in self.arrivals:
            ids[a.object, a.n].add(a.id)
        yield from (f"{object_} {n} came with the webhook-ids {sorted(found)}"
                    for (object_, n), found in ids.items() if len(found) > 1)

    # ---- 4

    def final_outcomes(self):
        if self.removed:
            return
        for (event_id, name), records in self.history.items():
            finals = [r["outcome"] for r in records if r["outcome"] in FINAL]
            if len(finals) != 1:
                yield f"{event_id} {name}: final outcomes {finals}"
            elif records[-1]["outcome"] not in FINAL:
                yield f"{event_id} {name}: {records[-1]['outcome']} after {finals[0]}"

    def attempts(self):
        """Every attempt that a recorder saw is in history, but for those that a kill cut off."""
        if self.removed:
            return
        seen = collections.defaultdict(list)
        for a in self.arrivals:
            if not a.replay:
                seen[a.handler, a.id].append(a)
        for (name, id_), arrivals in seen.items():
            recorded = sum(1 for r in self.history.get((id_, name), ()) if r.get("attempt"))
            excused = sum(self.may_be_unknown(a) for a in arrivals)
            if len(arrivals) - excused > recorded:
                yield (f"{id_} {name}: {len(arrivals)} arrivals, {excused} near a kill, "
                       f"{recorded} attempts in history")

    def may_be_unknown(self, a):
        """Curl itself sends again when a kept connection is closed before any answer (status 0), and
        what a frozen link let through late may be of a process that was killed meanwhile. What nobody
        answered ends with its timeout."""
        ended_at = a.answered_at or a.at + rigs.TIMEOUT_S
        known_at = ended_at + GRACE_S
        for stop in self.stops:
            if stop.stage.startswith("deliverer") and stop.began <= known_at and a.at <= stop.ended:
                known_at = max(known_at, stop.ended + GRACE_S)
        return bool(a.status == 0 or self.cut_near(a.at, a.at) or
                    self.kill_that_lost(ended_at) or self.kill_between(a.at, known_at))

    def audit_ids(self):
        last, of_topic = 0, {}
        for r in self.records:
            if r["audit_id"] != last + 1 and not self.removed:
                yield f"audit_id {r['audit_id']} after {last}"
            if r["prev_id"] != of_topic.get(r["topic"], 0) and not self.removed:
                yield f"{r['topic']} {r['audit_id']}: prev_id {r['prev_id']}"
            last = of_topic[r["topic"]] = r["audit_id"]
            if r["topic"] == "stage.audit_gap":
                yield f"stage.audit_gap: {r}"

    def replays(self):
        for job in self.driver.job_states:
            if job.get("state") != "done" or job.get("sent", 0) + job.get("skipped", 0) != job.get("total"):
                yield f"replay job {job}"

    # ---- 5

    def queues(self):
        """The processes have stopped."""
        for path in sorted(self.rig.pipeline.data.rglob("*.db")):
            tables = {"journal.db": ("journal",),
                      "queue.db": ("events", "deliveries", "known", "outbox")}.get(path.name, ())
            try:
                yield from self.store(path, tables)
            except sqlite3.Error as e:
                yield f"{path.name}: {e}"

    def store(self, path, tables):
        with contextlib.closing(sqlite3.connect(path)) as db:
            check = db.execute("PRAGMA integrity_check").fetchone()[0]
            if check != "ok":
                yield f"{path.name}: {check}"
            for table in tables:
                count = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                if count:
                    yield f"{path.name}: {count} rows are left in {table}"

    def files(self):
        data = self.rig.pipeline.data
        yield from (f"left behind: {p.relative_to(data)}" for p in sorted(data.rglob("*"))
                    if not FILES.fullmatch(str(p.relative_to(data))))


def some(texts, most=5):
    texts = list(texts)
    return texts[:most] + ([f"... and {len(texts) - most} more"] if len(texts) > most else [])
