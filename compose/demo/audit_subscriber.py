"""A subscriber: prints what Provisor does, as it happens. docs/examples/subscriber.py misses nothing, either."""

import json

import zmq

stream = zmq.Context().socket(zmq.SUB)
stream.subscribe("delivery.")  # a prefix of topics: delivered, retrying, exhausted, cancelled
stream.subscribe("stage.")  # started, stopped, heartbeat, stats, ...
stream.connect("tcp://auditor:5571")
while True:
    topic, body = (frame.decode() for frame in stream.recv_multipart())
    record = json.loads(body)
    if topic.startswith("delivery."):
        print(f"{record['at']} {topic}: {record['events_id']} of {record['object_id']}, "
              f"attempt {record['attempt']} at {record['handler']}, {record.get('http_status') or record.get('error')}",
              flush=True)
    elif topic not in ("stage.heartbeat", "stage.stats"):
        print(f"{record['at']} {topic}: {record['service']}", flush=True)
