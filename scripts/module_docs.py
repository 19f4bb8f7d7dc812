"""Writes the tables of inputs and outputs into each Terraform module's README, between two markers.

    module_docs.py            writes them
    module_docs.py --check    exit code 1, and the names of the READMEs that would change

Reads variables.tf and outputs.tf with python-hcl2 (terraform-docs is no package of PyPI, npm or Debian).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import hcl2

MODULES = Path(__file__).parents[1] / "terraform" / "modules"
BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"
_LONGEST_TYPE = 40


def main(arguments: list[str]) -> int:
    stale = []
    for folder in sorted(path for path in MODULES.iterdir() if path.is_dir()):
        readme = folder / "README.md"
        before = readme.read_text(encoding="utf-8")
        after = with_tables(before, tables(folder))
        if after != before:
            stale.append(readme.relative_to(MODULES.parents[1]))
            if "--check" not in arguments:
                readme.write_text(after, encoding="utf-8")
    if "--check" in arguments and stale:
        print("stale, run .venv/bin/python scripts/module_docs.py:", *stale, sep="\n  ", file=sys.stderr)
        return 1
    return 0


def with_tables(readme: str, text: str) -> str:
    """The README with the text between the markers, which are added at its end when there are none."""
    block = f"{BEGIN}\n{text}\n{END}"
    if BEGIN not in readme:
        return f"{readme.rstrip()}\n\n{block}\n"
    head, rest = readme.split(BEGIN, 1)
    return head + block + rest.split(END, 1)[1]


def tables(folder: Path) -> str:
    """The Markdown of one module's inputs and outputs, in the order of the files."""
    inputs = _blocks(folder / "variables.tf", "variable")
    outputs = _blocks(folder / "outputs.tf", "output")
    lines = ["## Inputs", "", "| name | type | default | description |", "| --- | --- | --- | --- |"]
    objects: list[str] = []
    for name, block in inputs.items():
        kind = _type(block.get("type", "any"))
        shown = kind
        if len(kind) > _LONGEST_TYPE:
            shown = kind.split("(", 1)[0]
            objects += ["", f"### `{name}`", "", "```hcl", _spread(kind), "```"]
        default = "*required*" if "default" not in block else f"`{_value(block['default'])}`"
        lines.append(f"| `{name}` | `{shown}` | {_cell(default)} | {_cell(_text(block['description']))} |")
    lines += objects
    lines += ["", "## Outputs", "", "| name | description |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell(_text(block['description']))} |" for name, block in outputs.items()]
    return "\n".join(lines)


def _blocks(file: Path, kind: str) -> dict[str, dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        parsed = hcl2.load(stream)
    return {_text(name): block for item in parsed.get(kind, []) for name, block in item.items()}


def _text(value: str) -> str:
    """A quoted HCL string without its quotes; python-hcl2 gives a heredoc as a string with bare newlines."""
    text = str(json.loads(value, strict=False)) if value.startswith('"') else value
    heredoc = re.fullmatch(r"\s*<<-?(\w+)\n(.*)\n\s*\1\s*", text, re.DOTALL)
    return " ".join((heredoc[2] if heredoc else text).split())


def _type(value: str) -> str:
    return value.removeprefix("${").removesuffix("}") if value.startswith("${") else value


def _spread(kind: str) -> str:
    """An object type with one attribute a line."""
    depth, out = 0, ""
    for part in re.split(r"(\{|\}|, (?=\w+ = ))", kind):
        if part == "{":
            depth += 1
            out += "{\n" + "  " * depth
        elif part == "}":
            depth -= 1
            out += "\n" + "  " * depth + "}"
        elif part == ", ":
            out += "\n" + "  " * depth
        else:
            out += part
    return re.sub(r"\{\s*\}", "{}", out)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_value(item)}' for key, item in value.items() if key != '__is_block__')}}}"
    return _type(value) if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
