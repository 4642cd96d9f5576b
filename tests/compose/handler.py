"""A handler that writes down what arrives, in order: "WEBHOOK_ID OBJECT N" per request.

Usage: handler.py FOLDER    appends to FOLDER/arrivals, and makes FOLDER/listening when it listens"""

import http.server
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
arrivals = (folder / "arrivals").open("a", buffering=1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "n" in event["data"]:  # else another core's
            arrivals.write(f"{self.headers['webhook-id']} {event['event']['object_id']} {event['data']['n']}\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("", 8080), Handler)
(folder / "listening").touch()
server.serve_forever()
