"""Lets Terraform find its providers on machines without internet: a CLI configuration that points at a local mirror.

A mirror is a folder that holds a folder named after a registry (`registry.terraform.io/NAMESPACE/TYPE/…`). Only the
providers that lie in it are taken from it; all others still come from their registry. A user's own CLI configuration is
left alone, except one that TF_CLI_CONFIG_FILE names and that does not exist: Terraform only warns about that and goes
on without any, so orch does the same, aloud.
Touches: the places named in `_PLACES` (read), and one file in the folder it is given (written); `registry_problem` one registry.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REGISTRIES = ("registry.terraform.io", "registry.opentofu.org")
_REGISTRY_TIMEOUT_S = 10
_PLACES = ("/opt", "/usr/share", "/usr/local/share", "~/.terraform.d")


@dataclass(frozen=True)
class CliConfig:
    """What to set TF_CLI_CONFIG_FILE to (None: leave it unset), the mirror in use, and a warning when there is one."""

    path: str | None
    mirror: Path | None = None
    warning: str = ""


def cli_config(setting: str, environ: Mapping[str, str], *, folder: Path) -> CliConfig:
    """Decides on the CLI configuration; writes `folder`/mirror.tfrc when a mirror is used.

    `setting` is `terraform.provider_mirror`; it wins over everything found. Raises SettingsError when it holds no mirror.
    """
    home = Path(environ.get("HOME", "/nonexistent"))
    named = environ.get("TF_CLI_CONFIG_FILE", "")
    warning = ""
    if named and not Path(named).is_file():
        warning = f"TF_CLI_CONFIG_FILE names {named}, which does not exist; it is ignored"
        named = ""
    if setting:
        mirror = next(_mirrors_below(Path(setting).expanduser()), None)
        if mirror is None:
            raise SettingsError(
                f"terraform.provider_mirror: no folder named {_REGISTRIES[0]} up to two levels below {setting}",
                hint="fill it with `terraform providers mirror FOLDER`, or remove the setting",
            )
        return CliConfig(_write(mirror, folder), mirror, warning)
    if named:
        return CliConfig(named)
    if (home / ".terraformrc").is_file():
        return CliConfig(None, None, warning)
    for place in _PLACES:
        expanded = home / place.removeprefix("~/") if place.startswith("~/") else Path(place)
        for mirror in _mirrors_below(expanded):
            return CliConfig(_write(mirror, folder), mirror, warning)
    return CliConfig(None, None, warning)


def has_provider(mirror: Path, provider: str) -> bool:
    """Whether a mirror holds a provider, such as `hashicorp/aws`, of any registry."""
    return any((mirror / registry / provider).is_dir() for registry in _REGISTRIES)


def registry_of(product: str) -> str:
    """The registry that `terraform` or `tofu` gets its providers from."""
    return _REGISTRIES[product == "tofu"]


def registry_problem(registry: str) -> str:
    """Why the registry cannot be reached from here; empty when it can.

    https://developer.hashicorp.com/terraform/internals/remote-service-discovery
    """
    try:
        url = f"https://{registry}/.well-known/terraform.json"
        with urllib.request.urlopen(url, timeout=_REGISTRY_TIMEOUT_S):
            return ""
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", "") or error)


def _mirrors_below(place: Path) -> Iterator[Path]:
    """Folders that hold a registry folder: the place itself, then its children, by name."""
    for registry in _REGISTRIES:
        if (place / registry).is_dir():
            yield place
    try:
        children = sorted(child for child in place.iterdir() if child.is_dir())
    except OSError:
        return
    for child in children:
        if any((child / registry).is_dir() for registry in _REGISTRIES):
            yield child


def _write(mirror: Path, folder: Path) -> str:
    held = sorted(
        f"{registry}/{namespace.name}/{provider.name}"
        for registry in _REGISTRIES
        if (mirror / registry).is_dir()
        for namespace in (mirror / registry).iterdir()
        if namespace.is_dir()
        for provider in namespace.iterdir()
        if provider.is_dir()
    )
    listed = ", ".join(f'"{provider}"' for provider in held)
    path = str(mirror.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    text = (
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path    = "{path}"\n    include = [{listed}]\n  }}\n'
        f"  direct {{\n    exclude = [{listed}]\n  }}\n"
        "}\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mirror.tfrc"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return str(file)
