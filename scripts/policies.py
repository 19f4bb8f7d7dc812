"""Writes the policies of the pipeline roles, from the table in orchestrator/permissions.py, as Terraform's own policy documents.

    policies.py            writes terraform/modules/permissions/policies.tf
    policies.py --check    exit code 1 when that file would change

Written out rather than read as JSON, so that a reviewer and a scanner see the very statements that IAM gets.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from orchestrator.permissions import BOUNDARY, DEPLOYS, PLANS, READS, TABLE, WATCHES, WRITES, Role, Statement

FILE = Path(__file__).parents[1] / "terraform" / "modules" / "permissions" / "policies.tf"
HEAD = """\
# Written by scripts/policies.py from orchestrator/permissions.py: change the table there, then run
#   .venv/bin/python scripts/policies.py
"""
_NAMES = {
    "partition": "var.partition",
    "region": "var.region",
    "account": "var.account_id",
    "project": "var.project",
    "environment": "var.environment",
    "prefix": "local.prefix",
    "bucket": "var.state_bucket",
}


def main(arguments: list[str]) -> int:
    documents = {
        "read": READS,
        "plan": PLANS,
        "push": TABLE[Role.PUSH],
        "apply": WRITES,
        "watch": WATCHES,
        "deploy": DEPLOYS,
        "boundary": BOUNDARY,
    }
    text = HEAD + "".join(_document(name, statements) for name, statements in documents.items())
    if "--check" not in arguments:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
        return 0
    print(f"stale, run .venv/bin/python scripts/policies.py: {FILE.name}", file=sys.stderr)
    return 1


def _document(name: str, statements: tuple[Statement, ...]) -> str:
    body = "\n".join(_statement(statement) for statement in statements)
    return f'\ndata "aws_iam_policy_document" "{name}" {{\n{body}}}\n'


def _statement(statement: Statement) -> str:
    service = "statement.value" if statement.each_service else ""
    pad = "      " if _is_dynamic(statement) else "    "
    words = 'join("", [for part in split("-", statement.value) : title(part)])'
    sid = f'"{statement.sid}${{{words}}}"' if statement.each_service else f'"{statement.sid}"'
    lines = [("sid", sid)]
    if statement.effect != "Allow":
        lines.append(("effect", f'"{statement.effect}"'))
    lines.append(("not_actions" if statement.all_but else "actions", _list(statement.actions, pad)))
    lines.append(("resources", _values(statement.resources, service, pad)))
    text = _attributes(lines, pad)
    for condition in statement.conditions:
        values = _attributes(
            [
                ("test", f'"{condition.test}"'),
                ("variable", f'"{_filled(condition.key, service)}"'),
                ("values", _values(condition.values, service, pad + "  ")),
            ],
            pad + "  ",
        )
        text += f"\n{pad}condition {{\n{values}{pad}}}\n"
    if not _is_dynamic(statement):
        return f"  statement {{\n{text}  }}\n"
    over = "var.services" if statement.each_service else "var.protected ? [true] : []"
    return f'  dynamic "statement" {{\n    for_each = {over}\n\n    content {{\n{text}    }}\n  }}\n'


def _is_dynamic(statement: Statement) -> bool:
    return statement.each_service or statement.only_protected


def _attributes(lines: list[tuple[str, str]], pad: str) -> str:
    """Attributes as `terraform fmt` aligns them: by runs of lines that take one line each."""
    out: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        width = max((len(name) for name, _ in run), default=0)
        out.extend(f"{pad}{name.ljust(width)} = {value}\n" for name, value in run)
        run.clear()

    for name, value in lines:
        if "\n" in value:
            flush()
            out.append(f"{pad}{name} = {value}\n")
        else:
            run.append((name, value))
    flush()
    return "".join(out)


def _values(templates: tuple[str, ...], service: str, pad: str) -> str:
    """A list of strings; those with {service}, where no statement is repeated, for each service."""
    lists = []
    single = []
    for template in templates:
        if template == "{trusted_account}":
            lists.append("tolist(var.trusted_accounts)")
        elif "{service}" in template and not service:
            lists.append(f'[for service in var.services : "{_filled(template, "service")}"]')
        else:
            single.append(_filled(template, service))
    if not lists:
        return _list(tuple(single), pad)
    if single:
        lists.insert(0, _list(tuple(single), pad + "  "))
    if len(lists) == 1:
        return lists[0]
    return "concat(\n" + "".join(f"{pad}  {item},\n" for item in lists) + f"{pad})"


def _list(values: tuple[str, ...], pad: str) -> str:
    quoted = [_quoted(value) for value in values]
    if len(quoted) == 1:
        return f"[{quoted[0]}]"
    return "[\n" + "".join(f"{pad}  {value},\n" for value in quoted) + f"{pad}]"


def _quoted(value: str) -> str:
    """A string; an interpolation alone is written as the expression that it is."""
    alone = re.fullmatch(r"\$\{([\w.]+)\}", value)
    return alone[1] if alone else f'"{value}"'


def _filled(template: str, service: str) -> str:
    names = _NAMES | {"service": service}
    return re.sub(r"\{(\w+)\}", lambda match: f"${{{names[match[1]]}}}", template)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
