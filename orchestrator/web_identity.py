"""The token by which a job on GitHub says who it is, to be exchanged for the credentials of a role.

Hides GitHub's endpoint, which a job has with `id-token: write` alone. Touches: that endpoint. The token is handed on, never shown.
https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from orchestrator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_URL, _BEARER = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_AUDIENCE = "sts.amazonaws.com"
_TIMEOUT_S = 30
# Whoever gave credentials to a job wants them used.
_GIVEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def is_offered(environ: Mapping[str, str]) -> bool:
    """Whether the job may ask for a token, and has no other credentials of AWS."""
    return bool(environ.get(_URL) and environ.get(_BEARER)) and not any(environ.get(key) for key in _GIVEN)


def token(environ: Mapping[str, str]) -> str:
    """A new token for AWS; it lives for minutes. Raises AwsError."""
    separator = "&" if "?" in environ[_URL] else "?"
    url = f"{environ[_URL]}{separator}{urllib.parse.urlencode({'audience': _AUDIENCE})}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {environ[_BEARER]}"})  # noqa: S310 - the runner's own
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            value = json.load(answer)["value"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AwsError(
            f"GitHub gave the job no token to exchange for a role: {type(error).__name__}",
            code="IdTokenRequestFailed",
            hint="run the job again; its permissions need `id-token: write`",
        ) from error
    return str(value)
