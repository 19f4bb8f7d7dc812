"""Writes what the documentation takes from the product itself, and so keeps it from going stale.

    docs/verbs/            a page for each verb, from typer's declarations and scripts/docs_words.py
    docs/man/              the same as man pages, which the wheel installs
    docs/schema/           JSON Schemas of orch.toml, of the JSON lines, and of a release record
    docs/**.md             the parts between <!-- BEGIN name --> and <!-- END name -->
    mkdocs.yml             the verbs in the navigation

Called without arguments it writes them; `--check` ends with 1, and names the files that would change.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import docs_schema
import docs_tables
import docs_verbs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Folders in which every file is written from here, so that one without a verb goes away.
_WHOLE = ("verbs", "man", "schema")
_PARTS = {
    "configuration": docs_tables.configuration,
    "verdicts": docs_tables.verdicts,
    "gates": docs_tables.gate_rules,
    "causes": docs_tables.known_causes,
    "network": docs_tables.network,
    "roles": docs_tables.roles,
}
_PART = re.compile(r"(<!-- BEGIN (\w+) -->\n).*?(<!-- END \2 -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    wanted = files()
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    gone = [path for name in _WHOLE for path in sorted((DOCS / name).glob("*")) if path not in wanted]
    if "--check" not in arguments:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        for path in gone:
            path.unlink()
        return 0
    if stale or gone:
        names = [str(path.relative_to(ROOT)) for path in (*stale, *gone)]
        print("stale, run .venv/bin/python scripts/docs.py:", *names, sep="\n  ", file=sys.stderr)
        return 1
    return 0


def files() -> dict[Path, str]:
    """Every file that is written from here, with its whole text."""
    found = docs_verbs.verbs()
    pages = {DOCS / "verbs" / f"{verb.slug}.md": docs_verbs.page(verb) for verb in found}
    pages[DOCS / "verbs" / "index.md"] = docs_verbs.index(found)
    pages |= {DOCS / "man" / f"orch-{verb.slug}.1": docs_verbs.man(verb) for verb in found}
    pages[DOCS / "man" / "orch.1"] = docs_verbs.man_overview(found)
    pages[DOCS / "schema" / "orch.toml.json"] = _json(docs_schema.orch_toml())
    pages[DOCS / "schema" / "json-lines.json"] = _json(docs_schema.json_lines())
    pages[DOCS / "schema" / "release-record.json"] = _json(docs_schema.release_record())
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8") if path not in pages else ""
        if "<!-- BEGIN " in text:
            pages[path] = _PART.sub(lambda match: f"{match[1]}\n{_PARTS[match[2]]()}\n\n{match[3]}", text)
    pages[ROOT / "mkdocs.yml"] = _navigation((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), found)
    return pages


def _navigation(text: str, found: tuple[docs_verbs.Verb, ...]) -> str:
    names = "".join(f'      - "orch {verb.path}": verbs/{verb.slug}.md\n' for verb in found)
    return re.sub(
        r"(# BEGIN verbs.*?\n).*?( *# END verbs)",
        lambda match: match[1] + names + match[2],
        text,
        flags=re.DOTALL,
    )


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
