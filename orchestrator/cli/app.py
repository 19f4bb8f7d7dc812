"""The typer application, the options that verbs share, and the error boundary.

`guarded` is the only place that catches: an OrchError is printed and becomes its exit code, anything else is a bug (exit
code 3, one line, and a log file).
"""

from __future__ import annotations

import functools
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator import __version__
from orchestrator.errors import InterruptedByUserError, OrchError, TerraformError
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable


# As somebody meets them: what ships, what looks, what mends, what sets up.
_ORDER = (
    *("plan", "apply", "deploy", "promote", "watch", "continue", "rollback", "verify"),
    *("status", "board", "history", "release", "metrics", "diff", "drift"),
    *("tasks", "logs", "run", "exec", "scale"),
    *("lock", "unlock", "locks"),
    *("init", "doctor", "bootstrap", "policy", "destroy", "sandbox"),
)


class _InOrder(TyperGroup):
    """Lists the verbs in that order, whichever module registers them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: (*_ORDER, name).index(name))


app = typer.Typer(
    name="orch",
    cls=_InOrder,
    help="Ship containers to AWS ECS: Terraform for the infrastructure, truthful rollouts for the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich alone would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


EnvOption = Annotated[
    str, typer.Option("--env", "-e", help="The environment, as orch.toml names it.", show_default=False)
]
RoleOption = Annotated[
    Role, typer.Option("--role", "-r", help="Which role of the pipeline.", show_default=False)
]
CommentOption = Annotated[
    bool,
    typer.Option(
        "--comment",
        help="Tell the pull request, in its one comment, and GitHub's step summary (GITHUB_TOKEN).",
    ),
]
PullRequestOption = Annotated[
    int, typer.Option("--pull-request", metavar="NUMBER", help="With --comment, where no workflow tells it.")
]
LockTimeoutOption = Annotated[
    int | None,
    typer.Option(
        "--lock-timeout",
        metavar="SECONDS",
        min=0,
        help="How long to wait where another run holds the environment's lock; [lock] of orch.toml when absent.",
    ),
]
ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Folder of orch.toml; the nearest one above this folder when absent."),
]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox", envvar="ORCH_SANDBOX", help="Work against the embedded AWS (`orch sandbox up`)."
    ),
]
OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="text for people; json prints one JSON object a line on stdout."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show every line of builds on a terminal too.")
]


def guarded(verb: Callable[..., int]) -> Callable[..., None]:
    """Runs a verb, prints what went wrong as people or programs want it, and exits with the right code."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        output = kwargs.get("output", Output.TEXT)
        try:
            code = verb(*args, **kwargs)
        except OrchError as error:
            _print_error(error, output)
            code = error.exit_code
        except KeyboardInterrupt:
            interrupted = InterruptedByUserError("interrupted", hint="run the same command again to go on")
            _print_error(interrupted, output)
            code = interrupted.exit_code
        except Exception as bug:  # noqa: BLE001 - the one boundary where a bug becomes a line and a log
            from orchestrator.report import bug_log

            typer.echo(bug_log.write(bug, os.environ, sys.argv[1:]), err=True)
            code = 3
        raise typer.Exit(code)

    return run


def _print_error(error: OrchError, output: Output) -> None:
    if output is Output.JSON:
        from orchestrator.report import json_lines

        typer.echo(json_lines.error_line(error.message, error.hint, error.details, error.exit_code))
    typer.secho(f"error: {error.message}", err=True, fg="red" if sys.stderr.isatty() else None)
    for line in error.details:
        typer.echo(f"  {line}", err=True)
    if error.hint:
        typer.echo(f"  → {error.hint}", err=True)
    annotate(error)


def annotate(*errors: OrchError) -> None:
    """In a workflow on GitHub: shows errors on the run, and on the lines of the pull request that Terraform names."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    from orchestrator.report.github_actions import Annotation, annotations

    workspace = os.environ.get("GITHUB_WORKSPACE") or Path.cwd()
    found: list[Annotation] = []
    for error in errors:
        marks = error.marks if isinstance(error, TerraformError) else ()
        for mark in marks:
            file = os.path.relpath(mark.file, workspace).replace(os.sep, "/")
            found.append(Annotation("error", mark.detail or mark.summary, mark.summary, file, mark.line))
        if not marks:
            message = f"{error.message}\n→ {error.hint}" if error.hint else error.message
            found.append(Annotation("error", message, "orch"))
    for line in annotations(found).lines:
        typer.echo(line, err=True)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"orch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Holds the options of `orch` itself."""
