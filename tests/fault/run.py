#!/usr/bin/python3
"""Rounds of faults against the real pipeline, checked; see README.md.

usage: run.py [--seed N] [--rounds K] [--seconds S] [--minutes M] [--jobs J] [--bin DIR] [--keep]
              [--all-faults]
       run.py --mutate [NAME...]    builds sabotaged variants; each must turn a round red
Round i has seed N + i: --seed N --rounds 1 does a round again. Exit code 1: a round failed, or a
variant passed."""

import argparse
import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6, help="of traffic per round")
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time; they mostly wait")
    parser.add_argument("--bin", help="folder of the binaries (default: PROVISOR_BIN)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed round")
    parser.add_argument("--all-faults", action="store_true",
                        help="a fault or crash point that never fired is a failure")
    parser.add_argument("--minutes", type=float, help="begin no round after this time")
    parser.add_argument("--mutate", nargs="*", metavar="NAME", help="test the harness itself")
    return parser.parse_args()


@dataclasses.dataclass
class Result:
    """What a round has seen."""

    violations: list
    fired: list
    events: int = 0
    arrivals: int = 0
    held: int = 0         # accepted while each sync took long
    kills: dict = dataclasses.field(default_factory=dict)  # of deliverers: (repeated, at most)
    memory_kib: int = 0   # more than before its faults, at most

    def __str__(self):
        repeated, most = (sum(column) for column in zip((0, 0), *self.kills.values()))
        return (f"{self.events} events, {self.arrivals} arrivals, {repeated} repeated after "
                f"{len(self.kills)} kills (at most {most}), fired: "
                f"{', '.join(sorted(self.fired)) or 'nothing'}")


class Round:
    def __init__(self, plan, folder, shim, parted):
        import cores
        import driver
        import rig
        self.plan = plan
        self.rig = rig.Rig(folder, plan, shim, parted)
        self.driver = driver.Driver(self.rig)
        self.make_core = cores.Core

    def run(self):
        try:
            return self.attack()
        finally:
            self.rig.close()

    def attack(self):
        import checker
        import resources
        rig, driver = self.rig, self.driver
        rig.start()
        driver.start_all()
        holders = resources.Resources(rig)
        failures = self.wait_ready()
        if failures:
            return Result([*failures, *driver.failures], [])
        before = holders.now()
        self.start_cores()
        driver.run_faults()
        rest = self.plan.seconds - (time.monotonic() - driver.began)
        time.sleep(max(0, rest))  # traffic goes on so long
        driver.wait_fired()
        self.cores[-1].enough.set()
        rig.heal()
        for core in self.cores:
            core.join(40)
            core.give_up.set()
        driver.disarm()
        failures += [f"a core: {core.failure}" for core in self.cores if core.failure]
        failures += self.drain()
        driver.job_states = self.finish_jobs()
        failures += holders.settled(before)
        self.read_history_to_its_end()
        rig.historian.close()
        if rig.historian.failure:
            failures.append(f"history: {rig.historian.failure}")
        driver.stop_all()
        rig.recorder.tell("quit")
        check = checker.Checker(driver, self.cores, rig.historian.records, rig.historian.removed)
        failures = [*check.run(), *failures, *checker.some(driver.failures)]
        return Result(failures, driver.fired, sum(core.done for core in self.cores),
                      len(check.arrivals), sum(1 for _ in check.held()), check.per_kill(),
                      holders.most_kib)

    def start_cores(self):
        """The last one only goes on behind the others, until all faults are over."""
        plan = self.plan
        self.cores = [self.make_core(i, plan.seed, self.rig.intake, plan.rate, plan.seconds)
                      for i in range(plan.cores)]
        self.cores.append(self.make_core(plan.cores, plan.seed, self.rig.intake, 20, 120, plan.seconds))
        self.driver.cores = self.cores
        for core in self.cores:
            core.start()

    def wait_ready(self, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not_ready := [name for name, stage in self.rig.pipeline.stages.items()
                            if not stage.ready()]:
            if time.monotonic() > deadline:
                return [f"not ready after {timeout_s} s: {', '.join(not_ready)}"]
            time.sleep(0.05)
        return []

    def drain(self, timeout_s=60):
        """Until nothing is left in journal and queues."""
        deadline, left, n = time.monotonic() + timeout_s, ["?"], 0
        while left and time.monotonic() < deadline:
            if n % 10 == 0:
                self.rig.enable_suspended()
            n += 1
            left = self.rig.left()
            if left:
                time.sleep(0.1)
        return [f"not drained after {timeout_s} s: {', '.join(left)}"] if left else []

    def finish_jobs(self):
        """Replays go on by themselves after whatever happened."""
        states, deadline = [], time.monotonic() + 30
        for job in self.driver.jobs:
            state = {}
            while time.monotonic() < deadline:
                try:
                    state = self.rig.pipeline.question({"op": "replay_status", "job": job}, timeout=2)
                except TimeoutError:
                    continue
                if state.get("state") != "running":
                    break
                time.sleep(0.1)
            states.append(state)
        if states:
            self.drain()
        return states

    def read_history_to_its_end(self):
        """Everything that the stages had to tell is in history when their queues are empty; it is read
        when some questions in a row have found nothing new."""
        deadline, self.rig.historian.quiet = time.monotonic() + 20, 0
        while self.rig.historian.quiet < 5 and time.monotonic() < deadline:
            time.sleep(0.05)


def run_round(plan, shim, keep, can_part):
    """In a process of its own. -> Result, and the seconds it took."""
    import network
    began, folder = time.monotonic(), pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-"))
    result = Result(["the harness was interrupted"], [])
    try:
        parted = plan.parted and can_part
        if parted:
            network.enter()
        result = Round(plan, folder, shim, parted).run()
    except Exception as e:
        result = Result([f"the harness: {e!r}"], [])
    finally:
        if keep and result.violations:
            result.violations.append(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return result, time.monotonic() - began


def mutate(args):
    """Prints a table of the variants. -> whether each was caught."""
    import disk
    import mutate as variants
    names = args.mutate or list(variants.VARIANTS)
    folder, table = pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-variants-")), []
    try:
        shim, workshop = disk.build_shim(folder), variants.Workshop(folder)
        for name, binaries in workshop.variants(names):
            seeds = variants.seeds_with(variants.VARIANTS[name][0], args.seconds)
            if isinstance(binaries, variants.NotBuilt):
                seed, complaint = "-", f"NOT BUILT: {binaries}"
            else:
                os.environ["PROVISOR_BIN"] = str(binaries)  # the rounds' processes read it
                seed, complaint = first_red(args, seeds, shim) or ("-", f"NOT CAUGHT by seeds {seeds}")
            table.append((name, seed, complaint))
            print(f"{name}: {f'red with seed {seed}: ' if seed != '-' else ''}{complaint}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'variant':34} {'seed':>4}  first complaint")
    for name, seed, complaint in table:
        print(f"{name:34} {seed:>4}  {complaint[:140]}")
    return all(seed != "-" for _, seed, _ in table)


def first_red(args, seeds, shim):
    """-> (seed, violation); None if no round was red."""
    for plan, result, _ in rounds_of(args, seeds, shim):
        if result.violations:
            return plan.seed, result.violations[0].splitlines()[0]
    return None


def rounds_of(args, seeds, shim):
    """Runs them, some at a time, in processes of their own. -> (plan, Result, seconds), as they end."""
    import network
    import plan as planning
    began, seeds, can_part = time.monotonic(), iter(seeds), not network.why_not()
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        running = {}
        while True:
            for seed in itertools.islice(seeds, args.jobs - len(running)):
                if not args.minutes or time.monotonic() - began < args.minutes * 60:
                    plan = planning.make(seed, args.seconds)
                    running[pool.submit(run_round, plan, shim, args.keep, can_part)] = plan
            if not running:
                return
            for future in concurrent.futures.wait(running, return_when="FIRST_COMPLETED").done:
                yield running.pop(future), *future.result()


def left_out():
    """-> {first word of a fault: why this machine cannot do it}"""
    import disk
    import network
    reasons = {} if disk.can_mount() else {"disk": "it needs a mount"}
    if why := network.why_not():
        reasons.update(partition=f"network namespaces: {why}", unplug=f"network namespaces: {why}")
    return reasons


def never_fired(rounds):
    import plan as planning
    fired, reasons = {name for _, result in rounds for name in result.fired}, left_out()
    return [n for n in planning.faults_named() if n not in fired and n.split()[0] not in reasons]


def run_again(args, rounds):
    """Seeds whose plan has a fault that never fired: a busy machine can be too slow for one."""
    never = set(never_fired(rounds)) if args.all_faults else set()
    return sorted({plan.seed for plan, _ in rounds if never & {str(fault) for fault in plan.faults}})


def summary(args, rounds, seconds):
    """Prints it. -> the exit code."""
    import plan as planning
    results = [result for _, result in rounds]
    fired = collections.Counter(name for result in results for name in result.fired)
    never = never_fired(rounds)
    for name, why in left_out().items():
        print(f"left out: {name}: {why}")
    failed = sorted({plan.seed for plan, result in rounds if result.violations})
    kills = [kill for result in results for kill in result.kills.values()]
    held = sum(result.held for result in results)
    print(f"\n{len(results)} rounds, {sum(r.events for r in results)} events, "
          f"{sum(r.arrivals for r in results)} arrivals, {seconds:.0f} s")
    print(f"repeated: {sum(kill[0] for kill in kills)} after {len(kills)} kills of deliverers, at most "
          f"{max((kill[0] for kill in kills), default=0)} after one; allowed: in flight and not committed, "
          f"{sum(kill[1] for kill in kills)}")
    print(f"accepted while a sync took 500 ms: {held}, none earlier")
    print(f"memory: at most {max((r.memory_kib for r in results), default=0)} KiB more than "
          "before the faults")
    print("fired:")
    for name in planning.faults_named():
        print(f"  {fired[name]:4} {name}")
    print(f"failed seeds: {failed or 'none'}")
    if args.all_faults and (never or not held):
        print(f"never fired: {', '.join(never) or 'accepted while a sync took 500 ms'}")
        return 1
    return 1 if failed else 0


def main():
    args = arguments()
    if args.mutate is not None:
        sys.exit(0 if mutate(args) else 1)
    if args.bin:
        os.environ["PROVISOR_BIN"] = args.bin
    import disk
    rounds, began = [], time.monotonic()
    todo = range(args.seed, args.seed + args.rounds)
    tools = pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-tools-"))
    try:
        shim = disk.build_shim(tools)
        for _ in range(3):
            for plan, result, seconds in rounds_of(args, todo, shim):
                rounds.append((plan, result))
                print(f"seed {plan.seed}: {plan}\n    {'FAILED' if result.violations else 'ok'} in "
                      f"{seconds:.1f} s: {result}", flush=True)
                for violation in result.violations:
                    print(f"    {violation}", flush=True)
            todo = run_again(args, rounds)
    finally:
        shutil.rmtree(tools, ignore_errors=True)
    sys.exit(summary(args, rounds, time.monotonic() - began))


if __name__ == "__main__":
    main()
