"""What the processes hold: descriptors by what they are, and memory. Compared when a round has settled
with what they held before its faults."""

import collections
import contextlib
import os
import pathlib
import re
import time

SETTLE_S = 30           # connections of the last questions and faults end by themselves
MORE = 2
SEGMENTS_MORE = 2 * 4 * 3 + 4  # two readers keep four segments open, of three files; the live one
MEMORY_MORE_KIB = 32 * 1024


def connected_to(pid, ports):
    """Inodes of sockets in its network namespace whose other end has one of the ports."""
    inodes = set()
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) in ports:
            inodes.add(fields[9])
    return inodes


def descriptors(pid, handler_ports, undo):
    """-> Counter by kind: sockets (but for those to handlers, which are kept for reuse), files (not the
    shim's notes, one per open file of a store), ..."""
    to_handlers, kinds = connected_to(pid, handler_ports), collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = ""
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        if target.startswith("socket:"):
            if re.sub(r"\D", "", target) not in to_handlers:
                kinds["socket"] += 1
        elif target and not target.startswith(f"{undo}/"):
            kinds["file" if target.startswith("/") else target] += 1
    return kinds


def memory_kib(pid):
    """Its own memory: what libraries share depends on who else runs."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss_Anon:\s+(\d+)", rollup, re.MULTILINE)[1])


class Resources:
    def __init__(self, rig):
        self.rig = rig
        self.ports = {port for pair in rig.handler_ports.values() for port in pair}
        self.undo = rig.undo.resolve()
        self.sanitized = "PROVISOR_SLOW" in os.environ
        self.most_kib = 0

    def now(self):
        """Of those that run: one that died is told of elsewhere."""
        held = {}
        for name, stage in self.rig.pipeline.stages.items():
            with contextlib.suppress(OSError):
                pid = stage.process.pid
                held[name] = descriptors(pid, self.ports, self.undo), memory_kib(pid)
        return held

    def grown(self, before):
        """-> texts, one per process that holds more than it should."""
        for name, (kinds, kib) in self.now().items():
            if name not in before:
                continue
            for kind, count in kinds.items():
                had = before[name][0][kind]
                if count > had + (SEGMENTS_MORE if (name, kind) == ("auditor", "file") else MORE):
                    yield f"{name} holds {count} descriptors of {kind}, had {had}"
            more_kib = kib - before[name][1]
            self.most_kib = max(self.most_kib, more_kib)
            if more_kib > MEMORY_MORE_KIB and not self.sanitized:
                yield f"{name} holds {kib} KiB, had {before[name][1]}"

    def settled(self, before):
        deadline = time.monotonic() + SETTLE_S
        while (grown := list(self.grown(before))) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [f"resources: {text}" for text in grown]
