"""What must be true after a round, from the cores' acknowledgements, the recorders' arrivals, history
and the driver's diary. Each check returns texts, one per violation."""

import collections
import contextlib
import pathlib
import re
import sqlite3

import rig as rigs
from recorder import is_doomed

GRACE_S = 1.0   # an outcome is on disk so long after the answer, unless the diary tells of a reason
LATE_ANSWER_S = 0.2  # a recorder reads and answers what a dead deliverer had sent
FINAL = ("delivered", "exhausted", "cancelled")
FILES = re.compile(r"(journal|queue|handlers)\.(db(-wal|-shm)?|lock)|history|history\.lock|lost\+found|"
                   r"history/(segment-\d{20}\.db(-wal|-shm)?|segment-next\.new(-wal|-shm)?|jobs\.(db(-wal|-shm)?|lock)|.*\.lock)|"
                   r"deliverer\d*(/.*)?")


class Arrival:
    __slots__ = ("at", "handler", "id", "object", "n", "replay", "status", "answered_at")

    def __init__(self, at, handler, id_, object_, n, replay):
        self.at, self.handler, self.id, self.object = at, handler, id_, object_
        self.n, self.replay, self.status, self.answered_at = n, replay, None, None

    @property
    def ok(self):
        """A 2xx that the deliverer had time to hear."""
        return self.status == 200 and self.answered_at - self.at < rigs.TIMEOUT_S * 0.7


def read_arrivals(path):
    arrivals, open_ = [], {}
    for line in path.read_text().splitlines():
        kind, at, handler, id_, *rest = line.split()
        if kind == "A":
            arrival = Arrival(float(at), handler, id_, rest[0], int(rest[1]), int(rest[2]))
            arrivals.append(arrival)
            open_[handler, id_] = arrival
        else:
            arrival = open_[handler, id_]
            arrival.status, arrival.answered_at = int(rest[0]), float(at)
    return arrivals


class Checker:
    def __init__(self, driver, cores, records, removed):
        self.driver, self.rig, self.plan = driver, driver.rig, driver.plan
        self.events = [e for core in cores for e in core.events]
        self.by_id = {e.id: e for e in self.events if e.id}
        self.records, self.removed = records, removed
        self.arrivals = read_arrivals(self.rig.arrivals)
        self.kills = sorted((d.began, d.ended) for d in driver.diary
                            if d.what.startswith("kill") and d.stage.startswith("deliverer"))
        self.delays = [(d.began, d.ended) for d in driver.diary
                       if d.what in ("disk full", "stop", "slow sync", "slow syncs", "descriptors")]
        self.cuts = [(d.began, d.ended) for d in driver.diary if d.what == "link handlers"]
        self.history = collections.defaultdict(list)  # (event id, handler name): delivery.* records
        names = {id_: name for name, id_ in self.rig.handler_ids.items()}
        for r in records:
            if r["topic"].startswith("delivery.") and not r.get("replay"):
                self.history[r["event_id"], names[r["handler_id"]]].append(r)
        self.history.default_factory = None  # looking does not make an entry

    def run(self):
        checks = (self.acknowledged, self.every_handler, self.order, self.doubles, self.final_outcomes,
                  self.attempts, self.audit_ids, self.replays, self.queues, self.files)
        return [f"{check.__name__}: {text}" for check in checks for text in some(check())]

    # ---- times

    def uncommitted_at_a_kill(self, at):
        """Whether what became known at this time may not have been on disk at a kill."""
        for began, ended in self.kills:
            grace = GRACE_S + sum(max(0, min(b, ended) - max(a, at - GRACE_S)) + 1.0
                                  for a, b in self.delays if a < ended and b > at - GRACE_S)
            if at <= ended + LATE_ANSWER_S and began - at <= grace:
                return True
        return False

    def kill_between(self, a, b):
        return any(ended >= a and began <= b for began, ended in self.kills)

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
        for entry in self.driver.diary:
            if entry.what == "slow sync" and entry.stage == "emitter":
                yield from (f"{e.key} was accepted after {e.acked_at - e.sent_at:.3f} s although a sync "
                            "takes 0.5 s" for e in self.events if e.id and e.tries == 1
                            and e.sent_at > entry.began + 0.01 and e.acked_at < entry.ended - 0.01
                            and e.acked_at - e.sent_at < 0.49)

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

    def doubles(self):
        first_ok = {}
        for a in self.arrivals:
            if a.replay:
                continue
            before = first_ok.get((a.handler, a.id))
            if before and not self.uncommitted_at_a_kill(before.answered_at) and \
                    not self.cut_near(before.at, before.answered_at):
                yield (f"{a.handler} {a.id} ({a.object} {a.n}) again at {a.at:.3f}, was answered 200 at "
                       f"{before.answered_at:.3f}, took {before.answered_at - before.at:.3f}")
            if a.ok:
                first_ok[a.handler, a.id] = a

    def count_doubles(self):
        counts = collections.Counter((a.handler, a.id) for a in self.arrivals
                                     if a.status == 200 and not a.replay)
        return sum(count - 1 for count in counts.values())

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
            # curl itself sends again when a kept connection is closed before any answer (status 0)
            # and what a frozen link let through late may be of a process that was killed meanwhile
            excused = sum(a.status == 0 or self.cut_near(a.at, a.at) or self.uncommitted_at_a_kill(a.answered_at or a.at) or
                          self.kill_between(a.at, (a.answered_at or a.at + rigs.TIMEOUT_S) + GRACE_S)
                          for a in arrivals)
            if len(arrivals) - excused > recorded:
                yield (f"{id_} {name}: {len(arrivals)} arrivals, {excused} near a kill, "
                       f"{recorded} attempts in history")

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
                      "queue.db": ("events", "deliveries", "outbox")}.get(path.name, ())
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
