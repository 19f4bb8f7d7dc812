from __future__ import annotations

import io
import json

import pytest

from orchestrator.events import (
    OutputLine,
    PlanReady,
    ResourceProgress,
    RolloutProgress,
    ServiceEvent,
    StepFinished,
    Steps,
    StepStarted,
    Warned,
)
from orchestrator.model import (
    Action,
    Bootstrapped,
    Change,
    CheckResult,
    Destroyed,
    Detail,
    Image,
    Masked,
    OutputChange,
    Plan,
    Release,
    Verdict,
)
from orchestrator.report import bug_log, json_lines, terminal, text

PLAN = Plan(
    (
        Change("aws_a.new", Action.CREATE),
        Change("aws_b.old", Action.DELETE),
        Change("aws_c.c", Action.REPLACE),
    ),
    (Change("aws_d.drifted", Action.UPDATE),),
    (OutputChange("orch", Action.CREATE),),
    is_applicable=True,
    terraform_version="1.11.4",
    contract={"account_id": "111111111111"},
)
RELEASE = Release(
    id="20260101T000000Z-abc",
    environment="dev",
    service="web",
    account_id="111111111111",
    region="eu-central-1",
    image=Image("registry/web", "sha256:" + "a" * 64),
    commit="c" * 40,
    revision_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:7",
    verdict=Verdict.SUCCEEDED,
    reason="completed",
    running_count=2,
    desired_count=2,
    actor="arn:aws:iam::111111111111:user/ana",
    started_at="2026-01-01T00:00:00+00:00",
    durations_s={"plan": 2.94, "rollout": 125.0, "init": 0.001},
)


def test_a_plan_shows_what_destroys_first():
    assert text.plan_lines("dev", PLAN) == [
        "Plan for dev: 1 to create, 1 to replace, 1 to delete, 1 output to change",
        "  - aws_b.old (delete)",
        "  ± aws_c.c (replace)",
        "  + aws_a.new (create)",
        "  + output orch",
        "Changed outside Terraform: aws_d.drifted",
    ]


def plan_of(*changes: Change, **more) -> Plan:
    values = {
        "drift": (),
        "output_changes": (),
        "is_applicable": True,
        "terraform_version": "",
        "contract": {},
    }
    return Plan(changes, **(values | more))


def test_a_plan_unfolds_what_changes():
    digest = "sha256:" + "1a2b3c4d5e6f" + "0" * 52
    role = Change(
        "aws_iam_role.deploy",
        Action.UPDATE,
        details=(Detail("trust: condition StringEquals sub", ["a"], ["a", "b"]),),
        widenings=("trust lets in b as well",),
    )
    web = Change(
        "aws_ecs_task_definition.web",
        Action.REPLACE,
        reason="replace_because_cannot_update",
        details=(
            Detail("memory", 512, 1024, forces_replacement=True),
            Detail("container web: image", f"r.io/web@{digest}", f"r.io/web@{digest.replace('1a', '9f')}"),
            Detail("container web: environment LEVEL", Masked.SENSITIVE, Masked.SENSITIVE),
            Detail("container web: environment OLD", Masked.SENSITIVE, Masked.ABSENT),
            Detail("tags", Masked.ABSENT, {"Team": "a", "x": [1, True, None, Masked.UNKNOWN]}),
            Detail("… 37 more", Masked.ABSENT, Masked.ABSENT),
        ),
    )
    new = Change("aws_a.new", Action.CREATE, details=(Detail("name", Masked.ABSENT, "a"),))
    moved = Change("aws_b.new", Action.MOVE, previous_address="aws_b.old")
    taken = Change("aws_c.c", Action.IMPORT, import_id="i-1")
    drifted = Change("aws_d.d", Action.UPDATE, details=(Detail("n", 1, 2),))
    plan = plan_of(
        new,
        moved,
        taken,
        role,
        web,
        drift=(drifted,),
        output_changes=(OutputChange("url", Action.UPDATE, "a", Masked.UNKNOWN),),
        checks=(CheckResult("check.health", "fail", ("is down",)),),
        is_errored=True,
    )
    assert text.plan_lines("dev", plan) == [
        "Plan for dev: 1 to create, 1 to update, 1 to replace, 1 to import, 1 to move, 1 output to change",
        "! Terraform stopped at an error: this plan is not complete and cannot be applied",
        "! aws_iam_role.deploy: trust lets in b as well",
        "! check.health: is down",
        "  ± aws_ecs_task_definition.web (replace: it cannot be updated in place)",
        "      memory: 512 → 1024  ← forces replacement",
        "      container web: image: r.io/web@sha256:1a2b3c4d5e6f… → …@sha256:9f2b3c4d5e6f…",
        "      container web: environment LEVEL: (sensitive) → (sensitive)",
        "      container web: environment OLD: - (sensitive)",
        '      tags: + {"Team": "a", "x": [1, true, null, "(known after apply)"]}',
        "      … 37 more",
        "  + aws_a.new (create)",
        "      name: a",
        "  ~ aws_iam_role.deploy (update)",
        "      trust: condition StringEquals sub: a → a, b",
        "  < aws_c.c (import of i-1)",
        "  > aws_b.new (move from aws_b.old)",
        "  ~ output url: a → (known after apply)",
        "Changed outside Terraform: aws_d.d",
        "      n: 1 → 2",
    ]


def test_a_plan_folds_what_is_long():
    many = tuple(Detail(f"a{number}", 1, 2) for number in range(10))
    lines = text.plan_lines("dev", plan_of(Change("x", Action.UPDATE, details=many)))
    assert lines[-1] == "      … 2 more"
    assert len(lines) == 2 + 9
    counted = (*many, Detail("… 37 more", Masked.ABSENT, Masked.ABSENT))
    lines = text.plan_lines("dev", plan_of(Change("x", Action.UPDATE, details=counted)))
    assert lines[-1] == "      … 39 more"
    # One line more is no shorter than the line that says so.
    lines = text.plan_lines("dev", plan_of(Change("x", Action.UPDATE, details=many[:9])))
    assert lines[-1] == "      a8: 1 → 2"
    long = Detail("text", "start" + "x" * 500 + "the end", Masked.ABSENT)
    line = text.plan_lines("dev", plan_of(Change("x", Action.UPDATE, details=(long,))))[-1]
    assert line.startswith("      text: - startx")
    assert line.endswith("the end")
    assert len(line) < 100


def test_an_output_that_is_an_object_shows_its_members_that_change():
    before = {"contract": 1, "services": {"web": {"arn": "a", "name": "web"}}, "gone": 1}
    after = {"contract": 1, "services": {"web": {"arn": Masked.UNKNOWN, "name": "web"}}}
    outputs = (
        OutputChange("orch", Action.UPDATE, before, after),
        OutputChange("new", Action.CREATE, Masked.ABSENT, after),
    )
    assert text.plan_lines("dev", plan_of(output_changes=outputs))[1:] == [
        "  ~ output orch",
        "      services.web.arn: a → (known after apply)",
        "      gone: - 1",
        "  + output new",
    ]


def test_a_new_environment_is_told_by_its_addresses():
    created = [
        Change(f"x{number:02}", Action.CREATE, details=(Detail("n", Masked.ABSENT, 1),))
        for number in range(11)
    ]
    assert len(text.plan_lines("dev", plan_of(*created))) == 1 + 11
    assert len(text.plan_lines("dev", plan_of(*created[1:]))) == 1 + 2 * 10


def test_nothing_in_a_plan_steers_the_terminal_or_shows_a_credential():
    key = "AKIAIOSFODNN7EXAMPLE"
    change = Change(
        f'aws_x.a["{key}\x1b[2J"]',
        Action.UPDATE,
        details=(Detail("a\nb", "x\u202ey", f"{'p' * 45}{key}{'q' * 45}"),),
        widenings=(f"may {key}",),
    )
    lines = text.plan_lines(
        "dev", plan_of(change, output_changes=(OutputChange("o", Action.CREATE, Masked.ABSENT, [key]),))
    )
    assert all(line.isprintable() for line in lines)
    assert "AKIA" not in "".join(lines)


def test_a_release_shows_digest_revision_and_durations():
    shown = "\n".join(text.release_lines(RELEASE))
    assert "dev · web: SUCCEEDED" in shown
    assert f"registry/web@sha256:{'a' * 64}" in shown
    assert "demo-dev-web:7" in shown
    assert "plan 2.9 s, rollout 2 min 05 s" in shown


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (StepStarted("plan", "terraform plan"), "▸ terraform plan"),
        (
            StepFinished("plan", "terraform plan", "done", "3 to create", 2.5),
            "✓ terraform plan  2.5 s — 3 to create",
        ),
        (StepFinished("init", "terraform init", "skipped", "", 0.0), "• terraform init (skipped)  0.0 s"),
        (StepFinished("push", "Push", "failed", "", 1.0), "✗ Push  1.0 s"),
        (ResourceProgress("aws_a.b", "create", "running", 10), "    aws_a.b: create still under way, 10.0 s"),
        (OutputLine("buildah", "STEP 1"), "    buildah: STEP 1"),
        (OutputLine("buildah", "RUN ##[stop-commands]x\x1b[2J"), "    buildah: RUN # #[stop-commands]x"),
        (ServiceEvent("web", "2026", "##[add-mask]a"), "    ECS: # #[add-mask]a"),
        (
            ServiceEvent("web", "2026", "(service web) has started 1 tasks"),
            "    ECS: (service web) has started 1 tasks",
        ),
        (
            RolloutProgress("web", "ecs-svc/1", "IN_PROGRESS", 1, 1, 2, 1, 3),
            "    web: IN_PROGRESS, 1 of 2 running, 1 pending, 1 failed of 3 before rollback (ecs-svc/1)",
        ),
    ],
)
def test_the_line_of_each_event(event, line):
    assert text.event_lines(event) == [line]


def test_a_plain_view_prints_lines_and_hides_refreshes():
    stream = io.StringIO()
    view = terminal.open_view(stream, is_verbose=False)
    view.take(ResourceProgress("aws_a.b", "refresh", "done", 0))
    view.take(Warned("careful\nmore", "do this"))
    assert stream.getvalue() == "! careful\nmore\n  → do this\n"


def test_a_result_is_coloured_and_wrapped_at_words_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = [
        "Plan for dev: 1 to create",
        "  + module.environment.aws_ecr_repository.this (create)",
        "      a - b",
    ]
    plain, coloured = io.StringIO(), Terminal()
    terminal.write(lines, plain)
    terminal.write(lines, coloured)
    assert plain.getvalue() == "\n".join(lines) + "\n"
    assert coloured.getvalue().split("\n") == [
        "\x1b[1mPlan for dev: 1 to create\x1b[0m",
        "\x1b[32m  +\x1b[0m",
        "\x1b[32m      module.environment.aws_ecr_repository.this\x1b[0m",
        "\x1b[32m      (create)\x1b[0m",
        "      a - b",
        "",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_live_view_keeps_finished_steps_and_clears_the_rest():
    stream = Terminal()
    view = terminal.open_view(stream, is_verbose=False)
    steps = Steps(view.take)
    with steps.step("apply", "terraform apply") as step:
        view.take(ResourceProgress("aws_a.b", "create", "started", 0))
        view.take(ResourceProgress("aws_a.b", "create", "done", 2))
        view.take(OutputLine("buildah", "not kept"))
        step.detail = "1 to create"
    view.pause()
    shown = stream.getvalue()
    assert "aws_a.b: create done, 2.0 s" in shown
    assert "✓ terraform apply" in shown


def test_a_live_view_shows_every_rollout_under_way():
    stream = Terminal()
    view = terminal.open_view(stream, is_verbose=False)
    steps = Steps(view.take)
    with steps.step("rollout of web", "Roll out web") as web, steps.step("rollout of api", "Roll out api"):
        view.take(RolloutProgress("web", "ecs-svc/1", "IN_PROGRESS", 0, 1, 1, 0, 3))
        view.take(RolloutProgress("api", "ecs-svc/2", "IN_PROGRESS", 1, 1, 2, 0, 3))
        view.take(RolloutProgress("old", "ecs-svc/3", "SUCCESSFUL", 1, 0, 1, 0, 3))
        rows = [str(getattr(row, "text", row)) for row in view._renderable().renderables]
        web.failed = True
    view.pause()
    assert [row.split("  ")[0] for row in rows[:2]] == ["Roll out web", "Roll out api"]
    assert [row.split()[0] for row in rows[2:]] == ["web:", "api:"]
    assert "✗ Roll out web" in stream.getvalue()
    assert "✓ Roll out api" in stream.getvalue()


def test_steps_end_on_failure_too_and_add_up():
    events = []
    steps = Steps(events.append)
    with steps.step("a", "A") as step:
        step.skipped = True
    with pytest.raises(ValueError, match="x"), steps.step("a", "A"):
        raise ValueError("x")
    finished = [event for event in events if isinstance(event, StepFinished)]
    assert [event.outcome for event in finished] == ["skipped", "failed"]
    assert steps.durations_s["a"] == pytest.approx(sum(event.duration_s for event in finished))


def test_json_lines_are_objects_with_a_type_and_no_plan_values():
    from orchestrator.events import Released

    released = json.loads(json_lines.line(Released(RELEASE)))
    assert released["type"] == "released"
    assert released["image"] == str(RELEASE.image)
    assert (released["verdict"], released["exit_code"]) == ("SUCCEEDED", 0)
    plan = json.loads(json_lines.line(PlanReady("dev", PLAN)))
    assert plan["type"] == "plan_ready"
    assert plan["changes"][0]["address"] == "aws_a.new"
    assert plan["changes"][0]["action"] == "create"
    assert plan["output_changes"][0]["after"] == "(absent)"
    assert "contract" not in plan


def test_a_bug_leaves_one_line_and_a_log_without_the_environment(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path), "AWS_SECRET_ACCESS_KEY": "canary"}
    try:
        raise KeyError("boom")
    except KeyError as bug:
        line = bug_log.write(bug, environ, ["apply", "--env", "dev"])
    log = next((tmp_path / "orch/logs").iterdir())
    assert str(log) in line
    assert "Traceback" in log.read_text()
    assert "canary" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_destroyed_and_bootstrapped_for_people():
    destroyed = Destroyed("dev", 50, ("a", "b"), ("s3://state",))
    assert text.destroyed_lines(destroyed) == [
        "dev: destroyed 50 resources, deregistered 2 task definition revisions",
        "  kept      s3://state",
    ]
    bare = Bootstrapped("111111111111", "state", is_bucket_new=True, role_arns={})
    assert text.bootstrapped_lines(bare) == [
        "account 111111111111",
        "  state: created",
        "  no roles for GitHub: orch.toml has no [github] with the repository",
    ]
    done = Bootstrapped(
        "111111111111", "state", is_bucket_new=False, role_arns={"x": "arn:x"}, github="acme/demo"
    )
    assert text.bootstrapped_lines(done)[1:] == [
        "  state: was there; settings confirmed",
        "  role arn:x",
        "  acme/demo is set up on GitHub",
    ]
