"""The manifest of a project, `.orch.json`: the answers, and the text of every file as orch wrote it last.

With that text a later orch can tell what the user changed from what orch itself changed, on any clone. Hides how it is written:
JSON, each text deflated. Touches: nothing; `read` and `text` go between text and value.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.errors import SettingsError
from orchestrator.scaffold import answers as answering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.scaffold.answers import Answers

_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What orch wrote into a project; `files` are texts by path."""

    answers: Answers
    files: Mapping[str, str] = field(default_factory=dict)


def read(text: str, path: str) -> Manifest:
    """The manifest of a file's text. Raises SettingsError when it is not one that this orch reads."""
    try:
        value = json.loads(text)
        if value["format"] != _FORMAT:
            raise SettingsError(
                f"{path} has format {value['format']}, and this orch reads {_FORMAT}",
                hint=f"use the orch that wrote it ({value.get('orch', 'a newer one')}), or a newer one",
            )
        files = {
            name: zlib.decompress(base64.b64decode(packed)).decode()
            for name, packed in value["files"].items()
        }
        return Manifest(answering.from_json(value["answers"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, binascii.Error) as error:
        raise SettingsError(
            f"{path} is no manifest of orch: {error}",
            hint="take it back from Git, or delete it: files that differ are then asked about one by one",
        ) from error


def text(manifest: Manifest) -> str:
    """The manifest as its file holds it; the same one gives the same text."""
    packed = {
        name: base64.b64encode(zlib.compress(content.encode(), 9)).decode()
        for name, content in sorted(manifest.files.items())
    }
    value = {
        "about": "Written by `orch init`, which needs it to upgrade its files without losing your changes. Commit it.",
        "format": _FORMAT,
        "orch": __version__,
        "answers": manifest.answers.to_json(),
        "files": packed,
    }
    return json.dumps(value, indent=1) + "\n"
