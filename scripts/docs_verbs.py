"""The verbs of `orch` as values, read from the typer application, and as Markdown pages and man pages.

Reads typer's own declarations (registered commands, the parameters' Annotated types), and nothing of the parser under them, which
changes from one typer to the next.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from docs_words import ALWAYS, CODES, VERBS, Words
from typer.models import ArgumentInfo

import orchestrator.cli
from orchestrator import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TYPES = {str: "TEXT", int: "INTEGER", float: "FLOAT", Path: "PATH", bool: ""}


@dataclass(frozen=True)
class Parameter:
    """One option or argument. `names` are its spellings, `value` what stands for its value, empty for a flag; `default` is in words."""

    names: tuple[str, ...]
    value: str
    is_argument: bool
    is_required: bool
    is_repeatable: bool
    default: str
    text: str
    variable: str = ""

    @property
    def spelled(self) -> str:
        """`--env, -e TEXT`, or `COUNT` for an argument."""
        return self.value if self.is_argument else f"{', '.join(self.names)} {self.value}".strip()

    @property
    def synopsis(self) -> str:
        """As it stands in a line of usage; empty for an option that may be left out."""
        if self.is_argument:
            shown = f"{self.value}…" if self.is_repeatable else self.value
            return shown if self.is_required else f"[{shown}]"
        return f"{self.names[0]} {self.value}" if self.is_required else ""


@dataclass(frozen=True)
class Verb:
    """One command, or a group of them that may be called itself. `path` is without `orch`: `sandbox scenario set`."""

    path: str
    text: str
    parameters: tuple[Parameter, ...]
    members: tuple[str, ...] = ()
    is_callable: bool = True

    @property
    def slug(self) -> str:
        return self.path.replace(" ", "-")

    @property
    def usage(self) -> str:
        """`orch scale --env TEXT [OPTIONS] COUNT`."""
        options = [one.synopsis for one in self.parameters if not one.is_argument and one.synopsis]
        arguments = [one.synopsis for one in self.parameters if one.is_argument]
        rest = (
            "[OPTIONS]" if any(not one.is_required and not one.is_argument for one in self.parameters) else ""
        )
        return " ".join(filter(None, ["orch", self.path, *options, rest, *arguments]))

    @property
    def words(self) -> Words:
        return VERBS[self.path]


def verbs() -> tuple[Verb, ...]:
    """Every verb, in the order of `orch --help`, each group before its members. Raises SystemExit for one that lacks its words."""
    app = orchestrator.cli.app
    order = list(typer.main.get_command(app).list_commands(None))  # type: ignore[attr-defined]
    found = sorted(_of(app, ""), key=lambda verb: order.index(verb.path.split(" ")[0]))
    lacking = [verb.path for verb in found if verb.is_callable and verb.path not in VERBS]
    if lacking:
        raise SystemExit(f"add an example to VERBS in scripts/docs_words.py for: {', '.join(lacking)}")
    return tuple(found)


def _of(app: typer.Typer, above: str) -> Iterator[Verb]:
    for command in app.registered_commands:
        if command.callback is None or command.hidden:
            continue
        name = command.name or command.callback.__name__.replace("_", "-")
        yield _verb(f"{above} {name}".strip(), command.callback)
    for group in app.registered_groups:
        instance = group.typer_instance
        if instance is None:
            continue
        path = f"{above} {group.name or instance.info.name}".strip()
        members = tuple(_of(instance, path))
        called = instance.registered_callback
        runs_alone = called is not None and called.invoke_without_command
        text = str(instance.info.help or group.help)
        direct = tuple(one.path for one in members if one.path.count(" ") == path.count(" ") + 1)
        if called is not None and called.callback is not None and runs_alone:
            own = _verb(path, called.callback)
            yield Verb(path, own.text, own.parameters, direct)
        else:
            yield Verb(path, text, (), direct, is_callable=False)
        yield from members


def _verb(path: str, callback: Callable[..., Any]) -> Verb:
    text = " ".join((inspect.getdoc(callback) or "").split())
    # A callback that `guarded` wraps was written in its own module, where its hints must be read.
    inner = inspect.unwrap(callback)
    hints = typing.get_type_hints(
        inner, {**vars(inspect.getmodule(inner)), "Path": Path}, include_extras=True
    )
    parameters = []
    for name, parameter in inspect.signature(inner).parameters.items():
        described = _parameter(name, hints[name], parameter.default)
        if described is not None:
            parameters.append(described)
    return Verb(path, text, tuple(parameters))


def _parameter(name: str, hint: Any, default: Any) -> Parameter | None:
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    kind, info = typing.get_args(hint)[:2]
    options = [one for one in typing.get_args(kind) if one is not types.NoneType]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = options[0]
    is_repeatable = typing.get_origin(kind) is list
    if is_repeatable:
        kind = typing.get_args(kind)[0]
    is_argument = isinstance(info, ArgumentInfo)
    dashed = f"--{name.replace('_', '-').strip('-')}"
    # In an Annotated type the first spelling stands where else a default does.
    spelled = (info.default, *(info.param_decls or ()))
    declared = tuple(one for one in spelled if isinstance(one, str) and one.startswith("-"))
    names = declared or ((dashed, f"--no-{dashed[2:]}") if kind is bool else (dashed,))
    value = info.metavar or (name.upper() if is_argument else _value(kind))
    return Parameter(
        names=names,
        value=value if kind is not bool else "",
        is_argument=is_argument,
        is_required=default is inspect.Parameter.empty,
        is_repeatable=is_repeatable,
        default=_default(default),
        text=info.help or "",
        variable=info.envvar if isinstance(info.envvar, str) else "",
    )


def _value(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    return _TYPES[kind]


def _default(default: Any) -> str:
    if default is inspect.Parameter.empty or default in (None, "", False) or default is True:
        return ""
    if isinstance(default, enum.Enum):
        return str(default.value)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _remarks(one: Parameter) -> str:
    """What is known of an option beside its help, as sentences that follow it."""
    said = [one.text if one.text.endswith((".", "?")) else f"{one.text}."]
    if one.is_required and not one.is_argument:
        said.append("Required.")
    if one.is_repeatable and "repeated" not in one.text:
        said.append("May be repeated.")
    if one.default:
        said.append(f"Default: `{one.default}`.")
    if one.variable:
        said.append(f"Also set by the variable {one.variable}.")
    return " ".join(said)


def codes_of(verb: Verb) -> dict[int, str]:
    """Each exit code that a verb may end with, and what it means."""
    return {code: CODES[code] for code in sorted({*ALWAYS, *verb.words.codes})}


# --- Markdown


def page(verb: Verb) -> str:
    """The page of one verb."""
    lines = [f"# orch {verb.path}", "", verb.text, ""]
    if verb.is_callable:
        lines += ["```text", verb.usage, "```", ""]
    if verb.members:
        lines += ["Its verbs:", ""]
        lines += [f"- [orch {one}]({one.replace(' ', '-')}.md)" for one in verb.members]
        lines.append("")
    if not verb.is_callable:
        return "\n".join(lines)
    lines += ["## Example", "", "```console"]
    lines += [f"$ {line}" for line in verb.words.example.splitlines()]
    lines += ["```", ""]
    for title, chosen in (
        ("Arguments", [one for one in verb.parameters if one.is_argument]),
        ("Options", [one for one in verb.parameters if not one.is_argument]),
    ):
        if chosen:
            lines += [f"## {title}", ""]
            for one in chosen:
                lines += [f"`{one.spelled}`", f":   {_marked(_remarks(one))}", ""]
    lines += ["## Exit codes", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in codes_of(verb).items()]
    if verb.words.notes:
        lines += ["", verb.words.notes]
    return "\n".join([*lines, ""])


def _marked(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def index(found: tuple[Verb, ...]) -> str:
    """The page that lists the verbs."""
    lines = ["# Verbs", "", "| verb | what it does |", "| --- | --- |"]
    lines += [f"| [orch {one.path}]({one.slug}.md) | {one.text} |" for one in found]
    lines += ["", "Every verb takes `--help`. What all of them share:", ""]
    lines += [
        "- `--project FOLDER`: the folder of orch.toml, in place of the nearest one above this folder.",
        "- `--sandbox`, or `ORCH_SANDBOX=1`: work against [the AWS on this machine](../sandbox.md).",
        "- `--output json`: one JSON object a line on stdout ([its schema](../reference/schemas.md)). Progress goes to stderr.",
        "- Everything may be repeated: the same command goes on from where a run ended.",
    ]
    lines += ["", "## Exit codes", "", "They are an interface: none changes its meaning.", ""]
    lines += ["| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in CODES.items()]
    return "\n".join([*lines, ""])


# --- man pages, in the macros of man(7): https://man7.org/linux/man-pages/man7/man.7.html


def man(verb: Verb) -> str:
    """The man page `orch-VERB(1)`."""
    name = f"orch-{verb.slug}"
    lines = [_head(name), ".SH NAME", f"{_troff(name)} \\- {_troff(verb.text)}"]
    if verb.is_callable:
        lines += [".SH SYNOPSIS", f".B {_troff(verb.usage)}"]
        for title, wanted in (("ARGUMENTS", True), ("OPTIONS", False)):
            chosen = [one for one in verb.parameters if one.is_argument is wanted]
            lines += [f".SH {title}"] if chosen else []
            for one in chosen:
                lines += [".TP", f".B {_troff(one.spelled)}", _troff(_remarks(one))]
        lines += [".SH EXIT STATUS"]
        for code, meaning in codes_of(verb).items():
            lines += [".TP", f".B {code}", _troff(meaning)]
        lines += [".PP", _troff(verb.words.notes)] if verb.words.notes else []
        lines += [".SH EXAMPLES", ".EX", *(_troff(line) for line in verb.words.example.splitlines()), ".EE"]
    also = [f"orch-{one.replace(' ', '-')}" for one in verb.members] + ["orch"]
    return "\n".join([*lines, ".SH SEE ALSO", _also(also), ""])


def man_overview(found: tuple[Verb, ...]) -> str:
    """The man page `orch(1)`."""
    lines = [_head("orch"), ".SH NAME", "orch \\- ship containers to AWS ECS", ".SH SYNOPSIS"]
    lines += [".B orch VERB [OPTIONS]", ".SH VERBS"]
    for one in found:
        lines += [".TP", f".B {_troff(one.path)}", _troff(one.text)]
    lines += [".SH EXIT STATUS"]
    for code, meaning in CODES.items():
        lines += [".TP", f".B {code}", _troff(meaning)]
    lines += [".SH FILES", ".TP", ".B orch.toml", "The settings of a project, in its folder."]
    return "\n".join([*lines, ".SH SEE ALSO", _also([f"orch-{one.slug}" for one in found]), ""])


def _head(name: str) -> str:
    return f'.TH "{name.upper()}" "1" "" "orch {__version__}" "orch"'


def _also(names: list[str]) -> str:
    return ",\n".join(f".BR {_troff(name)} (1)" for name in names)


def _troff(text: str) -> str:
    """Text as troff takes it: its backslashes and hyphens escaped, and no line that begins as a request does."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    escaped = escaped.replace("…", "...").replace("→", "\\->")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
