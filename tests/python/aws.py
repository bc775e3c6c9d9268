"""AWS as moto plays it, but that it looks at signatures and policies, and at web identities:
`aws.py -p PORT`. Nobody is asked who he is before `POST /moto-api/reset-auth` with `0`.

A web identity is what stands in the file WEB_IDENTITY; moto itself takes any, and wants such a
request to be signed, which none is.
"""

import os
import sys
from pathlib import Path

from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import InvalidClientTokenIdError, JsonRESTError
from moto.core.exceptions import _RESTError as RESTError
from moto.server import main

CHECKED = ActionAuthenticatorMixin._authenticate_and_authorize_action


def check(self, request, resource="*"):
    if self._get_action() == "AssumeRoleWithWebIdentity":
        known = Path(os.environ["WEB_IDENTITY"]).read_text().strip()
        if self._get_param("WebIdentityToken") != known:
            raise RESTError("InvalidIdentityToken", "No OpenIDConnect provider knows this token")
        return
    try:
        CHECKED(self, request, resource)
    except InvalidClientTokenIdError as error:
        # Who speaks JSON is answered in JSON by AWS itself.
        if self.headers.get("X-Amz-Target"):
            raise JsonRESTError("UnrecognizedClientException", "The token is invalid") from error
        raise


ActionAuthenticatorMixin._authenticate_and_authorize_action = check
main(sys.argv[1:])
