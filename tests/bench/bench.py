"""How fast the pipeline is, as ratios to what the machine can do (docs/performance.md).
Usage: PROVISOR_BIN=... bench.py [--only steady,latency] [--repeat 5] [--quick] [--json]"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile

import limits
import rig
import scenarios
from result import HEAD

ROOT = pathlib.Path(__file__).parents[2]


def arguments():
    parser = argparse.ArgumentParser(description="Measures the pipeline against the limits of this machine.")
    parser.add_argument("--only", default="", help=f"of {','.join(scenarios.ALL)}; default: all")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, of which the median counts")
    parser.add_argument("--quick", action="store_true", help="few events: to see that it works")
    parser.add_argument("--json", action="store_true", help="one object per line, to the standard output")
    options = parser.parse_args()
    options.names = [n for n in options.only.split(",") if n] or list(scenarios.ALL)
    unknown = [n for n in options.names if n not in scenarios.ALL]
    if unknown or options.repeat < 1:
        parser.error(f"unknown scenario {', '.join(unknown)}" if unknown else "--repeat 1 or more")
    return options


def show(result, options):
    rig.progress("")
    print(json.dumps(result.json()) if options.json else result.text(), flush=True)
    return result.reaches(result.bar) is not False


def run(options, folder):
    """True if every bar was met."""
    met = True
    if not options.json:
        print(HEAD)
    for result in limits.all_limits(options, folder) if not options.only else ():
        met &= show(result, options)
    for name in options.names:
        try:
            for result in scenarios.ALL[name](options, folder):
                met &= show(result, options)
        except (rig.Failed, AssertionError, TimeoutError) as error:  # the others are measured all the same
            rig.progress("")
            print(f"bench: {name}: {error}", file=sys.stderr)
            met = False
    return met


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with blocks clean up
    parent = os.environ.get("PROVISOR_BENCH_DIR", ROOT / "build")  # a disk, not memory
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as folder:
        return 0 if run(options, pathlib.Path(folder)) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
