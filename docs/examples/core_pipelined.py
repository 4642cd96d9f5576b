#!/usr/bin/python3
"""A core that pushes many events, in order and fast: DEALER, a window of unanswered requests, keys.

Usage: core_pipelined.py ENDPOINT COUNT    sends COUNT events for 100 clients

What is unanswered after a time-out, or answered "busy", is sent again from the first such request
on, in the same order: the keys make what had arrived a duplicate, so nothing is doubled, lost or swapped.

Each request carries its number in a frame of its own, which comes back with the answer: an answer to a
later request tells that earlier ones are lost.

The library must not mend a broken connection (RECONNECT_IVL -1): requests that were under way in it
are lost and later ones would arrive, so that events would overtake others of their object."""

import json
import sys
import time

import zmq

WINDOW, TIMEOUT_MS = 200, 2_000
NO_ANSWER = {"status": "busy", "retry_after_ms": 0}  # treated the same
endpoint, count = sys.argv[1], int(sys.argv[2])
context = zmq.Context()


def connect():
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.sndtimeo = TIMEOUT_MS
    socket.connect(endpoint)
    return socket


def request(n):
    return {"id": f"run-7-{n}", "event": {"events_id": "clients.update", "object_id": n % 100},
            "data": {"n": n}}


def receive(number):
    """The answer to this request."""
    if not socket.poll(TIMEOUT_MS):
        return NO_ANSWER
    answered, _, answer = socket.recv_multipart()
    return json.loads(answer) if int(answered) == number else NO_ANSWER


socket, done, sent = connect(), 0, 0
while done < count:
    try:
        while sent < count and sent - done < WINDOW:
            socket.send_multipart([b"%d" % sent, b"", json.dumps(request(sent)).encode()])
            sent += 1
        answer = receive(done)
    except zmq.Again:  # no connection to send into
        answer = NO_ANSWER
    if answer["status"] in ("accepted", "duplicate"):
        done += 1
    elif answer["status"] == "busy":  # or no answer: start again behind the last accepted one
        socket.close()
        time.sleep(answer["retry_after_ms"] / 1000)
        socket, sent = connect(), done
    else:
        sys.exit(f"event {done} was refused: {json.dumps(answer['error'])}")
print(f"{done} accepted")
