#!/usr/bin/python3
"""Rounds of faults against the real pipeline, checked; see README.md.

usage: run.py [--seed N] [--rounds K] [--seconds S] [--minutes M] [--bin DIR] [--keep] [--all-faults]
       run.py --mutate [NAME...]    builds sabotaged variants; each must turn a round red
Round i has seed N + i: --seed N --rounds 1 does a round again. Exit code 1: a round failed."""

import argparse
import collections
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
    parser.add_argument("--bin", help="folder of the binaries (default: PROVISOR_BIN)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed round")
    parser.add_argument("--all-faults", action="store_true",
                        help="a fault or crash point that never fired is a failure")
    parser.add_argument("--minutes", type=float, help="begin no round after this time")
    parser.add_argument("--mutate", nargs="*", metavar="NAME", help="test the harness itself")
    return parser.parse_args()


class Round:
    def __init__(self, plan, folder, shim):
        import cores
        import driver
        import rig
        self.plan = plan
        self.rig = rig.Rig(folder, plan, shim)
        self.driver = driver.Driver(self.rig)
        self.make_core = cores.Core
        self.doubles = self.arrivals = 0

    def run(self):
        """-> violations."""
        try:
            return self.attack()
        finally:
            self.rig.close()

    def attack(self):
        import checker
        rig, driver = self.rig, self.driver
        rig.start()
        driver.start_all()
        rate = self.plan.rate
        self.cores = [self.make_core(i, self.plan.seed, rig.intake, rate, self.plan.seconds)
                      for i in range(self.plan.cores)]
        for core in self.cores:
            core.start()
        driver.run_faults()
        rest = self.plan.seconds - (time.monotonic() - driver.began)
        time.sleep(max(0, rest))  # traffic goes on so long
        rig.heal()
        for core in self.cores:
            core.join(40)
            core.give_up.set()
        driver.disarm()
        failures = [f"a core: {core.failure}" for core in self.cores if core.failure]
        failures += self.drain()
        driver.job_states = self.finish_jobs()
        self.read_history_to_its_end()
        rig.historian.close()
        if rig.historian.failure:
            failures.append(f"history: {rig.historian.failure}")
        driver.stop_all()
        rig.recorder.tell("quit")
        check = checker.Checker(driver, self.cores, rig.historian.records, rig.historian.removed)
        self.doubles, self.arrivals = check.count_doubles(), len(check.arrivals)
        return failures + driver.failures + check.run()

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
        when two questions in a row have found nothing new."""
        deadline, quiet, last = time.monotonic() + 10, 0, -1
        while quiet < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
            quiet = quiet + 1 if self.rig.historian.next == last else 0
            last = self.rig.historian.next


def run_round(plan, shim, keep):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-"))
    one = Round(plan, folder, shim)
    violations = ["the harness was interrupted"]
    try:
        violations = one.run()
    finally:
        if keep and violations:
            print(f"    kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return one, violations


def mutate(names, seconds):
    """-> names of the variants that no round caught."""
    import disk
    import mutate as variants
    import plan as planning
    import rig
    missed = []
    for name in names or variants.VARIANTS:
        faults, replacements = variants.VARIANTS[name]
        folder = pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-variant-"))
        try:
            rig.provisor.BIN = variants.build(folder, replacements)
            shim, caught = disk.build_shim(folder), None
            for seed in variants.seeds_with(faults):
                _, violations = run_round(planning.make(seed, seconds), shim, False)
                if violations:
                    caught = (seed, violations[0].splitlines()[0])
                    break
            print(f"{name}: " + (f"red with seed {caught[0]}: {caught[1]}" if caught else
                                 f"NOT CAUGHT by seeds {variants.seeds_with(faults)}"), flush=True)
            missed += [] if caught else [name]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return missed


def main():
    args = arguments()
    if args.mutate is not None:
        sys.exit(1 if mutate(args.mutate, args.seconds) else 0)
    if args.bin:
        os.environ["PROVISOR_BIN"] = args.bin
    import disk
    import plan as planning
    tools = pathlib.Path(tempfile.mkdtemp(prefix="provisor-fault-tools-"))
    fired, failed, began, rounds, events = collections.Counter(), [], time.monotonic(), 0, 0
    try:
        shim = disk.build_shim(tools)
        for seed in range(args.seed, args.seed + args.rounds):
            if args.minutes and time.monotonic() - began > args.minutes * 60:
                break
            plan = planning.make(seed, args.seconds)
            print(f"seed {seed}: {plan}", flush=True)
            at = time.monotonic()
            one, violations = run_round(plan, shim, args.keep)
            rounds += 1
            fired.update(one.driver.fired)
            sent = sum(core.done for core in one.cores)
            events += sent
            print(f"    {'FAILED' if violations else 'ok'} in {time.monotonic() - at:.1f} s: {sent} events, "
                  f"{one.arrivals} arrivals, {one.doubles} repeated, fired: "
                  f"{', '.join(sorted(one.driver.fired)) or 'nothing'}", flush=True)
            for violation in violations:
                print(f"    {violation}", flush=True)
            if violations:
                failed.append(seed)
    finally:
        shutil.rmtree(tools, ignore_errors=True)
    never = [name for name in planning.faults_named() if not fired[name]]
    print(f"\n{rounds} rounds, {events} events, {time.monotonic() - began:.0f} s; fired:")
    for name in planning.faults_named():
        print(f"  {fired[name]:4} {name}")
    print(f"failed seeds: {failed or 'none'}")
    if args.all_faults and never:
        print(f"never fired: {', '.join(never)}")
    sys.exit(1 if failed or (args.all_faults and never) else 0)


if __name__ == "__main__":
    main()
