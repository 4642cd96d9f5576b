"""What history knows, asked from the monitoring network: "TOPIC EVENT_ID HANDLER_ID" per record.

Usage: history.py FILE"""

import sys

import zmq

TOPICS = ["event.accepted", "delivery.delivered"]
questions = zmq.Context().socket(zmq.REQ)
questions.rcvtimeo = 20_000
questions.connect("tcp://auditor:5572")
at = 1
with open(sys.argv[1], "w") as file:
    while at:
        questions.send_json({"from": at, "to": 2**53, "topics": TOPICS})
        answer = questions.recv_json()
        for record in answer["records"]:
            file.write(f"{record['topic']} {record['event_id']} {record.get('handler_id', 0)}\n")
        at = answer["next"]
