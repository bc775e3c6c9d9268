"""A server that takes `_bulk` to the letter and keeps documents by index and id, as Elasticsearch and
OpenSearch do: `elasticsearch.py PORT AUTHORIZATION` (empty: whoever it is). It is too busy for every
fifth request, and for every eleventh document; a document with `"bad": true` it never takes. `/stub`
says what it has and what was wrong.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

AUTHORIZATION = sys.argv[2]
LOCK = Lock()
DOCUMENTS = {}
WRONG = []
COUNTS = {"requests": 0, "items": 0, "there": 0}


def item(action, document):
    (name, about), = action.items()
    key = f"{about['_index']}/{about['_id']}"
    COUNTS["items"] += 1
    if document.get("bad"):
        error = {"type": "document_parsing_exception", "reason": "failed to parse"}
        return name, {"status": 400, "error": error}
    if COUNTS["items"] % 11 == 0:
        error = {"type": "es_rejected_execution_exception", "reason": "queue is full"}
        return name, {"status": 429, "error": error}
    if key in DOCUMENTS:
        COUNTS["there"] += 1
        if name == "create":
            error = {"type": "version_conflict_engine_exception", "reason": "exists"}
            return name, {"status": 409, "error": error}
    DOCUMENTS[key] = document
    return name, {"status": 201}


def bulk(handler, body):
    COUNTS["requests"] += 1
    if AUTHORIZATION and handler.headers.get("Authorization") != AUTHORIZATION:
        WRONG.append("authorization")
    if handler.headers.get("Content-Type") != "application/x-ndjson":
        WRONG.append("content type")
    if not body.endswith(b"\n"):
        WRONG.append("no line feed at the end")
    lines = body.decode().splitlines()
    if len(lines) % 2:
        WRONG.append("an action without a document")
    if COUNTS["requests"] % 5 == 0:
        return 429, {"error": {"type": "circuit_breaking_exception"}, "status": 429}
    items = [
        dict([item(json.loads(lines[at]), json.loads(lines[at + 1]))])
        for at in range(0, len(lines), 2)
    ]
    errors = any(status["status"] >= 400 for each in items for status in each.values())
    return 200, {"took": 1, "errors": errors, "items": items}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        with LOCK:
            if path == "/_bulk":
                status, found = bulk(self, body)
            elif path == "/stub":
                status, found = 200, {"documents": DOCUMENTS, "wrong": WRONG, "counts": COUNTS}
            else:
                status, found = 200, {"cluster_name": "stub", "version": {"number": "8.17.0"}}
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = serve

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", file=sys.stderr, flush=True)
server.serve_forever()
