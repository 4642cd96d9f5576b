#!/usr/bin/python3
"""A handler with nothing but Python's library: verifies the signature, takes each event once.

Usage: SECRET=whsec_... handler.py PORT"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

KEY = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))
seen = set()  # webhook-ids; a real handler keeps them in its database, in the transaction of its work


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        digest = hmac.new(KEY, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
        wanted = "v1," + base64.b64encode(digest).decode()
        fresh = abs(time.time() - int(at)) < 300
        signatures = self.headers.get("webhook-signature", "").split(" ")
        if not fresh or not any(hmac.compare_digest(wanted, s) for s in signatures):
            return self.answer(401)
        if id not in seen:
            seen.add(id)
            event = json.loads(body)
            print(event["event"]["events_id"], event["event"]["object_id"], event["data"], flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
