"""The handler of the original API's documentation, as it stands there, under Debian's Flask; what it
gets is also appended to a file, one JSON line per request. Usage: flask_handler.py PORT_FILE OUT"""

import json
import logging
import os
import sys

from flask import Flask, request
from werkzeug.serving import make_server

app = Flask(__name__)


@app.route("/api", methods=['GET', 'POST'])
def api():
    data = json.loads(request.data)
    with open(sys.argv[2], "a") as out:
        out.write(json.dumps({"headers": dict(request.headers),
                              "body": request.data.decode()}) + "\n")
    return data


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
