"""Which AWS account a request belongs to.

An access key id that *is* a 12-digit account id selects that account, as other emulators do; the temporary credentials of
AssumeRole select the role's account (moto does that: the role need not exist, so the first run into an empty account
works); anything else is moto's default account, 123456789012. Secrets and signatures are not checked.
"""

from __future__ import annotations

import re

from moto.iam.models import iam_backends

DEFAULT_ACCOUNT_ID = "123456789012"
_CREDENTIAL = re.compile(
    r"Credential=(?P<key>[^/,\s]+)/(?P<date>[^/]+)/(?P<region>[^/]+)/(?P<service>[^/]+)/"
)
_ACCOUNT_ID = re.compile(r"\d{12}")


def account_of(authorization: str) -> str:
    """The account that a SigV4 `Authorization` header (or `X-Amz-Credential`, prefixed `Credential=`) speaks for."""
    match = _CREDENTIAL.search(authorization)
    if match is None:
        return DEFAULT_ACCOUNT_ID
    if _ACCOUNT_ID.fullmatch(match["key"]):
        return match["key"]
    return _holder_of(match["key"]) or DEFAULT_ACCOUNT_ID


def scope_of(authorization: str) -> tuple[str, str]:
    """Service and region that the request is signed for; empty when it is not signed."""
    match = _CREDENTIAL.search(authorization)
    return (match["service"], match["region"]) if match else ("", "")


def _holder_of(key: str) -> str | None:
    # moto's own search makes IAM of every account in every partition, a second of work each.
    for account_id, account in list(iam_backends.items()):
        if any(key in backend.access_keys for backend in account.values()):
            return account_id
    return None
