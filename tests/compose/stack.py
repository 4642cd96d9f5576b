"""The stack as docker-compose runs it, with a core and a handler of the test's in their networks."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

FOLDER = pathlib.Path(__file__).parents[2] / "compose"
STAGES = ("emitter", "router", "deliverer", "auditor")
PUBLISH = "127.0.0.55"  # where nobody else listens


def run(*command, check=True, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def wait_until(predicate, what, timeout=60):
    """The first true value of predicate(). A timeout tells that something hangs, never how fast it is."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.05)
    return value


class Stack:
    """files: beyond compose.yaml. COMPOSE_PROJECT_NAME names it. With `with`: nothing of it stays."""

    def __init__(self, *files):
        self.project = os.environ["COMPOSE_PROJECT_NAME"]
        self.files = [flag for file in ("compose.yaml", *files, "ci.yaml") for flag in ("-f", file)]
        self.handler = 0
        self.saved = set()  # accepted before the backup began

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.folder.name)
        self.out.chmod(0o777)  # containers write as nobody
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.compose("logs", "--no-color", "--tail", "30", check=False).stdout, flush=True)
        for profile in ("demo", "test"):
            self.compose("rm", "-s", "-f", profile=profile, check=False)
        self.compose("down", "-v", "-t", "0", check=False)
        self.folder.cleanup()

    def compose(self, *arguments, profile="", check=True):
        """docker-compose ARGUMENTS, in the folder of the stack."""
        flags = ("--profile", profile) if profile else ()
        return run("docker-compose", *self.files, *flags, *arguments, check=check, cwd=FOLDER,
                   env={**os.environ, "PROVISOR_TEST_OUT": str(self.out), "PROVISOR_PUBLISH": PUBLISH})

    def provisor(self, service, *arguments, check=True):
        return self.compose("exec", "-T", service, "provisor", *arguments, check=check).stdout

    def container(self, service, index=1):
        return f"{self.project}_{service}_{index}"

    def inspect(self, service, index=1):
        done = run("docker", "inspect", self.container(service, index), check=False)
        return json.loads(done.stdout)[0] if done.returncode == 0 else None

    def pid(self, service, index=1):
        """Of the main process, on the host; 0 when it does not run."""
        found = self.inspect(service, index)
        return found["State"]["Pid"] if found and found["State"]["Running"] else 0

    def health(self, service, index=1):
        found = self.inspect(service, index)
        return found["State"]["Health"]["Status"] if found and found["State"]["Running"] else "down"

    def wait_healthy(self, *services):
        for service in services or STAGES:
            wait_until(lambda s=service: self.health(s) == "healthy", f"{service} to be healthy")

    def kill(self, service):
        """As a crash does it: the engine starts it again. Returns when it has."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pid(service) not in (0, pid), f"{service} to be started again")

    def disconnect(self, service):
        run("docker", "network", "disconnect", f"{self.project}_pipeline", self.container(service))

    def connect(self, service):
        aliases = [service] if service == "router" else [service, f"{service}.pipeline"]
        run("docker", "network", "connect", *(word for a in aliases for word in ("--alias", a)),
            f"{self.project}_pipeline", self.container(service))

    def enter(self, service, *command, check=True):
        """Runs a command of the machine's in the network of the container."""
        return run("nsenter", "-t", str(self.pid(service)), "-n", *command, check=check)

    def cut(self, one, other):
        """Packets between these two are lost, both ways; returns what joins them again."""
        entries = []
        for here, there in ((one, other), (other, one)):
            address = self.addresses(there)["pipeline"]
            device = self.enter(here, "ip", "route", "get", address).stdout.split(" dev ")[1].split()[0]
            entries.append((here, address, "dev", device))
        for here, *entry in entries:  # a hardware address that nobody has
            self.enter(here, "ip", "neighbour", "replace", *entry, "lladdr", "02:00:00:00:00:00", "nud", "permanent")
        return lambda: [self.enter(here, "ip", "neighbour", "delete", *entry) for here, *entry in entries]

    def addresses(self, service):
        """Of the container, by network."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return {name.removeprefix(f"{self.project}_"): n["IPAddress"] for name, n in networks.items()}

    def log(self, service, index=1):
        done = run("docker", "logs", self.container(service, index), check=False)
        return done.stdout + done.stderr

    def restore(self, name):
        """As docs/operations.md tells."""
        stores = ("backups", "journal", "queue", "history", "handlers")
        run("docker", "run", "--rm", "--network", "none",
            *(word for s in stores for word in ("-v", f"{self.project}_{s}:/{s}")), "debian:bookworm-slim", "sh", "-ec",
            f"""cd /backups/{name}
            rm -rf /journal/* /queue/* /history/* /handlers/*
            cp -a journal.db /journal; cp -a queue.db /queue; cp -a history /history; cp -a handlers.db /handlers""")

    def add_handler(self, *flags):
        self.handler = int(self.provisor("router", "handler", "add", "--name", "test", "--event", "*", "--task",
                                         "http://test-handler:8080/", *flags))

    def start_handler(self):
        """Returns when it listens: no circuit opens."""
        (self.out / "listening").unlink(missing_ok=True)
        self.compose("up", "-d", "test-handler", profile="test")
        wait_until((self.out / "listening").exists, "the handler to listen")

    # what core and handler have written

    def lines(self, name):
        path = self.out / name
        return path.read_text().split("\n")[:-1] if path.exists() else []  # the last one is being written

    def accepted(self):
        return [line.split()[1] for line in self.lines("accepted")]

    def arrivals(self):
        """(id, object, n) of each request, in order."""
        return [(id_, int(object_), int(n)) for id_, object_, n in map(str.split, self.lines("arrivals"))]

    def waiting(self):
        """How many accepted events have not arrived."""
        return len(set(self.accepted()) - {id_ for id_, _, _ in self.arrivals()})

    def wait_accepted(self, events, timeout=60):
        """Until so many more are accepted: the id of the last one."""
        first = len(self.accepted())
        return wait_until(lambda: self.accepted()[first + events:], "events to be accepted", timeout)[0]

    def wait_flow(self, events=20, timeout=60):
        """Until so many events that are accepted from now on have arrived."""
        goal = self.wait_accepted(events, timeout)
        wait_until(lambda: any(goal in line for line in self.lines("arrivals")), "events to arrive", timeout)
