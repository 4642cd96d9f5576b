#!/usr/bin/python3
"""Network namespaces: each stage in one of its own, each joined to the round's by a link of its own.

The round's namespace is the router between them, and where cores, handlers and proxies are. Two stages
are parted by a rule there that drops what they send each other: no kernel hears a reset, each sees
only that nothing comes back. A stage is unplugged by taking its link down. Nothing outside of the
round's namespace is touched, and all of it is gone with the round. As a program: exit 0 if this
machine allows all that, else 1 and why."""

import contextlib
import ctypes
import itertools
import os
import pathlib
import socket
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
HUB = "10.77.255.1"  # of the round's namespace, for all


def enter():
    """A namespace of its own for this process, and its threads and children from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace: " + os.strerror(ctypes.get_errno()))
    ip("link", "set", "lo", "up")
    ip("addr", "add", f"{HUB}/32", "dev", "lo")
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def ip(*words, inside=()):
    done = subprocess.run([*inside, "ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def namespace(pid="self"):
    return os.readlink(f"/proc/{pid}/ns/net")


class Network:
    """Requires enter()."""

    def __init__(self, names):
        self.holders, self.addresses = {}, {}
        self.priorities = itertools.count(1000)  # two rules may say the same
        for i, name in enumerate(names):
            self.add(name, f"s{i}", f"10.77.{i}")

    def add(self, name, link, net):
        """The holder keeps the namespace while the stage is down."""
        holder = self.holders[name] = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        deadline = time.monotonic() + 20
        while namespace(holder.pid) == namespace() or \
                pathlib.Path(f"/proc/{holder.pid}/comm").read_text() != "sleep\n":
            if time.monotonic() > deadline or holder.poll() is not None:
                raise OSError("no second network namespace")
            time.sleep(0.002)
        inside = self.wrapper(name)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        ip("addr", "add", f"{net}.1/24", "dev", link)
        ip("link", "set", link, "up")
        ip("link", "set", "lo", "up", inside=inside)
        ip("addr", "add", f"{net}.2/24", "dev", "eth0", inside=inside)
        ip("link", "set", "eth0", "up", inside=inside)
        ip("route", "add", "default", "via", f"{net}.1", inside=inside)
        self.addresses[name] = f"{net}.2"

    def wrapper(self, name):
        """What a command begins with to run there; it is replaced by the command."""
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net"]

    @contextlib.contextmanager
    def parted(self, pairs):
        """Silence between them."""
        rules = [("from", self.addresses[x], "to", self.addresses[y],
                  "priority", str(next(self.priorities)), "blackhole") for pair in pairs for x, y in (pair, pair[::-1])]
        for rule in rules:
            ip("rule", "add", *rule)
        try:
            yield
        finally:
            for rule in rules:
                ip("rule", "del", *rule)

    @contextlib.contextmanager
    def unplugged(self, name):
        """Silence between it and all others."""
        link = f"s{list(self.addresses).index(name)}"
        ip("link", "set", link, "down")
        try:
            yield
        finally:
            ip("link", "set", link, "up")

    def sent_again(self):
        """Segments that stages' kernels had to send again since the beginning: nothing but a cut loses one."""
        count = 0
        for holder in self.holders.values():
            lines = pathlib.Path(f"/proc/{holder.pid}/net/snmp").read_text().splitlines()
            keys, values = (line.split() for line in lines if line.startswith("Tcp:"))
            count += int(values[keys.index("RetransSegs")])
        return count

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()


def try_out():
    """Raises OSError where any of it is refused."""
    enter()
    network = Network(("a", "b"))
    try:
        def reaches():
            command = "import socket, sys; s = socket.socket(); s.settimeout(0.5); s.connect((sys.argv[1], 9))"
            done = subprocess.run([*network.wrapper("a"), sys.executable, "-c", command, network.addresses["b"]],
                                  capture_output=True, text=True)
            return "refused" in done.stderr  # nobody listens
        if not reaches():
            raise OSError("namespaces do not reach each other")
        for silence in (network.parted([("a", "b")]), network.unplugged("b")):
            with silence:
                if reaches():
                    raise OSError("namespaces cannot be parted")
            if not reaches():
                raise OSError("namespaces do not reach each other again")
    finally:
        network.close()


def why_not():
    """-> "" if it is possible."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


if __name__ == "__main__":
    socket.setdefaulttimeout(5)
    try:
        try_out()
    except OSError as e:
        sys.exit(str(e))
