"""A server with the part of Vault's HTTP API that Azud and `hvac` use: AppRole and token, renewal,
KV version 2, sealing. `vault.py PORT`; the root token is `root`, the role `azud` with the secret id
that is given in the environment as SECRET_ID.

Tests change what is in it with hvac, the client that Vault's users have, so that the server is held
to the protocol from both sides.
"""

import json
import os
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

LOCK = Lock()
SEALED = False
SECRET_ID = os.environ["SECRET_ID"]
TTL = int(os.environ.get("TOKEN_TTL", "3600"))
# Tokens, each with the time of its end; none ends never.
TOKENS = {"root": None}
# What is kept, by path: the fields, and the version.
KEPT = {}
# Counts what was asked: `login`, `renew`, `read`.
COUNTS = {}


class Refused(Exception):
    def __init__(self, status, *errors):
        self.status = status
        self.errors = list(errors)


def count(what):
    COUNTS[what] = COUNTS.get(what, 0) + 1


def auth(token):
    return {
        "client_token": token,
        "accessor": "a",
        "policies": ["default"],
        "lease_duration": TTL,
        "renewable": True,
    }


def kv(method, path, body):
    if method in ("POST", "PUT"):
        if not isinstance(body.get("data"), dict):
            raise Refused(400, "no data provided")
        version = KEPT.get(path, (None, 0))[1] + 1
        KEPT[path] = (body["data"], version)
        return {"data": {"version": version, "created_time": "2026-01-01T00:00:00Z"}}
    fields, version = KEPT.get(path, (None, 0))
    if method == "DELETE":
        KEPT[path] = (None, version)
        return None
    count("read")
    if version == 0:
        raise Refused(404)
    metadata = {"version": version, "deletion_time": "", "destroyed": False}
    if fields is None:
        # A deleted version is answered with 404 and its metadata.
        raise Refused(404)
    return {"data": {"data": fields, "metadata": metadata}}


def answer(method, path, token, body):
    global SEALED
    if path == "sys/seal":
        SEALED = True
        return None
    if path == "sys/unseal":
        SEALED = False
        return {"sealed": False}
    if path == "stub/counts":
        return {"data": COUNTS}
    if SEALED:
        raise Refused(503, "Vault is sealed")
    if path == "auth/approle/login":
        count("login")
        if body.get("role_id") != "azud" or body.get("secret_id") != SECRET_ID:
            raise Refused(400, "invalid role or secret ID")
        made = "hvs." + secrets.token_hex(16)
        TOKENS[made] = time.monotonic() + TTL
        return {"auth": auth(made)}
    end = TOKENS.get(token, 0)
    if end is not None and end < time.monotonic():
        raise Refused(403, "permission denied")
    if path == "auth/token/lookup-self":
        left = 0 if end is None else int(end - time.monotonic())
        return {"data": {"id": token, "ttl": left, "renewable": end is not None}}
    if path == "auth/token/renew-self":
        count("renew")
        if end is None:
            raise Refused(400, "lease is not renewable")
        TOKENS[token] = time.monotonic() + TTL
        return {"auth": auth(token)}
    if path == "auth/token/revoke-all":
        for known in list(TOKENS):
            if known != "root":
                del TOKENS[known]
        return None
    mount, _, rest = path.partition("/")
    if mount == "kv" and rest.startswith("data/"):
        return kv(method, rest.removeprefix("data/"), body)
    raise Refused(404, "no handler for route " + path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.split("?")[0].removeprefix("/v1/")
        try:
            with LOCK:
                status, found = 200, answer(
                    self.command, path, self.headers.get("X-Vault-Token"), body
                )
            if found is None:
                status = 204
        except Refused as refused:
            status, found = refused.status, {"errors": refused.errors}
        text = b"" if found is None else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = serve

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", file=sys.stderr, flush=True)
server.serve_forever()
