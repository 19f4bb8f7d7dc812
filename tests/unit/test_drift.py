from __future__ import annotations

from orchestrator.model import Action, Change, Detail, Drift, Plan
from orchestrator.operations.drift import drift_of
from orchestrator.report import drift_issue, text


def plan(changes: tuple[Change, ...], *drift: Change) -> Plan:
    return Plan(
        changes, drift=drift, output_changes=(), is_applicable=True, terraform_version="1.12.0", contract={}
    )


def change(address: str, *details: Detail) -> Change:
    return Change(address, Action.UPDATE, "aws_x", details=details)


REVERTED = change("aws_x.reverted", Detail("days", 7, 30))
KEPT = change("aws_x.kept")
YOURS = change("aws_x.yours")


def test_drift_is_sorted_by_what_the_plan_does_to_it():
    found = drift_of("dev", plan((change("aws_x.reverted"), YOURS), REVERTED, KEPT))
    assert found == Drift("dev", reverted=(REVERTED,), kept=(KEPT,), yours=(YOURS,))
    assert found.is_there
    assert not drift_of("dev", plan((YOURS,))).is_there


def test_drift_in_words():
    assert text.drift_lines(Drift("dev", (REVERTED,), (KEPT,), (YOURS,))) == [
        "Drift of dev: 2 changed outside Terraform",
        "  ! aws_x.reverted (update): the next apply reverts it",
        "      days: 7 → 30",
        "  ~ aws_x.kept (update): stays as it is",
        "  beside it this checkout changes 1 resource, see `orch plan`",
    ]


def test_the_issue_says_what_to_do_about_what_there_is():
    body = drift_issue.body(Drift("dev", (REVERTED,), (), ()))
    assert body.splitlines()[:4] == [
        "```text",
        "  ! aws_x.reverted (update): the next apply reverts it",
        "      days: 7 → 30",
        "```",
    ]
    assert "`orch apply --env dev` reverts" in body
    assert "marked with `~`" not in body


def test_no_drift_breaks_out_of_the_issue_or_makes_it_too_long():
    hostile = change('aws_x.a["```\n</details> @team"]')
    many = tuple(change(f"aws_x.a[{number}]" + "x" * 500) for number in range(500))
    body = drift_issue.body(Drift("dev", (hostile, *many), (), ()))
    assert body.startswith("````text\n")
    assert body.count("````") == 2
    assert len(body.encode()) < 45_000
    assert "more lines" in body
