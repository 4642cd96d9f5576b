#!/usr/bin/python3
"""The demo handler: the Flask script of the original API's documentation, on a free port.

Usage: handler.py PORT_FILE    writes the port that it listens on to PORT_FILE"""

import json
import logging
import os
import sys

from flask import Flask, request
from werkzeug.serving import make_server

app = Flask(__name__)


@app.route("/api", methods=["GET", "POST"])
def api():
    return json.loads(request.data)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(server.server_port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()
