"""What a round does, by its seed alone: settings of the pipeline, and faults with their times.

The faults are dealt from two decks in turn, so that any 20 seeds in a row use all of them."""

import dataclasses
import itertools
import random

STAGES = ("emitter", "router", "deliverer", "auditor")
LINKS = {  # between
    "intake": "emitter+core", "emitter-router": "emitter+router", "router-deliverer": "router+deliverer",
    "receipts": "emitter+deliverer", "emitter-audit": "emitter+auditor", "router-audit": "router+auditor",
    "deliverer-audit": "deliverer+auditor", "emitter-marks": "emitter+auditor",
    "router-marks": "router+auditor", "deliverer-marks": "deliverer+auditor", "replay": "emitter+auditor"}
EXPOSED = {  # a link of each stage, for which it needs a descriptor when it was cut
    "emitter": "receipts", "router": "router-deliverer", "deliverer": "deliverer-marks",
    "auditor": "emitter-audit"}
CRASH_POINTS = {  # point: how often it may be passed before it kills
    ("emitter", "store.migrating"): 1, ("emitter", "writer.before_commit"): 40,
    ("emitter", "writer.committed"): 40, ("emitter", "emitter.committed"): 40,
    ("emitter", "emitter.answered"): 40, ("router", "router.in_hand"): 60,
    ("deliverer", "store.migrating"): 1, ("deliverer", "writer.before_commit"): 40,
    ("deliverer", "writer.committed"): 40, ("deliverer", "deliverer.custody"): 40,
    ("deliverer", "deliverer.responded"): 200, ("deliverer", "deliverer.marked"): 3,
    ("auditor", "store.migrating"): 1, ("auditor", "auditor.committed"): 30,
    ("auditor", "auditor.turning"): 2, ("auditor", "auditor.sealing"): 2,
    ("auditor", "auditor.retention"): 1, ("auditor", "auditor.planned"): 1,
}


def between(link):
    return LINKS.get(link, "").split("+")


PAIRS = [f"{a}+{b}" for a, b in itertools.combinations(STAGES, 2)]
KILLING = ([("crash", *point) for point in CRASH_POINTS] + [("kill", s) for s in STAGES] +
           [("kill two", pair) for pair in PAIRS] + [("kill all",), ("kill all",)] +
           [("power cut",), ("slow power cut",)] +
           [("power cut", s) for s in STAGES if s != "router"] +
           [("kill unmarked", "emitter"), ("kill unmarked", "deliverer")] +
           [("sync fails", s) for s in STAGES if s != "router"])
CALM = ([("stop", s) for s in STAGES] + [("restart", s) for s in STAGES] +
        [(how, link) for link in LINKS for how in ("cut", "freeze")] +
        [("lose", link) for link in LINKS if link not in ("intake", "replay")] +
        [(how, s) for s in STAGES if s != "router" for how in ("slow sync", "read only")] +
        [("disk full",), ("clock", "deliverer"), ("clock", "emitter"), ("clock", "auditor")] +
        [(how, s) for s in STAGES for how in ("descriptors", "name gone", "unplug")] +
        [("partition", pair) for pair in PAIRS])
WILD = [("cut", "handlers"), ("freeze", "handlers"),  # may double: not in calm rounds
        ("table unread", "deliverer")]  # as the 68th of CALM it would always meet the same others
CALM_ROUND_FAULTS, KILLING_PER_ROUND, CALM_PER_ROUND = 5, 3, 3
STOP_S = 20
LONG_SILENCE_S = 12  # of a partition, in a round that is long anyway or has the time


def faults_named():
    """Every fault that a run must have used to count as complete."""
    return [" ".join(fault) for fault in dict.fromkeys(KILLING + CALM + WILD)]


@dataclasses.dataclass
class Fault:
    kind: str
    target: str
    point: str
    at_s: float
    lasts_s: float
    after: int     # crash: passed this often
    random: random.Random

    def __str__(self):
        return " ".join(x for x in (self.kind, self.target, self.point) if x)


@dataclasses.dataclass
class Plan:
    seed: int
    seconds: float
    calm: bool
    routers: int
    deliverers: int
    rate: int
    cores: int
    settings: dict
    faults: list

    @property
    def small_disk(self):
        return any(f.kind == "disk full" for f in self.faults)

    @property
    def names(self):
        """Links and handlers are found by name."""
        return any(f.kind == "name gone" for f in self.faults)

    @property
    def parted(self):
        """Each stage has a network namespace of its own."""
        return any(f.kind in ("partition", "unplug") for f in self.faults)

    @property
    def proxied(self):
        """Links that a fault needs a proxy for."""
        return ({f.target for f in self.faults if f.kind in ("cut", "freeze", "lose")} |
                {f"{f.target}-audit" for f in self.faults if f.kind == "kill unmarked"} |
                {EXPOSED[f.target] for f in self.faults if f.kind == "descriptors"})

    @property
    def table_unread(self):
        """The late handler is added by that fault."""
        return any(f.kind == "table unread" for f in self.faults)

    @property
    def power_cut(self):
        return any("power cut" in f.kind for f in self.faults)

    def __str__(self):
        return (f"{'calm' if self.calm else 'wild'}, {self.routers} routers, {self.deliverers} "
                f"deliverers, {self.cores} cores x {self.rate}/s; " +
                ", ".join(f"{f.at_s:.1f}s {f}" for f in self.faults))


def shuffled(deck):
    deck = list(deck)
    random.Random(347).shuffle(deck)  # one with which seeds 1 to 20 let each fault act
    return deck


def deal(seed):
    """Every fifth round is without a kill."""
    killing, calm = shuffled(KILLING + WILD), shuffled(CALM)
    calm_before = (seed + 4) // 5  # calm rounds among 0 .. seed - 1
    wild_before = seed - calm_before
    killing_at = wild_before * KILLING_PER_ROUND
    calm_at = calm_before * CALM_ROUND_FAULTS + wild_before * CALM_PER_ROUND
    if seed % 5 == 0:
        return [calm[(calm_at + i) % len(calm)] for i in range(CALM_ROUND_FAULTS)]
    return ([killing[(killing_at + i) % len(killing)] for i in range(KILLING_PER_ROUND)] +
            [calm[(calm_at + i) % len(calm)] for i in range(CALM_PER_ROUND)])


def lasts_s(kind, chooser, seconds, dealt):
    if kind == "stop":
        return STOP_S
    short = round(chooser.uniform(0.2, min(3.0, seconds / 3)), 2)
    if kind not in ("partition", "unplug"):
        return short
    is_long = any(d[0] == "stop" for d in dealt) or (seconds > 5 and chooser.random() < 0.3)
    return LONG_SILENCE_S if is_long else short


def make(seed, seconds):
    chooser = random.Random(f"plan {seed}")
    faults, dealt = [], deal(seed)
    for name in dealt:
        kind, target, point = (*name, "", "")[:3]
        most = max(1, int(CRASH_POINTS.get((target, point), 1) * min(1, seconds / 6)))
        at_start = point == "store.migrating"
        faults.append(Fault(kind, target, point,
                            0.0 if at_start else round(chooser.uniform(0.3, seconds * 0.7), 2),
                            lasts_s(kind, chooser, seconds, dealt), chooser.randint(1, most), random.Random(f"{seed} {name}")))
    faults.sort(key=lambda f: f.at_s)
    points = {f.point for f in faults}
    settings = {}
    if points & {"auditor.turning", "auditor.sealing", "auditor.retention"}:
        settings["PROVISOR_AUDITOR_SEGMENT_ATTEMPTS"] = "100"
    elif chooser.random() < 0.5:
        settings["PROVISOR_AUDITOR_SEGMENT_ATTEMPTS"] = "300"
    if "auditor.retention" in points:
        settings["PROVISOR_AUDITOR_RETENTION_AGE"] = "2s"
    if chooser.random() < 0.3:  # most of a burst waits on disk
        settings["PROVISOR_EMITTER_WINDOW_EVENTS"] = "8"
    return Plan(seed, seconds, seed % 5 == 0, chooser.choice((1, 2)), chooser.choice((1, 2)),
                chooser.choice((30, 60, 100)), chooser.choice((2, 3)), settings, faults)
