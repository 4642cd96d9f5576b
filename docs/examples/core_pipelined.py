#!/usr/bin/python3
"""A core that pushes many events, in order and fast: DEALER, a window of unanswered requests, keys.

Usage: core_pipelined.py ENDPOINT COUNT    sends COUNT events for 100 clients

What is unanswered after a time-out, or answered "busy", is sent again from the first such request
on, in the same order: the keys make what had arrived a duplicate, so nothing is doubled, lost or swapped."""

import json
import sys
import time

import zmq

WINDOW, TIMEOUT_MS = 200, 5_000
endpoint, count = sys.argv[1], int(sys.argv[2])
context = zmq.Context()


def connect():
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    return socket


def request(n):
    return {"id": f"run-7-{n}", "event": {"events_id": "clients.update", "object_id": n % 100},
            "data": {"n": n}}


socket, done, sent = connect(), 0, 0
while done < count:
    while sent < count and sent - done < WINDOW:
        socket.send_json(request(sent))
        sent += 1
    answer = socket.recv_json() if socket.poll(TIMEOUT_MS) else {"status": "busy", "retry_after_ms": 0}
    if answer["status"] in ("accepted", "duplicate"):
        done += 1
    elif answer["status"] == "busy":  # or no answer: start again behind the last accepted one
        socket.close()
        time.sleep(answer["retry_after_ms"] / 1000)
        socket, sent = connect(), done
    else:
        sys.exit(f"event {done} was refused: {json.dumps(answer['error'])}")
print(f"{done} accepted")
