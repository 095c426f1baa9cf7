#!/usr/bin/env python3
"""A message gateway that sends nothing: it prints the requests that arrive.

    webserver.py PORTFILE

It listens on a free port of the loopback interface and writes its number to
PORTFILE. The first message to a number that ends in 2 is refused for a second,
one to a number that ends in 4 for good. Signatures are checked with
GATEWAY_SECRET.
"""
import hashlib
import hmac
import json
import os
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["GATEWAY_SECRET"].encode()
lock = threading.Lock()
seen = set()


def answer_to(path, to):
    """Status and headers of the answer."""
    if path != "/messages":
        return 200, {}
    if to.endswith("4"):
        return 404, {}
    if to.endswith("2") and to not in seen:
        seen.add(to)
        return 503, {"Retry-After": "1"}
    return 200, {}


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def signature(self, body):
        """What the signature of the request is worth."""
        given = self.headers.get("X-Sopflow-Signature")
        if given is None:
            return "none"
        signed = self.headers["X-Sopflow-Timestamp"].encode() + b"." + body
        wanted = "sha256=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
        return "valid" if hmac.compare_digest(given, wanted) else "NOT VALID"

    def do_POST(self):
        now = datetime.now().isoformat(timespec="milliseconds")[11:]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            status, headers = answer_to(self.path, json.loads(body).get("to", ""))
            print(f"{now}  {self.command} {self.path}")
            print(f"              Idempotency-Key: {self.headers['Idempotency-Key']}, signature: {self.signature(body)}")
            print(f"              {body.decode()}")
            print(f"              -> {status}", *(f"{name}: {value}" for name, value in headers.items()), flush=True)
        reply = b"{}"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    with open(sys.argv[1] + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.server_port}\n")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
