"""A handler: takes the events that Provisor POSTs. 2xx says done; anything else is sent again later.

The same event may come twice, with the same webhook-id: a real handler keeps the ids in its database."""

import logging

from flask import Flask, request

app = Flask(__name__)
logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line per request
seen = set()


@app.route("/api", methods=["POST"])
def api():
    id = request.headers["webhook-id"]
    if id not in seen:
        seen.add(id)
        event = request.get_json()["event"]
        print(f"{event['events_id']} of {event['object_id']}: {request.get_json()['data']}", flush=True)
    return {"status": "done"}


app.run("0.0.0.0", 8080)
