"""A server that behaves as Okta's System Log API does, with the authorization server before it:
`okta.py PORT`. A client proves itself with an assertion that is signed with its key (RFC 7523), for
which `/stub/key` gives the private half. There is a next link always, a thousand events a page, and a
limit of requests. `/stub/open?events=N` lets so many events have happened; `/stub/reject` has the
next cursor refused, and `/stub/limit` the next request for events be one too many. `/stub` says what
was asked, and what was wrong. Events come every twenty seconds, the first three days ago.
"""

import base64
import json
import sys
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PORT = int(sys.argv[1])
ORIGIN = f"http://127.0.0.1:{PORT}"
CLIENT = "0oa1azud"
PAGE = 1000
LIMIT = 600
WINDOW = 2
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
BEGAN = (datetime.now(timezone.utc) - timedelta(days=3)).replace(microsecond=0)
LOCK = Lock()
TOKENS = set()
ASSERTIONS = set()
STATE = {"open": 0, "reject": False, "limit": False}
SEEN = {"tokens": 0, "since": [], "pages": [], "rejected": 0, "limited": 0, "wrong": []}
USED = {}

OUTCOMES = ["SUCCESS", "ALLOW", "FAILURE", "DENY", "SKIPPED"]


def event(number):
    published = BEGAN + timedelta(seconds=20 * number, milliseconds=number % 1000)
    return {
        "uuid": f"0a000000-0000-11f1-8000-{number:012}",
        "published": published.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventType": "user.session.start",
        "severity": "INFO" if number % 3 else "WARN",
        "displayMessage": "User login to Okta",
        "outcome": {"result": OUTCOMES[number % 5], "reason": None if number % 2 else "why"},
        "actor": {
            "id": f"00u{number % 40}",
            "type": "User",
            "alternateId": f"Ada.{number % 40}@Example.com",
            "displayName": f"Ada {number % 40}",
        },
        "client": {
            "ipAddress": f"198.51.100.{number % 250}",
            "geographicalContext": {"country": "Spain" if number % 7 else None},
        },
        "target": [{"id": "0oa1", "type": "AppInstance", "displayName": "wiki"}],
    }


def wrong(what):
    SEEN["wrong"].append(what)


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def token(handler, body):
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    head, claims, signature = form["client_assertion"].split(".")
    KEY.public_key().verify(
        part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    head, claims, now = json.loads(part(head)), json.loads(part(claims)), time.time()
    expected = {
        "grant": form.get("grant_type") == "client_credentials",
        "scope": form.get("scope") == "okta.logs.read",
        "assertion type": form.get("client_assertion_type")
        == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "key": (head.get("alg"), head.get("kid")) == ("RS256", "azud-1"),
        "client": claims["iss"] == claims["sub"] == CLIENT,
        "audience": claims["aud"] == f"{ORIGIN}/oauth2/v1/token",
        "expiry": now < claims["exp"] <= now + 3600,
        "assertion id": claims["jti"] not in ASSERTIONS,
        "content type": handler.headers["Content-Type"] == "application/x-www-form-urlencoded",
    }
    for name, holds in expected.items():
        if not holds:
            wrong(f"{name}: {head} {claims} {form}")
            return 401, {"error": "invalid_client"}, []
    ASSERTIONS.add(claims["jti"])
    SEEN["tokens"] += 1
    made = f"token-{SEEN['tokens']}"
    TOKENS.add(made)
    answer = {"token_type": "Bearer", "expires_in": 3600, "access_token": made}
    return 200, answer | {"scope": "okta.logs.read"}, []


def limits():
    window = int(time.time() / WINDOW)
    USED[window] = USED.get(window, 0) + 1
    left = 0 if STATE["limit"] else max(LIMIT - USED[window], 0)
    return left, [
        ("X-Rate-Limit-Limit", str(LIMIT)),
        ("X-Rate-Limit-Remaining", str(left)),
        ("X-Rate-Limit-Reset", str((window + 1) * WINDOW)),
    ]


def refusal(code, text):
    return {"errorCode": code, "errorSummary": text, "errorCauses": []}


def first(query):
    """Gives where a request begins, as a number of an event."""
    if "after" in query:
        return int(query["after"].split("_")[1])
    since = datetime.fromisoformat(query["since"])
    SEEN["since"].append(query["since"])
    number = max(int((since - BEGAN).total_seconds() / 21) - 1, 0)
    while datetime.fromisoformat(event(number)["published"]) < since:
        number += 1
    return number


def logs(handler, query):
    query = {name: values[0] for name, values in query.items()}
    if handler.headers.get("Authorization", "").removeprefix("Bearer ") not in TOKENS:
        return 401, refusal("E0000011", "Invalid token provided"), []
    if handler.headers.get("Accept") != "application/json" or query["sortOrder"] != "ASCENDING":
        wrong(f"{query} {handler.headers}")
    left, headers = limits()
    if left == 0:
        STATE["limit"] = False
        SEEN["limited"] += 1
        text = "API call exceeded rate limit due to too many requests."
        return 429, refusal("E0000047", text), headers
    if "after" in query and STATE["reject"]:
        STATE["reject"] = False
        SEEN["rejected"] += 1
        return 400, refusal("E0000001", "Api validation failed: after"), headers
    begin = first(query)
    end = max(min(begin + int(query["limit"]), begin + PAGE, STATE["open"]), begin)
    SEEN["pages"].append([begin, end])
    rest = f"limit={query['limit']}&sortOrder=ASCENDING"
    mark = int(time.time() * 1000)
    headers += [
        ("Link", f'<{ORIGIN}{handler.path}>; rel="self"'),
        ("Link", f'<{ORIGIN}/api/v1/logs?{rest}&after={mark}_{end}>; rel="next"'),
    ]
    return 200, [event(number) for number in range(begin, end)], headers


def stub(path, query):
    if path == "/stub/key":
        pem = KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return 200, {"pem": pem.decode()}, []
    if path == "/stub/open":
        STATE["open"] = int(query["events"][0])
    elif path == "/stub/event":
        return 200, event(int(query["number"][0])), []
    elif path in ("/stub/reject", "/stub/limit"):
        STATE[path.removeprefix("/stub/")] = True
    return 200, SEEN, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        with LOCK:
            if url.path == "/oauth2/v1/token" and self.command == "POST":
                status, found, headers = token(self, body)
            elif url.path == "/api/v1/logs" and self.command == "GET":
                status, found, headers = logs(self, query)
            elif url.path.startswith("/stub"):
                status, found, headers = stub(url.path, query)
            else:
                wrong(self.path)
                status, found, headers = 404, {}, []
        text = json.dumps(found).encode()
        self.send_response(status)
        for name, value in [("Content-Type", "application/json"), *headers]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = serve

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
print("ready", file=sys.stderr, flush=True)
server.serve_forever()
