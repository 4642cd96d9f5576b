#!/usr/bin/python3
"""A core: pushes one event over the acknowledged intake and waits until it is on disk.

Usage: core.py [ENDPOINT]    (default tcp://127.0.0.1:5551)"""

import json
import sys

import zmq

intake = zmq.Context().socket(zmq.REQ)
intake.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5551")
intake.send_json({
    "id": "invoice-4711-zero",  # idempotency key: sending it again is safe
    "event": {"events_id": "clients.balance_zero", "object_id": 12},
})
if not intake.poll(10_000):
    sys.exit("no answer in 10 s: send the same request again, with the same id")
answer = intake.recv_json()
print(json.dumps(answer))
sys.exit(0 if answer["status"] in ("accepted", "duplicate") else 1)
