"""Text from elsewhere as Markdown that stays text: what a plan shows was written by others, and may try to end a fence, to add a
link or to call a team. Each of the four escapes holds on its own: `fence` and `code`, in which nothing is live; `plain` for
words; `markup` for words within HTML. `prose` is a sentence of ours in which `backticks` make code. Pure.

tests/unit/test_markdown.py parses what comes of it.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from orchestrator import masks
from orchestrator.report import board

if TYPE_CHECKING:
    from collections.abc import Iterable

EMPTY = (
    "(empty)"  # stands for a text of which nothing can be seen; a list's item or bold words need something
)

_ESCAPE_SEQUENCES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z^_])|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL
)
NEWLINES = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls, halves of surrogate pairs, and what is invisible or turns the direction of writing (Unicode's Default_Ignorable
# and Bidi_Control): with these, two addresses can look the same, or one look like another.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# GitHub looks for these in the rendered text, where an escape has been resolved long since; only a character between helps.
_LIVE = re.compile(r"@|#(?=\d)|\b[Gg][Hh]-(?=\d)|/(?=/)|\b[Ww][Ww][Ww](?=\.)")
_SPECIAL = re.compile(r"[\\`*_\[\]<>&~|$]")
# A `$` may begin a formula; GitHub's page on mathematical expressions has it in a span to mean itself.
_ENTITIES = {"`": "&#96;", "|": "&#124;", "<": "&lt;", ">": "&gt;", "&": "&amp;", "$": "<span>$</span>"}
_BEGINNING = re.compile(r"(?:(?=[-+#=])|(?<=\d)(?=[.)]))")


def clean(text: str, limit: int = 300) -> str:
    """The text on one line, without what nobody can see: escape sequences go, the rest leaves a `\N{REPLACEMENT CHARACTER}`.

    Nor does it hold the beginning of an HTML comment, even within code, so that all of those in a comment are orch's markers.
    """
    seen = _ESCAPE_SEQUENCES.sub("", text[: 8 * limit])
    seen = INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", NEWLINES.sub("⏎", seen).replace("\t", " "))
    if len(seen) > limit or len(text) > 8 * limit:
        seen = f"{seen[: limit - 1]}…"
    return seen.replace("<!--", "<! --")


def scrubbed(text: str) -> str:
    """The text without what looks like a credential, also of one that holds something invisible, by which it would not be known."""
    seen = INVISIBLE.sub("", without_sequences(text))
    masked = masks.scrub(seen)
    return masks.scrub(text) if masked == seen else masked


def without_sequences(text: str) -> str:
    """The text without the sequences that steer a terminal: colours, titles, links."""
    return _ESCAPE_SEQUENCES.sub("", text)


def code(text: str, limit: int = 200) -> str:
    """Inline code: backticks, one more than any run within, and a space where one would touch them (CommonMark, code spans)."""
    shown = clean(text, limit)
    if not shown.strip():
        return EMPTY
    ticks = "`" * (_longest_run(shown) + 1 if "`" in shown else 1)
    pad = " " if shown[0] in " `" or shown[-1] in " `" else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def fence(lines: Iterable[str], language: str) -> str:
    """A code block that no line within can end."""
    text = "\n".join(clean(line, 4_000) for line in lines)
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def plain(text: str, limit: int = 300) -> str:
    """Words in which nothing is Markdown, HTML, a mention, a reference or a link; for any place, a table's cell too."""
    shown = _quiet(clean(text, limit).strip()) or EMPTY
    number = len(shown) - len(shown.lstrip("0123456789"))
    begin = number if shown[number : number + 1] in {".", ")"} and number else 0
    escaped = _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), shown)
    if begin or escaped[:1] in {"-", "+", "#", "="}:
        return f"{escaped[:begin]}\\{escaped[begin:]}"
    return escaped


def markup(text: str, limit: int = 300) -> str:
    """Words within an HTML element, where Markdown is not looked at."""
    return escape(_quiet(clean(text, limit).strip()) or EMPTY).replace("$", _ENTITIES["$"])


def prose(text: str, limit: int = 300) -> str:
    """A sentence in which `backticks` make code, as orch's messages have it."""
    pieces = clean(text, limit).split("`")
    if len(pieces) % 2 == 0:
        return plain(text, limit)
    shown = ""
    for index, piece in enumerate(pieces):
        if index % 2:
            shown += code(piece)
        elif piece.strip():
            # plain() takes the spaces around the words, which stand between them and the code.
            shown += f"{' ' * piece.startswith(' ')}{plain(piece, limit)}{' ' * piece.endswith(' ')}"
        elif 0 < index < len(pieces) - 1:
            shown += " "  # Two codes that touch would be one.
    return shown.strip() or EMPTY


def cell(markdown: str) -> str:
    """Escaped Markdown as a cell: GFM splits a row at every `|`, in code too, unless a backslash stands before it."""
    return markdown.replace("|", "\\|")


def link(markdown: str, target: str) -> str:
    """A link, when the target is one that cannot break out of it."""
    return f"[{markdown}]({target})" if board.url(target) else markdown


def _quiet(text: str) -> str:
    return _LIVE.sub("\\g<0>\N{ZERO WIDTH SPACE}", text)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
