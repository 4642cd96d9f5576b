"""A core that goes on sending until it is told to end: 2,000 events at least, in order, for 100 clients.

Usage: core.py FOLDER    writes "N EVENT_ID" per accepted event to FOLDER/accepted, paces itself until FOLDER/finish
exists, then sends the rest at once. docs/examples/core_pipelined.py tells why it connects anew."""

import json
import pathlib
import sys
import time

import zmq

COUNT, CLIENTS, WINDOW, TIMEOUT_MS, PAUSE_S = 2000, 100, 50, 1000, 0.02
folder = pathlib.Path(sys.argv[1])
context = zmq.Context()


def connect():
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.sndtimeo = TIMEOUT_MS
    socket.connect("tcp://emitter:5551")
    return socket


def request(n):
    return {"id": f"n-{n}", "event": {"events_id": "clients.update", "object_id": 1000 + n % CLIENTS}, "data": {"n": n}}


def exchange():
    """Sends the next event if there is room, and takes an answer: None when one is overdue, {} when none is due."""
    global sent, highest
    if sent < min(end, done + WINDOW):
        socket.send_json(request(sent))
        sent += 1
        highest = max(highest, sent)
        time.sleep(0 if finishing else PAUSE_S)
    full = sent == min(end, done + WINDOW)
    if socket.poll(TIMEOUT_MS if full else 0):
        return socket.recv_json()
    return None if full else {}


accepted = (folder / "accepted").open("w", buffering=1)
socket, done, sent, highest, end, finishing = connect(), 0, 0, 0, 1 << 30, False
while done < end:
    finishing = (folder / "finish").exists()
    end = max(COUNT, highest) if finishing else 1 << 30
    try:
        answer = exchange()
    except zmq.Again:
        answer = None
    if answer is None or answer.get("status") == "busy":  # again from the first one without an answer
        socket.close()
        socket, sent = connect(), done
    elif answer.get("status") in ("accepted", "duplicate"):
        accepted.write(f"{done} {answer['id']}\n")
        done += 1
    elif answer:
        sys.exit(f"event {done} was refused: {json.dumps(answer)}")
