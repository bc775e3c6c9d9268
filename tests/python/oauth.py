"""A server of OAuth 2 by Authlib, with an API of numbered records that wants its tokens: `oauth.py
PORT`. Clients are held to a public key (PUBLIC_KEY of the environment) or to a secret.

A refresh token is good for one exchange: who shows it again is taken for a thief, and everything that
came of the first is revoked. Only within `grace` seconds of that exchange, and as long as none that
came of it was exchanged, it is taken again, as by Okta and Auth0. `/stub` says what was
asked for so far, and `/stub?name=value` sets what is in SETTINGS. With `hold=1` answers of the token
endpoint are kept back, when all is done but to send them.
"""

import os
import secrets
import sys
import time
from threading import Condition, Lock

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from flask import Flask, jsonify, request
from joserfc.jwk import RSAKey
from werkzeug.serving import WSGIRequestHandler

PORT = int(sys.argv[1])
ADDRESS = f"http://127.0.0.1:{PORT}/token"
METHODS = ["client_secret_basic", "client_secret_post", "client_assertion_jwt"]
JWT_BEARER = JWTBearerGrant.GRANT_TYPE

SETTINGS = {"life": 3600, "grace": 0, "hold": 0, "late_ms": 0, "open": 0, "secret": "secret"}
COUNTS = {}
LOCK, CHANGED = Lock(), Condition()
ACCESS, REFRESH, JTIS = {}, {}, set()
ASKING = {}


def count(what):
    COUNTS[what] = COUNTS.get(what, 0) + 1


class Client(ClientMixin):
    def __init__(self, name, method, grant):
        self.name, self.method, self.grant = name, method, grant

    def get_client_id(self):
        return self.name

    def get_allowed_scope(self, scope):
        return "records" if "records" in (scope or "").split() else ""

    def check_client_secret(self, shown):
        return secrets.compare_digest(shown, SETTINGS["secret"])

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_grant_type(self, grant):
        return grant == self.grant


CLIENTS = {
    client.name: client
    for client in [
        Client("basic", "client_secret_basic", "client_credentials"),
        Client("post", "client_secret_post", "client_credentials"),
        Client("signer", "client_assertion_jwt", "client_credentials"),
        Client("password", "client_secret_post", "password"),
        Client("rotating", "client_secret_basic", "refresh_token"),
        Client("robot@project.example", "none", JWT_BEARER),
    ]
}


class Family:
    """All that came of one authorization."""

    def __init__(self):
        self.is_revoked = False


class Token(TokenMixin):
    def __init__(self, client, family, given):
        self.client, self.family, self.scope = client, family, given.get("scope", "")
        self.until = time.monotonic() + given["expires_in"]
        # The refresh token that this was given for, when this was exchanged, and whether one that
        # came of it was.
        self.parent, self.exchanged_at, self.is_over = None, None, False

    def check_client(self, client):
        return self.client is client

    def get_scope(self):
        return self.scope

    def is_expired(self):
        return time.monotonic() > self.until

    def is_revoked(self):
        return self.family.is_revoked


def save(given, asked):
    shown = getattr(asked, "refresh_token", None)
    token = Token(asked.client, shown.family if shown else Family(), given)
    token.parent = shown
    ACCESS[given["access_token"]] = token
    if "refresh_token" in given:
        REFRESH[given["refresh_token"]] = token
    count("given")
    count(f"given to {asked.client.name}")
    count(f"shown {getattr(asked, 'auth_method', 'assertion')}")


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class Password(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username, password):
        return username if (username, password) == ("ana", "pass word&+%") else None


class Rotating(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, shown):
        token = REFRESH.get(shown)
        if token is None or token.family.is_revoked:
            return None
        if token.exchanged_at is not None:
            count("shown again")
            if token.is_over or time.monotonic() - token.exchanged_at > SETTINGS["grace"]:
                token.family.is_revoked = True
                count("families revoked")
                return None
        return token

    def authenticate_user(self, token):
        return "ana"

    def revoke_old_credential(self, token):
        token.exchanged_at = token.exchanged_at or time.monotonic()
        if token.parent:
            token.parent.is_over = True


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [ADDRESS]

    def validate_jti(self, claims, jti):
        is_new = jti not in JTIS
        JTIS.add(jti)
        return is_new

    def resolve_client_public_key(self, client):
        return RSAKey.import_key(os.environ["PUBLIC_KEY"])


class Bearer(JWTBearerGrant):
    def get_audiences(self):
        return [ADDRESS]

    def resolve_issuer_client(self, issuer):
        return CLIENTS.get(issuer)

    def resolve_client_public_key(self, client):
        return RSAKey.import_key(os.environ["PUBLIC_KEY"])

    def authenticate_user(self, subject):
        return subject if subject == "ana@project.example" else None

    def has_granted_permission(self, client, user):
        return True

    def process_assertion_claims(self, assertion):
        # Of a JWT bearer the scope stands in the assertion, as Google has it.
        claims = super().process_assertion_claims(assertion)
        self.scope = claims.get("scope", "")
        return claims

    def generate_token(self, **options):
        return super().generate_token(**{**options, "scope": self.scope})


class Validator(BearerTokenValidator):
    def authenticate_token(self, shown):
        return ACCESS.get(shown)


app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {}
server = AuthorizationServer(app, CLIENTS.get, save)
server._token_generators["default"].expires_generator = lambda *_: SETTINGS["life"]
server.register_client_auth_method("client_assertion_jwt", Assertion())
for grant in [ClientCredentials, Password, Rotating, Bearer]:
    server.register_grant(grant)
protect = ResourceProtector()
protect.register_token_validator(Validator())


@app.post("/token")
def token():
    # Who is not known is counted together.
    who = request.authorization.username if request.authorization else "others"
    with LOCK:
        ASKING[who] = ASKING.get(who, 0) + 1
        COUNTS["at once"] = max(COUNTS.get("at once", 0), ASKING[who])
        count("asked")
        answer = server.create_token_response()
        if answer.status_code != 200:
            count("not given")
    with CHANGED:
        CHANGED.wait(SETTINGS["late_ms"] / 1000)
        COUNTS["held"] = SETTINGS["hold"]
        CHANGED.wait_for(lambda: not SETTINGS["hold"])
        COUNTS["held"] = 0
    with LOCK:
        ASKING[who] -= 1
    return answer


@app.after_request
def note(answer):
    if request.path == "/records" and answer.status_code == 401:
        count("refused")
    return answer


@app.get("/records")
@protect("records")
def records():
    count("read")
    after, offset = int(request.args["after"]), int(request.args["offset"])
    begin = after + offset
    end = min(begin + int(request.args["limit"]), SETTINGS["open"])
    return jsonify([record(number) for number in range(begin + 1, end + 1)])


def record(number):
    seconds = number // 100 % 3600
    at = f"2026-03-01T10:{seconds // 60:02}:{seconds % 60:02}Z"
    return {"number": number, "timestamp": at, "key": "all"}


@app.get("/stub")
def stub():
    with CHANGED:
        for name, value in request.args.items():
            if name == "family":
                REFRESH[value] = Token(
                    CLIENTS["rotating"], Family(), {"expires_in": 3600, "scope": "records"}
                )
            elif name == "revoke":
                ACCESS.clear()
            else:
                SETTINGS[name] = value if name == "secret" else int(value)
        CHANGED.notify_all()
        return jsonify(COUNTS)


WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log_request = lambda *_: None
app.run("127.0.0.1", PORT, threaded=True)
