"""How fast the pipeline is, as ratios to what the machine can do (docs/performance.md).
Usage: PROVISOR_BIN=... bench.py [--only steady,latency] [--repeat N] [--quick] [--syscalls] [--json]
Exit code: 0 if every bar was met, 1 if one was missed, 2 if something could not be measured."""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile

import rig
import scenarios
from result import HEAD

ROOT = pathlib.Path(__file__).parents[2]


def arguments():
    parser = argparse.ArgumentParser(description="Measures the pipeline against the limits of this machine.")
    parser.add_argument("--only", default="", help=f"of {','.join(scenarios.ALL)}; default: all")
    parser.add_argument("--repeat", type=int, help="repetitions, of which the median counts; default: 5")
    parser.add_argument("--quick", action="store_true", help="the same as --scale 0.2 --repeat 2: to see that it works")
    parser.add_argument("--scale", type=float, default=1.0, help="of every count, up to 1")
    parser.add_argument("--syscalls", action="store_true", help="count them as well, with perf, which slows a little")
    parser.add_argument("--json", action="store_true", help="one object per line, to the standard output")
    options = parser.parse_args()
    options.scale = 0.2 if options.quick else options.scale
    options.repeat = options.repeat if options.repeat is not None else 2 if options.quick else 5
    options.names = [n for n in options.only.split(",") if n] or list(scenarios.ALL)
    unknown = [n for n in options.names if n not in scenarios.ALL]
    if unknown or options.repeat < 1 or not 0 < options.scale <= 1:
        parser.error(f"unknown scenario {', '.join(unknown)}" if unknown else "--repeat from 1, --scale up to 1")
    rig.Meter.count_syscalls = options.syscalls
    rig.Limit.seconds = 2 * max(options.scale, 0.1)
    return options


def show(result, options):
    rig.progress("")
    print(json.dumps(result.json()) if options.json else result.text(), flush=True)


def results(options, folder, failures):
    """As they come. What could not be measured goes to failures; the others are measured all the same."""
    for name in options.names:
        try:
            yield from scenarios.ALL[name](options, folder)
        except (rig.Failed, AssertionError, TimeoutError) as error:
            rig.progress("")
            print(f"bench: {name}: {error}", file=sys.stderr)
            failures.append(name)


def summary(shown):
    """All that have a bar, once more, without anything in between."""
    rows = [result.row() for result in shown if result.bar is not None]
    print("\n".join(["", HEAD, *rows]), flush=True)


def run(options, folder):
    """The exit code."""
    shown, failures = [], []
    if not options.json:
        print(HEAD)
    for result in results(options, folder, failures):
        show(result, options)
        shown.append(result)
    if not options.json:
        summary(shown)
    missed = any(result.reaches(result.bar) is False for result in shown)
    return 2 if failures else 1 if missed else 0


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with blocks clean up
    parent = os.environ.get("PROVISOR_BENCH_DIR", ROOT / "build")  # a disk, not memory
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        return run(options, pathlib.Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
