"""The last net under text that people or programs will read: what looks like a credential is taken out. A leaf: pure.

It knows shapes, not values (those are terraform/masking.py's work), so it also holds for text of tools that quote what nobody
declared as a secret. Nothing of the match stays but words that say what it was. Shapes:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids (access keys),
https://github.blog/engineering/behind-githubs-new-authentication-token-formats/, https://docs.slack.dev/authentication/tokens,
RFC 7519 (JWT), RFC 7468 (PEM), RFC 3986 3.2.1 (user:password@).
"""

from __future__ import annotations

import re

# As model.Masked.SENSITIVE prints; leaves do not import each other, and a test holds the two together.
SENSITIVE = "(sensitive)"

# What a secret is called, whatever comes before it: `DB_PASSWORD=`, `--api-key`.
_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
    "signature",
)
_NAMES = rf"(?:{'|'.join(_WORDS)})"
# Each net with what must be in the text, in lower case, for it to catch anything: looking for that first takes a tenth of
# the time. The groups `keep` and `end` of a match stay; everything else of it goes.
_NETS = tuple(
    (hints, re.compile(pattern))
    for hints, pattern in (
        # A block whose end is missing was cut, and hides what is left of it.
        (("-----begin",), r"-----BEGIN [A-Z0-9 ]+-----(?s:.*?)(?:-----END [A-Z0-9 ]+-----|\Z)"),
        (
            ("akia", "asia", "abia", "acca"),
            r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])",
        ),
        (("eyj",), r"eyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)*"),
        (("gh",), r"gh[pousr]_[A-Za-z0-9_]{16,}"),
        (("github_pat_",), r"github_pat_\w{20,}"),
        (("glpat-",), r"glpat-[\w-]{16,}"),
        (("npm_",), r"npm_[A-Za-z0-9]{30,}"),
        (("aiza",), r"AIza[\w-]{30,}"),
        (("k_live_",), r"[sr]k_live_\w{16,}"),
        (("xox",), r"xox[a-z](?:\.xox[a-z])?-[\w-]{8,}"),
        (("xapp-",), r"xapp-[\w-]{8,}"),
        (("hooks.slack.com",), r"(?P<keep>hooks\.slack\.com/(?:services|workflows)/)[\w/-]+"),
        # A password may hold an @ that should have been encoded: the last one before the path ends it.
        (("://",), r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/:@\"'<>]*:[^\s/\"'<>]+(?P<end>@)"),
        (
            ("authorization",),
            r"(?P<keep>(?i:authorization)[\"']?\s*[:=]\s*[\"']?(?i:bearer|basic|token|digest|apikey)\s+)[^\s\"',;]+",
        ),
        (("bearer",), r"(?P<keep>(?i:bearer)\s+)[\w.~+/=-]{16,}"),
        # AWS's secret keys are 40 characters with no mark of their own: the words before them tell.
        (
            ("secret",),
            r"(?P<keep>(?i:secret)[\w \"'\\:=-]{0,30}(?<![A-Za-z0-9/+]))[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
        ),
        (
            ("curl",),
            r"(?P<keep>\bcurl\b[^|;\n]{0,200}?\s(?:-[A-Za-z]*u|--(?:proxy-)?user)[ =]?[\"']?[^\s:\"']*:)[^\s\"']+",
        ),
        (("--", " -"), r"(?P<keep>--?[\w-]{0,40}(?i:" + _NAMES + r")[ =])[^\s\"'&;]+"),
        (("=",), r"(?P<keep>(?i:" + _NAMES + r")[\"']?=[\"']?)[^\s\"'&;,]+"),
    )
)


# No token is shorter, and most values of a plan are: only a URL, an option or an assignment may be in them.
_SHORTEST_TOKEN = 12
_NETS_FOR_SHORT = tuple(net for net in _NETS if not {"://", "=", "--"}.isdisjoint(net[0]))
_MOST_ROUNDS = 5


def scrub(text: str) -> str:
    """The text without what looks like a credential: access keys and the secret beside them, tokens of GitHub, Slack and others,
    JWTs, PEM blocks, passwords in URLs, command lines and headers. Scrubbing twice changes nothing more.
    """
    # What one net takes away may have kept another from its match.
    for _ in range(_MOST_ROUNDS):
        scrubbed = _once(text)
        if scrubbed == text:
            break
        text = scrubbed
    return text


def _once(text: str) -> str:
    lower = text.lower()
    nets = _NETS if len(text) >= _SHORTEST_TOKEN else _NETS_FOR_SHORT
    for hints, net in nets:
        for hint in hints:
            if hint in lower:
                text = net.sub(_replacement, text)
                break
    return text


def _replacement(match: re.Match[str]) -> str:
    kept = match.groupdict()
    return f"{kept.get('keep', '')}{SENSITIVE}{kept.get('end', '')}"
