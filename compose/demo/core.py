"""A core: every second something happens to one of its clients, and it tells Provisor.

An event counts as told when the answer says accepted or duplicate: then it is on disk. Without an answer the same
request is sent again, over a new connection; its id makes the second one a duplicate."""

import itertools
import json
import random
import time

import zmq

INTAKE = "tcp://emitter:5551"
TIMEOUT_MS = 5_000
context = zmq.Context()


def ask(request):
    """The answer, or None."""
    with context.socket(zmq.REQ) as intake:
        intake.linger = 0
        intake.connect(INTAKE)
        intake.send_json(request)
        return intake.recv_json() if intake.poll(TIMEOUT_MS) else None


def tell(request):
    while True:
        answer = ask(request)
        if answer and answer["status"] in ("accepted", "duplicate"):
            return answer
        if answer and answer["status"] == "rejected":
            raise SystemExit(json.dumps(answer["error"]))
        print("no answer, or busy: the same again", flush=True)
        time.sleep(1)


run = int(time.time())
for n in itertools.count():
    client = random.randrange(1, 10)
    request = {
        "id": f"demo-{run}-{n}",  # a real core uses the number of its own transaction
        "event": {"events_id": "clients.update", "object_id": client},
        "data": {"balance": random.randrange(100_000) / 100},
    }
    print(f"client {client}: {tell(request)}", flush=True)
    time.sleep(1)
