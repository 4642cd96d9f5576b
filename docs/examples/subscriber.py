#!/usr/bin/python3
"""A monitoring subscriber that misses nothing: follows the stream and fills gaps from history.

Usage: subscriber.py STREAM QUESTIONS FROM [TOPIC...]
       subscriber.py tcp://127.0.0.1:5571 tcp://127.0.0.1:5572 1 delivery.exhausted

Prints each record once, in the order of audit_id within each topic, as one JSON line. FROM is the first audit_id of
interest: keep the last one that you printed, and start again behind it after a crash."""

import json
import sys

import zmq

stream_at, questions_at, first, topics = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
context = zmq.Context()
stream, questions = context.socket(zmq.SUB), context.socket(zmq.REQ)
for topic in topics or [""]:
    stream.subscribe(topic)
stream.subscribe("stage.heartbeat")  # after a second of silence: the last id of each topic
stream.connect(stream_at)
questions.connect(questions_at)
last = {}  # topic -> audit_id of the last record printed


def show(record):
    if record["audit_id"] > last.get(record["topic"], 0):
        last[record["topic"]] = record["audit_id"]
        print(json.dumps(record), flush=True)


def fill(start, end, wanted):
    """Everything of the wanted topics (none: all) from start to end, out of history."""
    while start is not None and start <= end:
        questions.send_json({"from": start, "to": end, "topics": wanted})
        answer = questions.recv_json()
        for record in answer["records"]:
            show(record)
        start = answer["next"]


fill(first, 2**53, topics)
while True:
    topic, body = stream.recv_multipart()
    record = json.loads(body)
    if topic == b"stage.heartbeat":
        for name, id in record["last"].items():
            if (name in topics or not topics) and id > max(last.get(name, 0), first - 1):
                fill(max(last.get(name, 0) + 1, first), id, [name])
    elif topic != b"stage.stats":
        known = last.get(record["topic"], 0)
        if record["prev_id"] > max(known, first - 1):  # a gap: something was missed
            fill(max(known + 1, first), record["prev_id"], [record["topic"]])
        show(record)
