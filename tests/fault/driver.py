"""The fault driver: starts the processes, does what the plan says, restarts what died, and keeps a diary
of what was done when, for the checker."""

import contextlib
import dataclasses
import os
import random
import resource
import signal
import threading
import time

import disk
import plan as planning
import rig as rigs

KILLED = -signal.SIGKILL
FAILED = 70  # it stopped because it could not go on; the next start recovers from disk
SLOW_SYNC_S = 3  # several commits
EARLY_S = 0.5  # a process that has just begun does not know of SIGTERM yet
STORES = {"emitter": "journal.", "deliverer": "queue.", "auditor": "history/"}
LATE_EVENTS = 3  # for a handler that no deliverer knows
LATE_EVENTS_S = planning.STOP_S + 5  # so long they may take
NOTICED_S = 10  # so long after it was cut off a stage has tried to send something


@dataclasses.dataclass
class Entry:
    """One thing that happened. Times are CLOCK_MONOTONIC seconds."""

    what: str
    stage: str
    began: float
    ended: float = 0.0
    committed: float = 0.0  # when the stage's last commit that ended began to sync, or its start


class Driver:
    def __init__(self, rig):
        self.rig, self.plan = rig, rig.plan
        self.stages = rig.pipeline.stages
        self.locks = {name: threading.RLock() for name in self.stages}  # a fault has the stage
        self.started = {}        # stage: when
        self.armed = {}          # stage: the fault that will kill it
        self.hindered = {name: 0 for name in self.stages}  # for how many reasons they cannot start now
        self.syncs_held = {name: [] for name in self.stages}  # so many ms, by each fault that holds them
        self.syncs_lock = threading.Lock()
        self.up = set()          # stages that are to be running
        self.diary, self.failures = [], []
        self.fired = []          # names of faults
        self.over = threading.Event()
        self.jobs = []           # replays that were asked for
        self.cores = []          # once they run

    # ---- the diary

    def note(self, what, stage="", began=None):
        entry = Entry(what, stage, began or time.monotonic(), time.monotonic())
        if stage:
            entry.committed = max(self.rig.switches[stage].get("commit_us") / 1e6, self.started[stage])
        self.diary.append(entry)
        return entry

    def fire(self, fault):
        self.fired.append(str(fault))

    # ---- processes

    def named(self, fault, kind=None):
        """The stage that a fault is for; one of several."""
        names = [n for n, s in self.stages.items() if s.kind == (kind or fault.target)]
        return fault.random.choice(sorted(names))

    def start_stage(self, name):
        """With its crash point, if one is armed."""
        fault = self.armed.get(name)
        env = {"PROVISOR_CRASH": f"{fault.point}:{fault.after}"} if fault and fault.point else None
        self.stages[name].start(env)
        self.started[name] = time.monotonic()
        self.up.add(name)

    def kill(self, name, what="kill"):
        began = time.monotonic()
        self.up.discard(name)
        stage = self.stages[name]
        stage.kill()
        stage.process.wait()
        stage.log.close()
        return self.note(what, name, began)

    def start_all(self):
        order = sorted(self.stages)
        self.plan_random("start").shuffle(order)
        at_start = {}
        for fault in self.plan.faults:
            if fault.point == "store.migrating":
                name = self.named(fault)
                at_start[name] = fault
        for name in order:
            if name in at_start:
                self.armed[name] = at_start[name]
            self.start_stage(name)
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def plan_random(self, what):
        return random.Random(f"{self.plan.seed} {what}")

    def watch(self):
        """Restarts what died, and tells whether it was to die."""
        while not self.over.wait(0.005):
            for name in self.stages:
                if name in self.up and not self.stages[name].alive() and \
                        self.locks[name].acquire(blocking=False):
                    try:
                        if name in self.up and not self.stages[name].alive():
                            self.died(name)
                    finally:
                        self.locks[name].release()

    def died(self, name):
        stage, fault = self.stages[name], self.armed.pop(name, None)
        code = stage.process.returncode
        stage.log.close()
        self.note("kill", name)
        if not self.cannot_start(name, code):
            if fault and code == (KILLED if fault.kind == "crash" else FAILED):
                self.fire(fault)
            else:
                self.unexpected(f"{name} ended by itself with code {code}", stage)
        self.rig.switches[name].set("sync_failures", 0)
        time.sleep(0.05)  # so that one which cannot start is not started in a circle
        self.start_stage(name)

    def cannot_start(self, name, code):
        """One that runs waits until it may write or read again, one that starts ends."""
        return bool(64 <= code < 79 and self.hindered[name] and
                    "event=start_failed" in self.stages[name].log_text().rstrip().rpartition("\n")[2])

    def unexpected(self, text, stage):
        tail = "\n    ".join(stage.log_text().splitlines()[-8:])
        self.failures.append(f"{text}:\n    {tail}")

    # ---- faults

    def run_faults(self):
        """Does all faults of the plan at their times; returns when the last has ended."""
        threads = [threading.Thread(target=self.one, args=(fault,), daemon=True)
                   for fault in self.plan.faults]
        if not self.plan.table_unread:
            threads.append(threading.Thread(target=self.add_late_handler_in_time, daemon=True))
        self.began = time.monotonic()
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + self.plan.seconds + 60
        for thread in threads:
            thread.join(max(0.1, deadline - time.monotonic()))
            if thread.is_alive():
                self.failures.append("a fault did not end")

    def add_late_handler_in_time(self):
        self.over.wait(self.plan.seconds * rigs.LATE_AT)
        self.add_late_handler()

    def add_late_handler(self):
        """Returns when all routers that run know of it."""
        for tries_left in range(50, 0, -1):
            try:
                self.rig.add_handlers(late=True)
                break
            except AssertionError as e:  # a full disk
                if tries_left == 1:
                    self.failures.append(f"the late handler: {e!r}")
                time.sleep(0.1)
        self.late_at = time.monotonic()

    def one(self, fault):
        wait_s = fault.at_s - (time.monotonic() - self.began)
        if wait_s > 0:
            self.over.wait(wait_s)
        try:
            getattr(self, "fault_" + fault.kind.replace(" ", "_"))(fault)
        except Exception as e:
            self.failures.append(f"{fault}: {e!r}")

    def fault_kill(self, fault):
        name = self.named(fault)
        with self.locks[name]:
            self.kill(name)
            self.fire(fault)
            time.sleep(fault.lasts_s / 3)
            self.start_stage(name)

    def kill_several(self, fault, names, between=None):
        with_locks = sorted(names)
        for name in with_locks:
            self.locks[name].acquire()
        try:
            began = time.monotonic()
            for name in names:
                self.up.discard(name)
                self.stages[name].kill()
            for name in names:
                self.kill(name).began = began
            if between:
                between()
            self.fire(fault)
            fault.random.shuffle(names)
            for name in names:
                time.sleep(fault.random.uniform(0, 0.3))
                self.start_stage(name)
        finally:
            for name in with_locks:
                self.locks[name].release()

    def fault_kill_two(self, fault):
        self.kill_several(fault, [self.named(fault, kind) for kind in fault.target.split("+")])

    def fault_kill_all(self, fault):
        self.kill_several(fault, sorted(self.stages))

    def fault_power_cut(self, fault):
        """Of all, or of a machine with one stage; that one while its commits wait for their syncs."""
        names, stores = sorted(self.stages), ""
        if fault.target:
            names = [self.named(fault)]
            stores = f"{self.stages[names[0]].data.resolve()}/{STORES[fault.target]}"
            self.wait_for_syncs(names)

        def between():
            small = self.rig.small_disk
            with small.room() if small and small.mounted else contextlib.nullcontext():
                lost = disk.cut_power(self.rig.undo, fault.random, stores)
            self.note(f"power cut lost {lost} writes")
        self.kill_several(fault, names, between)

    @contextlib.contextmanager
    def hold_syncs(self, names, ms):
        """Each sync takes so long; the longest time counts when several faults hold them."""
        for name in names:
            self.hold_sync(name, list.append, ms)
        try:
            yield
        finally:
            for name in names:
                self.hold_sync(name, list.remove, ms)

    def hold_sync(self, name, change, ms):
        with self.syncs_lock:
            held = self.syncs_held[name]
            change(held, ms)
            self.rig.switches[name].set("sync_ms", max(held, default=0))

    def wait_for_syncs(self, names):
        """Their commits wait so long that whoever has told of one before that has lied."""
        began = time.monotonic()
        with self.hold_syncs(names, 400):
            time.sleep(1)
        self.note("slow syncs", "", began)

    def fault_slow_power_cut(self, fault):
        self.wait_for_syncs(self.stages)
        self.fault_power_cut(fault)

    def fault_kill_unmarked(self, fault):
        """What it did is in its store, and the auditor has heard nothing of it."""
        name, link = self.named(fault), f"{fault.target}-audit"
        with self.locks[name]:
            self.rig.proxy.tell(f"cut {link}")
            time.sleep(0.6)
            self.kill(name)
            self.rig.proxy.tell(f"open {link}")
            self.fire(fault)
            self.start_stage(name)

    def fault_crash(self, fault):
        if fault.point == "store.migrating":
            return  # armed at the start
        name = self.named(fault)
        self.wait_unarmed(name)
        with self.locks[name]:
            self.kill(name)
            self.armed[name] = fault
            self.start_stage(name)
        if fault.point == "auditor.planned":
            self.replay()

    def wait_unarmed(self, name):
        """One thing at a time is to kill a stage."""
        deadline = time.monotonic() + planning.STOP_S + self.plan.seconds
        while name in self.armed and time.monotonic() < deadline:
            self.over.wait(0.01)

    def fault_restart(self, fault):
        """SIGTERM: drains, exits 0."""
        self.restart(self.named(fault))
        self.fire(fault)

    def restart(self, name):
        with self.locks[name]:
            self.up.discard(name)
            stage = self.stages[name]
            began = time.monotonic()
            stage.kill(signal.SIGTERM)
            try:
                code = stage.wait(25)
            except Exception:
                code = "none within 25 s"
                stage.kill()
                stage.process.wait()
            stage.log.close()
            if code == 0 or code == -signal.SIGTERM and began - self.started[name] < EARLY_S:
                self.note("restart", name, began)
                self.start_stage(name)
            elif name in self.armed or self.cannot_start(name, code):
                self.died(name)
            else:
                self.unexpected(f"{name}: SIGTERM ended it with {code}", stage)
                self.note("kill", name, began)
                self.start_stage(name)

    def fault_stop(self, fault):
        name = self.named(fault)
        with self.locks[name]:
            began = time.monotonic()
            self.stages[name].kill(signal.SIGSTOP)
            time.sleep(fault.lasts_s)
            self.stages[name].kill(signal.SIGCONT)
            self.note("stop", name, began)
            self.fire(fault)

    def link(self, fault, state):
        began = time.monotonic()
        self.rig.proxy.tell(f"{state} {fault.target}")
        time.sleep(fault.lasts_s)
        self.rig.proxy.tell(f"open {fault.target}")
        self.note(f"link {fault.target}", "", began)
        self.fire(fault)

    def fault_cut(self, fault):
        self.link(fault, "cut")

    def fault_freeze(self, fault):
        self.link(fault, "freeze")

    def fault_lose(self, fault):
        self.link(fault, "lose")

    def fault_partition(self, fault):
        """One of each kind; both go on and hear nothing of each other."""
        if self.rig.network:
            pair = [self.named(fault, kind) for kind in fault.target.split("+")]
            self.silence(fault, self.rig.network.parted([pair]))

    def fault_unplug(self, fault):
        """From all others; but a deliverer keeps its handlers: what they have done and it never heard
        of would be done again."""
        if not self.rig.network:
            return
        name = self.named(fault)
        if fault.target == "deliverer":
            others = [(name, other) for other in self.stages if other != name]
            self.silence(fault, self.rig.network.parted(others))
        else:
            self.silence(fault, self.rig.network.unplugged(name))

    def silence(self, fault, network_cut):
        """It has fired when a kernel has sent something again in vain. What goes through the proxy
        stands still meanwhile; then a stage may have nothing to send, as it answers what it hears."""
        kinds = set(fault.target.split("+"))
        links = [link for link in self.plan.proxied if kinds <= set(planning.between(link))]
        began, sent_again = time.monotonic(), self.rig.network.sent_again
        before = sent_again()
        noticed = lambda: links or sent_again() > before  # noqa: E731
        with network_cut:
            for link in links:
                self.rig.proxy.tell(f"freeze {link}")
            time.sleep(fault.lasts_s)
            while not noticed() and time.monotonic() < began + fault.lasts_s + NOTICED_S:
                self.over.wait(0.05)
            for link in links:
                self.rig.proxy.tell(f"open {link}")
        self.note("partition", "", began)
        if noticed():
            self.fire(fault)

    def fault_slow_sync(self, fault):
        name = self.named(fault)
        began = time.monotonic()
        with self.hold_syncs([name], 500):
            time.sleep(max(SLOW_SYNC_S, fault.lasts_s))
        self.note(fault.kind, name, began)
        self.fire(fault)

    def fault_clock(self, fault):
        name = self.named(fault)
        began = time.monotonic()
        self.rig.switches[name].set("clock_ms", fault.random.choice((-3600000, 3600000)))
        time.sleep(fault.lasts_s)
        self.rig.switches[name].set("clock_ms", 0)
        self.note(fault.kind, name, began)
        self.fire(fault)

    def fault_sync_fails(self, fault):
        """EIO: the process must stop at once; what it does next is read from disk."""
        name = self.named(fault)
        self.wait_unarmed(name)
        with self.locks[name]:
            self.armed[name] = fault
            self.rig.switches[name].set("sync_failures", 1)

    @contextlib.contextmanager
    def hinder_starts(self, names):
        """One that runs goes on or waits; who starts one meanwhile must start it again."""
        for name in names:
            self.hindered[name] += 1
        try:
            yield
        finally:
            time.sleep(0.5)  # what had begun by then may still end one
            for name in names:
                with self.locks[name]:
                    if not self.stages[name].alive():
                        self.died(name)
                    self.hindered[name] -= 1

    def fault_read_only(self, fault):
        name = self.named(fault)
        switches = self.rig.switches[name]
        refused = switches.get("refused")
        with self.hinder_starts([name]):
            switches.set("read_only", 1)
            time.sleep(fault.lasts_s)
            switches.set("read_only", 0)
        if switches.get("refused") > refused:
            self.fire(fault)

    def fault_name_gone(self, fault):
        """From its start on it finds neither its peers nor handlers."""
        name = self.named(fault)
        switches = self.rig.switches[name]
        unresolved = switches.get("unresolved")
        switches.set("name_gone", 1)
        self.restart(name)
        time.sleep(fault.lasts_s)
        deadline = time.monotonic() + 5  # on a busy machine it begins late
        while switches.get("unresolved") == unresolved and time.monotonic() < deadline:
            time.sleep(0.05)
        if switches.get("unresolved") > unresolved:
            self.fire(fault)
        switches.set("name_gone", 0)

    def fault_table_unread(self, fault):
        """The late handler is added while no deliverer can read the table, and routers send events for
        it: a handler that a deliverer does not know is not one that was deleted."""
        names = [n for n, s in self.stages.items() if s.kind == fault.target]
        switches = [self.rig.switches[name] for name in names]
        with self.hinder_starts(names):
            for each in switches:
                each.set("table_unread", 1)
            self.add_late_handler()
            deadline = self.late_at + LATE_EVENTS_S
            while self.late_events() < LATE_EVENTS and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(fault.lasts_s)
            if self.late_events() >= LATE_EVENTS and any(each.get("unread") for each in switches):
                self.fire(fault)
            for each in switches:
                each.set("table_unread", 0)

    def late_events(self):
        """How many were accepted that were sent after their handler had been added."""
        return sum(rigs.matches("late", e.events_id) and bool(e.acked_at) and e.first_sent_at > self.late_at
                   for core in self.cores for e in list(core.events))

    def fault_disk_full(self, fault):
        if not self.rig.small_disk.mounted:
            return
        with self.hinder_starts(sorted(self.stages)):
            self.rig.small_disk.fill()
            time.sleep(fault.lasts_s)
            self.rig.small_disk.free()
        self.fire(fault)

    @contextlib.contextmanager
    def ready(self, name):
        """Holds the stage once it is up; while it cannot write it may take some time."""
        self.locks[name].acquire()
        while not self.stages[name].ready():
            self.locks[name].release()  # for those who restart it
            time.sleep(0.05)
            self.locks[name].acquire()
        try:
            yield
        finally:
            self.locks[name].release()

    def fault_descriptors(self, fault):
        """No descriptor is left, and it needs one: what is open goes on, and it recovers."""
        name = self.named(fault)
        with self.ready(name):
            pid, began = self.stages[name].process.pid, time.monotonic()
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            count = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))
            self.rig.proxy.tell(f"cut {planning.EXPOSED[fault.target]}")
            time.sleep(0.1)
            self.rig.proxy.tell(f"open {planning.EXPOSED[fault.target]}")
            time.sleep(fault.lasts_s)
            if self.stages[name].alive():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
                self.fire(fault)
            self.note("descriptors", name, began)

    def wait_fired(self):
        """What is armed may need a little more of the traffic."""
        deadline = time.monotonic() + self.plan.seconds + 3
        while self.armed and time.monotonic() < deadline:
            self.over.wait(0.01)

    def replay(self):
        """Asks for a replay of what is exhausted; again until the auditor has answered."""
        for _ in range(20):
            try:
                answer = self.rig.pipeline.question(
                    {"op": "replay", "handler_id": self.rig.handler_ids["doomed"],
                     "status": "exhausted", "since_ms": 1, "superseded": True}, timeout=1)
            except TimeoutError:
                continue
            if answer.get("ok"):
                self.jobs.append(answer["job"])
                return
            time.sleep(0.2)
        self.failures.append("the auditor took no replay")

    # ---- the end

    def disarm(self):
        """What was armed and never came by is no fault; the stage is restarted without."""
        for name, fault in list(self.armed.items()):
            with self.locks[name]:
                if self.armed.pop(name, None):
                    self.rig.switches[name].set("sync_failures", 0)
                    self.kill(name)
                    self.start_stage(name)

    def stop_all(self):
        """Upstream first; each must exit 0."""
        self.over.set()
        self.watcher.join(5)
        for name in reversed(list(self.stages)):
            stage = self.stages[name]
            stage.kill(signal.SIGTERM)
            try:
                code = stage.wait(25)
            except Exception:
                code = "none within 25 s"
                stage.kill()
                stage.process.wait()
            if code != 0:
                self.unexpected(f"{name}: the last SIGTERM ended it with {code}", stage)
