"""Shows the pull-request comment as a picture: show_comment.py FOLDER.

Writes comment.md, comment.html and, where Chromium is found, comment.png of a board with three environments. The page only
looks like GitHub's: tests/unit/test_markdown.py holds the structure, this is for the eye.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from orchestrator.model import (
    Action,
    Change,
    CheckResult,
    Detail,
    Masked,
    OutputChange,
    Plan,
    Verdict,
)
from orchestrator.report import board, markdown
from orchestrator.report.board import Board, Row, ServiceImage, State

_RUN = "https://github.com/acme/shop/actions/runs/1234567890"
_REPOSITORY = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/shop"
_OLD, _NEW = (
    f"{_REPOSITORY}@sha256:{'1a2b3c4d5e6f' * 5}0000",
    f"{_REPOSITORY}@sha256:{'9f8e7d6c5b4a' * 5}0000",
)
_COMMIT = "c0ffee1d2b3a49586776655443322110ffeeddcc"
_TASK = Change(
    "module.environment.module.ecs.aws_ecs_task_definition.this",
    Action.REPLACE,
    "aws_ecs_task_definition",
    "replace_because_cannot_update",
    details=(
        Detail("container web: memory", 512, 1024, forces_replacement=True),
        Detail("container web: environment LOG_LEVEL", Masked.SENSITIVE, Masked.SENSITIVE),
        Detail("container web: secret STRIPE_KEY", Masked.ABSENT, Masked.SENSITIVE),
        Detail("arn", "arn:aws:ecs:eu-central-1:111111111111:task-definition/shop:41", Masked.UNKNOWN),
    ),
)
_DEV = (
    Change(
        "module.environment.aws_cloudwatch_log_group.audit",
        Action.CREATE,
        "aws_cloudwatch_log_group",
        details=(
            Detail("name", Masked.ABSENT, "/shop/dev/audit"),
            Detail("retention_in_days", Masked.ABSENT, 30),
            Detail("arn", Masked.ABSENT, Masked.UNKNOWN),
        ),
    ),
    Change(
        "module.environment.module.ecr.aws_ecr_repository.this",
        Action.UPDATE,
        "aws_ecr_repository",
        details=(Detail("image_tag_mutability", "MUTABLE", "IMMUTABLE"), Detail("tags.Team", "web", "shop")),
    ),
    Change(
        "module.environment.module.ecs.aws_appautoscaling_target.this[0]",
        Action.UPDATE,
        "aws_appautoscaling_target",
        details=(Detail("max_capacity", 4, 8),),
    ),
)
_PROD = (
    _TASK,
    Change(
        "module.environment.aws_iam_role_policy.task",
        Action.UPDATE,
        "aws_iam_role_policy",
        details=(Detail("statement Objects: actions", ["s3:GetObject"], ["s3:*"]),),
        widenings=("statement Objects: actions gain `s3:*` on `arn:aws:s3:::shop-prod/*`",),
    ),
    Change(
        'module.environment.module.ecs.aws_ecs_service.this["web"]',
        Action.REPLACE,
        "aws_ecs_service",
        "replace_because_cannot_update",
        details=(Detail("launch_type", "EC2", "FARGATE", forces_replacement=True),),
    ),
    Change(
        "module.environment.aws_iam_role.legacy_deploy",
        Action.DELETE,
        "aws_iam_role",
        "delete_because_no_resource_config",
        details=(Detail("name", "shop-prod-legacy-deploy", Masked.ABSENT),),
    ),
    _DEV[0],
)
_DRIFT = Change(
    "module.environment.module.ecs.aws_security_group.service",
    Action.UPDATE,
    "aws_security_group",
    details=(Detail("ingress 0.0.0.0/0 tcp 22", Masked.ABSENT, "opened by hand"),),
)


def example() -> Board:
    """Dev is planned, staging rolled out, prod refused by its gates."""
    rows = (
        Row(
            "dev",
            State.PLANNED,
            plan=_plan(_DEV, outputs=(OutputChange("orch", Action.UPDATE, 1, Masked.UNKNOWN),)),
            images=(ServiceImage("web", _OLD, _NEW), ServiceImage("jobs", _OLD, _OLD)),
            next_step="merge: it applies on `main`",
            position=0,
        ),
        Row(
            "staging",
            State.ROLLED_OUT,
            plan=_plan(_DEV),
            images=(ServiceImage("web", _OLD, _NEW, Verdict.SUCCEEDED),),
            next_step="`orch apply --env prod`",
            position=1,
        ),
        Row(
            "prod",
            State.REFUSED,
            plan=_plan(
                _PROD,
                drift=(_DRIFT,),
                checks=(CheckResult("check.certificate", "fail", ("it ends in 12 days",)),),
            ),
            gates=(
                "max_destroy: 1 to delete, 0 allowed",
                "privilege_widening: the plan gives more rights than there are",
            ),
            images=(ServiceImage("web", _OLD, _NEW),),
            next_step="change the plan, or `orch apply --env prod --override max_destroy`",
            position=2,
        ),
    )
    return Board(_COMMIT, _RUN, rows)


def _plan(
    changes: tuple[Change, ...],
    *,
    drift: tuple[Change, ...] = (),
    outputs: tuple[OutputChange, ...] = (),
    checks: tuple[CheckResult, ...] = (),
) -> Plan:
    return Plan(
        changes, drift, outputs, is_applicable=True, terraform_version="1.11.4", contract={}, checks=checks
    )


_COLOURS = {"CAUTION": "#d1242f", "WARNING": "#9a6700", "NOTE": "#0969da"}
_STYLE = """
body { font: 14px/1.5 -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif; color: #1f2328; margin: 16px; }
main { border: 1px solid #d1d9e0; border-radius: 6px; max-width: 880px; padding: 16px; }
h3 { margin: 0 0 16px; font-size: 1.25em; } code, pre { font: 85% ui-monospace, 'DejaVu Sans Mono', monospace; }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em; white-space: break-spaces; }
table { border-collapse: collapse; display: block; overflow: auto; margin-bottom: 16px; }
th, td { border: 1px solid #d1d9e0; padding: 6px 13px; } tr:nth-child(2n) { background: #f6f8fa; }
pre { background: #f6f8fa; border-radius: 6px; padding: 16px; overflow: auto; } pre code { background: none; padding: 0; white-space: pre; }
blockquote { margin: 0 0 16px; padding: 8px 16px; border-left: 4px solid #d1d9e0; } blockquote p { margin: 0 0 4px; }
details { margin-bottom: 12px; } summary { cursor: pointer; } a { color: #0969da; } ul { padding-left: 2em; margin: 0; }
.add { color: #055d20; background: #dafbe1; } .del { color: #82071e; background: #ffebe9; } .alert { font-weight: 500; }
"""


def page(body: str, *, is_open: bool) -> str:
    """The comment within a page: alerts and the colours of a diff as GitHub has them."""
    # GitHub's comments, unlike its files, break the line at every newline.
    parser = MarkdownIt("gfm-like", {"breaks": True})
    html = parser.render(body)
    for label, colour in _COLOURS.items():
        html = html.replace(
            f"<blockquote>\n<p>[!{label}]<br />",
            f'<blockquote style="border-color: {colour}"><p class="alert" style="color: {colour}">{label.title()}</p><p>',
        )
    html = re.sub(r'(?s)(?<=<code class="language-diff">).*?(?=</code>)', lambda code: _diff(code[0]), html)
    html = html.replace("<details>", "<details open>") if is_open else html
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><main>{html}</main>"


def _diff(code: str) -> str:
    classes = {"+": "add", "-": "del"}
    return "\n".join(
        f'<span class="{classes[line[0]]}">{line}</span>' if line[:1] in classes else line
        for line in code.split("\n")
    )


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    shown = example()
    whole = markdown.comment(shown).body
    grown = ""
    for row in shown.rows:
        placed = board.Row(**{**vars(row), "commit": shown.commit, "run_url": shown.run_url})
        grown = markdown.merge(grown, placed).body
    if grown != whole:
        print("three merges are not the whole board")
        return 1
    (folder / "comment.md").write_text(whole, encoding="utf-8")
    (folder / "summary.md").write_text(markdown.summary(shown), encoding="utf-8")
    for name, is_open in (("comment", False), ("unfolded", True)):
        (folder / f"{name}.html").write_text(page(whole, is_open=is_open), encoding="utf-8")
        _picture(folder, name)
    return 0


def _picture(folder: Path, name: str) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium on PATH: no picture, only the page")
        return
    # As root, which containers are, Chromium starts only without its sandbox; the page is our own and loads nothing.
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync --hide-scrollbars --window-size=1000,1600"
    )
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            *flags.split(),
            f"--user-data-dir={profile}",
            f"--screenshot={(folder / f'{name}.png').resolve()}",
            (folder / f"{name}.html").resolve().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(folder / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
