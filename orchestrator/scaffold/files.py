"""Answers → the files of a project, by path. Pure but for reading what the package carries.

    orch.toml, terraform/envs/E/{backend.tf,terraform.tfvars}, .github/…   from templates (Jinja2)
    terraform/{modules,bootstrap}, the rest of terraform/envs/E            as they are in orch itself

Jinja2's own brackets are GitHub's too, so the templates use `<< value >>` and `<% statement %>`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import PreconditionError
from orchestrator.permissions import partition_of

if TYPE_CHECKING:
    import jinja2

    from orchestrator.scaffold.answers import Answers

MANIFEST = ".orch.json"
GITIGNORE = ".gitignore"
# What a working copy holds beside what is committed: Terraform's folders, plans, crash logs, the page of `orch board`.
IGNORED = (".terraform/", "*.tfplan", "*.tfstate", "*.tfstate.*", "crash.log", "orch-board.html")
WORKFLOWS = ".github/workflows"
# What pip installs on a runner.
REQUIREMENTS = ".github/orch-requirements.txt"
_HERE = Path(__file__).parent
TERRAFORM_VERSION = "1.11.4"
# Each at the commit of the release behind the #.
PINS = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "setup_python": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "setup_terraform": "hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e # v4.0.1",
}
# Tests of the modules are orch's own, and example.tfvars is for those who go without it.
_LEFT_OUT = ("tests", ".terraform", "__pycache__", "example.tfvars")
_TEMPLATED = frozenset({"backend.tf", "terraform.tfvars"})


def render(answers: Answers) -> dict[str, str]:
    """Every file that `orch init` writes, but for .gitignore and the manifest, by its path with slashes."""
    found = _terraform(answers)
    found["orch.toml"] = _rendered("orch.toml", answers)
    found[REQUIREMENTS] = _rendered("orch-requirements.txt", answers)
    first, *others = answers.environments
    for name in ("plan", "drift"):
        found[f"{WORKFLOWS}/orch-{name}.yml"] = _rendered(f"workflows/{name}.yml", answers)
    for environment in answers.environments:
        found[f"{WORKFLOWS}/orch-apply-{environment.name}.yml"] = _rendered(
            "workflows/apply.yml", answers, name=environment.name, is_first=environment == first
        )
        found[f"{WORKFLOWS}/orch-rollback-{environment.name}.yml"] = _rendered(
            "workflows/rollback.yml", answers, name=environment.name
        )
    for source, target in zip(answers.environments, others, strict=False):
        found[f"{WORKFLOWS}/orch-promote-{target.name}.yml"] = _rendered(
            "workflows/promote.yml", answers, name=target.name, source=source.name
        )
    return dict(sorted(found.items()))


def with_ignored(text: str) -> str:
    """A .gitignore with the lines that are missing in it."""
    lines = text.splitlines()
    missing = [line for line in IGNORED if line not in lines and line.rstrip("/") not in lines]
    if not missing:
        return text
    above = f"{text.rstrip()}\n\n" if text.strip() else ""
    return f"{above}# Terraform and orch\n" + "".join(f"{line}\n" for line in missing)


def _terraform(answers: Answers) -> dict[str, str]:
    source = terraform_folder()
    found = {
        f"terraform/{path}": text
        for folder in ("modules", "bootstrap")
        for path, text in _texts(source, source / folder).items()
    }
    root = source / "envs" / "dev"
    copied = {
        path: text for path, text in _texts(root, root).items() if path not in _TEMPLATED and "/" not in path
    }
    for position, environment in enumerate(answers.environments):
        folder = f"terraform/envs/{environment.name}"
        found |= {f"{folder}/{path}": text for path, text in copied.items()}
        for name in sorted(_TEMPLATED):
            found[f"{folder}/{name}"] = _rendered(
                f"env/{name}",
                answers,
                environment=environment,
                position=position,
                is_last=0 < position == len(answers.environments) - 1,
            )
    return found


@cache
def terraform_folder() -> Path:
    """Where the modules are: inside the installed package, else in the checkout that it is run from."""
    for candidate in (_HERE / "terraform", _HERE.parents[1] / "terraform"):
        if (candidate / "modules").is_dir():
            return candidate
    raise PreconditionError(
        "this installation of orch carries no Terraform modules",
        hint="install it again: pip install --force-reinstall",
    )


def _texts(base: Path, folder: Path) -> dict[str, str]:
    return {
        path.relative_to(base).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(_LEFT_OUT) & set(path.relative_to(base).parts)
    }


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(  # noqa: S701 - the files are TOML, HCL and YAML, and every value was held to a pattern
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        undefined=jinja2.StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {
        "pins": PINS,
        "terraform_version": TERRAFORM_VERSION,
        "requirements": REQUIREMENTS,
        "partition": partition_of,
    }
    return made


def _rendered(template: str, answers: Answers, /, **values: object) -> str:
    return _templates().get_template(f"{template}.jinja").render(answers=answers, **values)
