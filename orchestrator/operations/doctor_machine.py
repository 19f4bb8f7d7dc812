"""What `orch doctor` checks of this machine and the project's folder: programs, their versions, where providers come from, files.

Touches: the programs themselves, asked for their versions; Terraform's registry where there is no mirror; the project, read.
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__, git
from orchestrator.ecs.check import Check
from orchestrator.errors import OrchError, SettingsError, ToolMissingError
from orchestrator.image import engine
from orchestrator.terraform import binary, mirror

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model import Finding
    from orchestrator.operations.doctor import Given
    from orchestrator.settings import Environment

_PROVIDER = "hashicorp/aws"


def examine(given: Given, environments: Sequence[Environment]) -> tuple[Finding, ...]:
    """The findings, in the order in which to mend them."""
    terraform, product = _terraform(given)
    return (
        Check("orch", "orch", "orch").ok(f"orch {__version__}, Python {platform.python_version()}"),
        _git(given),
        terraform,
        _providers(given, product),
        _engine(given),
        _files(given, environments),
    )


def _git(given: Given) -> Finding:
    check = Check("git", "git", str(given.settings.root))
    try:
        version = git.run(["--version"], given.settings.root, given.environ).stdout.strip()
        head = git.run(["rev-parse", "HEAD"], given.settings.root, given.environ)
    except OrchError as error:
        return check.fail(error.message, error.hint)
    if head.code != 0:
        return check.warn(
            f"{version}; {given.settings.root} has no commit, by which orch tags images",
            "commit what is there: `git init && git add -A && git commit`",
        )
    return check.ok(f"{version}, at commit {head.stdout.strip()[:12]}")


def _terraform(given: Given) -> tuple[Finding, str]:
    """The finding, and whether it is `terraform` or `tofu`."""
    check = Check("terraform", "Terraform", given.settings.terraform.binary)
    try:
        found = binary.find(given.settings.terraform.binary, given.environ)
    except OrchError as error:
        return check.fail(_whole(error), error.hint), "terraform"
    product = "tofu" if "tofu" in Path(found.path).name else "terraform"
    return check.ok(f"{product} {found.version}, {found.path}"), product


def _providers(given: Given, product: str) -> Finding:
    registry = mirror.registry_of(product)
    check = Check("providers", "providers", registry)
    with tempfile.TemporaryDirectory(prefix="orch-doctor-") as folder:
        try:
            config = mirror.cli_config(
                given.settings.terraform.provider_mirror, given.environ, folder=Path(folder)
            )
        except SettingsError as error:
            return check.fail(error.message, error.hint)
    if config.warning:
        return check.warn(config.warning, "unset TF_CLI_CONFIG_FILE, or make the file")
    if config.mirror is not None and mirror.has_provider(config.mirror, _PROVIDER):
        return check.ok(f"{_PROVIDER} from the mirror {config.mirror}")
    if config.mirror is None and config.path is not None:
        return check.ok(f"as {config.path} says (TF_CLI_CONFIG_FILE)")
    problem = given.registry_problem(registry)
    if not problem:
        return check.ok(f"from {registry}, which answers")
    lacking = f"the mirror {config.mirror} lacks {_PROVIDER}, and " if config.mirror else ""
    return check.fail(
        f"{lacking}{registry} cannot be reached: {problem}",
        "check the network and HTTPS_PROXY; or fill a folder by `terraform providers mirror FOLDER` and name it in"
        " terraform.provider_mirror of orch.toml",
    )


def _engine(given: Given) -> Finding:
    check = Check("engine", "image engine", given.settings.image.engine)
    try:
        found = engine.find(given.settings.image.engine, given.environ)
    except ToolMissingError as error:
        return check.fail(_whole(error), error.hint)
    return check.ok(f"{found.name}, {found.path}")


def _files(given: Given, environments: Sequence[Environment]) -> Finding:
    settings = given.settings
    check = Check("files", "files of the project", str(settings.root))
    modules = [one.root_module for one in environments]
    if settings.github is not None:
        modules.append(settings.bootstrap_module)
    missing = [path for path in modules if not any(path.glob("*.tf"))]
    dockerfiles = [settings.root / one.context / one.dockerfile for one in settings.services.values()]
    missing += [path for path in dockerfiles if not path.is_file()]
    if missing:
        named = ", ".join(str(path.relative_to(settings.root)) for path in dict.fromkeys(missing))
        return check.fail(
            f"not there: {named}", "write what is missing (`orch init`), or name the right paths in orch.toml"
        )
    return check.ok("every root module and Dockerfile that orch.toml names is there")


def _whole(error: OrchError) -> str:
    return "; ".join((error.message, *error.details))
