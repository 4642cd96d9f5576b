"""The compose stack on a real engine, its images built: everything that docs/operations.md says of it.

Usage: run.py    (scripts/test-compose builds the images and cleans up)"""

import collections
import itertools
import pathlib
import signal
import sys
import time

import zmq

from stack import PUBLISH, STAGES, Stack, wait_until

PORTS = [5550, 5551, 5552, *range(5560, 5566), 5570, 5571, 5572, *range(5580, 5584)]
RETRY = ("--retry", ",".join(["1s"] * 30))
began = time.monotonic()


def say(text):
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)


def comes_up(stack):
    before = time.monotonic()
    stack.compose("up", "-d")
    stack.wait_healthy()
    say(f"up and healthy after {time.monotonic() - before:.1f} s")
    for service in STAGES:
        config = stack.inspect(service)
        host = config["HostConfig"]
        assert config["Config"]["User"] == "10001:10001" and host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], host
        assert host["SecurityOpt"] == ["no-new-privileges:true"] and host["Memory"] > 0, host


def shows_the_demo(stack):
    stack.compose("up", "-d", profile="demo")
    for service, text in (("core", "'accepted'"), ("handler", "clients.update of"),
                          ("audit-subscriber", "delivery.delivered: clients.update")):
        wait_until(lambda: text in stack.log(service), f"{text} in the log of {service}")
    assert "clients.update" in stack.provisor("auditor", "log")
    stack.compose("up", "-d", "add-handler", profile="demo")
    wait_until(lambda: not stack.pid("add-handler"), "add-handler to end")
    assert stack.provisor("router", "handler", "list").count(" demo ") == 1
    stack.compose("rm", "-s", "-f", "core", "handler", "audit-subscriber", "add-handler", profile="demo")
    stack.provisor("router", "handler", "disable", "1")
    say("demo: events arrive and are shown")


def keeps_networks_apart(stack):
    """A peer connects to what it has business with, and to nothing else of any stage."""
    addresses = {service: stack.addresses(service) for service in STAGES}
    targets = [f"{address}:{port}" for of in addresses.values() for address in of.values() for port in PORTS]
    for peer, network, stage, ports in (("test-core", "intake", "emitter", (5550, 5551)),
                                        ("test-reader", "monitoring", "auditor", (5571, 5572)),
                                        ("test-handler", "egress", "deliverer", ())):
        reached = stack.compose("run", "--rm", "-T", peer, "/test/reach.py", *targets, profile="test").stdout.split()
        wanted = sorted(f"{addresses[stage][network]}:{port}" for port in ports)
        assert reached == wanted, f"{peer} reaches {reached}, not {wanted}"
    say("networks: a core, a subscriber and a handler reach what they should, nothing else")


def survives_kills(stack):
    for service in STAGES:
        stack.kill(service)
        stack.wait_flow()
        say(f"killed the {service}: events go on")


def survives_lost_packets(stack):
    """Between each pair of stages in turn, while the others hear each other."""
    for one, other in itertools.combinations(STAGES, 2):
        join = stack.cut(one, other)
        port = {"router": 5581, "deliverer": 5582, "auditor": 5583}[other]
        target = f"{stack.addresses(other)['pipeline']}:{port}"
        reach = [sys.executable, str(pathlib.Path(__file__).parent / "reach.py"), target]
        assert not stack.enter(one, *reach).stdout.strip(), f"{one} still reaches {other}"
        if other == "auditor":  # deliveries do not need it
            stack.wait_flow(100)
        elif (one, other) == ("emitter", "deliverer"):  # they go on without receipts, slowly
            stack.wait_accepted(100)
        else:
            wait_until(lambda: stack.waiting() >= 100, "events to wait while they cannot pass")
        join()
        assert stack.enter(one, *reach).stdout.strip() == target
        stack.wait_flow()
        say(f"lost all packets between {one} and {other} for a while: events go on")


def survives_partitions(stack):
    for service in STAGES:
        stack.disconnect(service)
        if service == "auditor":  # deliveries do not need it
            stack.wait_flow(100)
        else:
            wait_until(lambda: stack.waiting() >= 100, "events to wait while they cannot pass")
        stack.connect(service)
        stack.wait_flow()
        say(f"cut the {service} from the others, and joined it again: events go on")


def scales_routers(stack):
    stack.compose("up", "-d", "--no-recreate", "--scale", "router=3", "router")
    wait_until(lambda: "connected=3" in stack.log("emitter"), "the emitter to find three routers")
    wait_until(lambda: stack.provisor("auditor", "status", check=False).count("\nrouter ") == 3, "all in provisor status")
    stack.wait_flow()
    stack.compose("up", "-d", "--no-recreate", "--scale", "router=1", "router")
    stack.wait_flow()
    say("three routers and back to one: events go on")


def refuses_a_second_owner(stack):
    owners = ("emitter", "auditor")
    scale = lambda n: stack.compose("up", "-d", "--no-recreate",  # noqa: E731
                                    *(word for s in owners for word in ("--scale", f"{s}={n}")), *owners)
    scale(2)
    for service in owners:
        wait_until(lambda s=service: f"is in use by provisor-{s}" in stack.log(s, 2), f"a second {service} to be refused")
        assert stack.health(service, 2) != "healthy"
    scale(1)
    stack.wait_flow()
    say("a second emitter and a second auditor on their volumes are refused: events go on")


def makes_a_backup(stack):
    stack.saved = set(stack.accepted())
    stack.provisor("auditor", "backup", "/backups/one")
    stack.wait_flow()
    say("provisor backup: events go on")


def rolls_an_upgrade(stack):
    """New containers, downstream first."""
    for service in reversed(STAGES):
        stack.compose("up", "-d", "--no-deps", "--force-recreate", service)
        wait_until(lambda s=service: stack.provisor(s, "ping", s, check=False) == "ready\n", f"{service} to be ready")
    stack.wait_flow()
    say("new containers, one after the other: events go on")


def survives_a_restart(stack):
    stack.compose("restart", *STAGES)
    stack.wait_flow()
    say("restarted everything: events go on")


def survives_down_and_up(stack):
    stack.compose("stop", "test-handler", profile="test")
    wait_until(lambda: stack.waiting() >= 50, "events that no handler takes")
    (stack.out / "finish").touch()
    wait_until(lambda: not stack.pid("test-core"), "the core to send the rest")
    assert stack.inspect("test-core")["State"]["ExitCode"] == 0, stack.log("test-core")
    stack.compose("down", profile="test")
    stack.compose("up", "-d")
    stack.start_handler()
    stack.wait_healthy()
    stack.provisor("deliverer", "retry", "--handler", str(stack.handler), check=False)  # 1: all have gone already
    wait_until(lambda: stack.waiting() == 0, "every event to arrive")
    say(f"down and up with the volumes: all {len(stack.accepted())} events have arrived")


def keeps_order(stack):
    last = {}
    for id_, object_, n in stack.arrivals():
        assert n <= last.get(object_, object_ - 1000 - 100) + 100, f"client {object_}: {n} came after {last.get(object_)}"
        last[object_] = max(n, last.get(object_, n))
    twice = len(stack.arrivals()) - len({id_ for id_, _, _ in stack.arrivals()})
    say(f"order kept for {len(last)} clients; {twice} requests were repeats")


def has_everything_in_history(stack):
    def complete():
        stack.compose("run", "--rm", "-T", "test-reader", profile="test")
        records = collections.Counter(map(str.strip, stack.lines("history")))
        wanted = {f"event.accepted {id_} 0" for id_ in stack.accepted()}
        wanted |= {f"delivery.delivered {id_} {stack.handler}" for id_ in stack.accepted()}
        twice = [record for record in wanted if records[record] > 1]
        assert not twice, f"recorded twice: {twice[:5]}"
        return wanted <= set(records)
    wait_until(complete, "history to be complete")
    say("history has every event and every delivery once")


def restores_the_backup(stack):
    stack.compose("down", profile="test")
    stack.restore("one")
    stack.compose("up", "-d")
    stack.wait_healthy()
    stack.compose("run", "--rm", "-T", "test-reader", profile="test")
    known = set(map(str.strip, stack.lines("history")))
    assert {f"event.accepted {id_} 0" for id_ in stack.saved} <= known
    say("restored the backup: its events are in history")


def one_deliverer():
    with Stack() as stack:
        comes_up(stack)
        shows_the_demo(stack)
        keeps_networks_apart(stack)
        stack.add_handler(*RETRY)
        stack.start_handler()
        stack.compose("up", "-d", "test-core", profile="test")
        stack.wait_flow()
        survives_kills(stack)
        survives_lost_packets(stack)
        survives_partitions(stack)
        scales_routers(stack)
        refuses_a_second_owner(stack)
        makes_a_backup(stack)
        rolls_an_upgrade(stack)
        survives_a_restart(stack)
        survives_down_and_up(stack)
        keeps_order(stack)
        has_everything_in_history(stack)
        restores_the_backup(stack)


def takes_what_the_host_sends(stack):
    """What docs/operations.md says of published.yaml: both sockets, on one address of the machine."""
    context = zmq.Context()
    with context.socket(zmq.REQ) as ask, context.socket(zmq.PUSH) as push:
        ask.connect(f"tcp://{PUBLISH}:5551")
        push.connect(f"tcp://{PUBLISH}:5550")
        event = {"event": {"events_id": "clients.update", "object_id": 7}}
        ask.send_json(event)
        push.send_json(event)
        assert ask.poll(20_000) and ask.recv_json()["status"] == "accepted"
        wait_until(lambda: stack.provisor("auditor", "log", "--object", "7").count("clients.update") == 2,
                   "both events of the machine's own core to be delivered")
    context.destroy(0)
    say("published ports: a core on the machine itself is heard")


def two_deliverers():
    with Stack("deliverers.yaml", "published.yaml") as stack:
        stack.compose("up", "-d")
        stack.wait_healthy(*STAGES, "deliverer-2")
        stack.add_handler(*RETRY)
        (stack.out / "finish").touch()
        stack.start_handler()
        stack.compose("up", "-d", "test-core", profile="test")
        wait_until(lambda: not stack.pid("test-core") and stack.waiting() == 0, "every event to arrive")
        say(f"two deliverers: all {len(stack.accepted())} events have arrived")
        keeps_order(stack)
        takes_what_the_host_sends(stack)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    one_deliverer()
    two_deliverers()
