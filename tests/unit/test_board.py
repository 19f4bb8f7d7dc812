from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.model import Action, Change, Detail, Plan, Verdict
from orchestrator.report import board, markdown
from orchestrator.report.board import Board, Row, ServiceImage, State, Tally

RUN = "https://github.com/acme/shop/actions/runs/42"
DESTROYS = Plan(
    (
        Change("aws_a.gone", Action.DELETE, "aws_a", widenings=("more rights",)),
        Change("aws_b.new", Action.CREATE, "aws_b", details=(Detail("size", 1, 2),)),
    ),
    (),
    (),
    is_applicable=True,
    terraform_version="1.11.4",
    contract={},
)
DEV = Row("dev", State.PLANNED, plan=DESTROYS, commit="aaaaaaaaaa", run_url=RUN, sequence=10, position=0)
PROD = Row(
    "prod",
    State.REFUSED,
    plan=DESTROYS,
    gates=("max_destroy: 1 to delete, 0 allowed",),
    images=(ServiceImage("web", "r@sha256:1", "r@sha256:2"),),
    note="a `note`",
    next_step="`orch apply`",
    bundle="b",
    commit="aaaaaaaaaa",
    run_url=RUN,
    sequence=10,
    position=1,
)
BODY = markdown.comment(Board("aaaaaaaaaa", RUN, (DEV, PROD))).body


def test_a_comment_remembers_its_rows_without_their_plans():
    assert board.read(BODY) == (
        dataclasses.replace(DEV, plan=None, tally=Tally(create=1, delete=1, widenings=1)),
        dataclasses.replace(PROD, plan=None, tally=Tally(create=1, delete=1, widenings=1)),
    )
    assert BODY.startswith(board.FIND)


def test_what_github_does_to_newlines_changes_nothing():
    assert board.parse(BODY.replace("\n", "\r\n")) == board.parse(BODY)


texts = st.text(max_size=40) | st.sampled_from(
    ["-->", "--", "---", "|", "<!-- orch:end -->", "\ud800", "`" * 9, "\n"]
)
images = st.builds(ServiceImage, texts, texts, texts, st.none() | st.sampled_from(Verdict), texts)
counts = st.integers(0, 9_999)
tallies = st.builds(Tally, *[counts] * len(dataclasses.fields(Tally)))
rows = st.builds(
    Row,
    environment=texts,
    state=st.sampled_from(State),
    tally=st.none() | tallies,
    gates=st.lists(texts, max_size=3).map(tuple),
    images=st.lists(images, max_size=3).map(tuple),
    note=texts,
    next_step=texts,
    bundle=texts,
    commit=texts,
    run_url=st.sampled_from(["", RUN]),
    sequence=counts,
    position=counts,
)
forgiving = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@forgiving
@given(rows)
def test_any_row_comes_back_from_its_marker(row):
    marker = board.marker("row", board.record(row))
    assert re.fullmatch(r"<!-- orch:row (?:(?!--|[<>|`\n@#]).)* -->", marker)
    assert board.recalled(json.loads(marker.removeprefix("<!-- orch:row ").removesuffix(" -->"))) == row


@forgiving
@given(st.lists(rows, max_size=4, unique_by=lambda row: row.environment))
def test_any_board_comes_back_from_its_comment(given_rows):
    body = markdown.comment(Board("", "", tuple(given_rows)), max_bytes=10**6).body
    assert board.read(body) == tuple(sorted(given_rows, key=lambda row: row.position))


@forgiving
@given(
    st.text()
    | texts.map(lambda text: f"<!-- orch:v1 {text}\n| <!-- orch:row {text} -->\n<!-- orch:x {{}} -->\n{text}")
)
def test_no_text_is_too_strange_to_be_read(body):
    assert all(isinstance(row, Row) for row in board.read(body))
    merged = markdown.merge(body, DEV)
    assert board.holds(merged.body, DEV)


@pytest.mark.parametrize(
    "members",
    [
        '{"environment":"dev","x":' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"schema":1,"environment":"dev","state":"planned","sequence":Infinity}',
        '{"schema":1,"environment":"dev","state":"planned","tally":[1]}',
        '{"schema":1,"environment":"dev","state":"planned","tally":{"unheard":1}}',
        '{"schema":1,"environment":"dev","state":"planned","images":[1]}',
        '{"schema":1,"environment":["dev"],"state":"planned"}',
        '{"schema":1,"environment":"dev","state":"unheard"}',
        '["dev"]',
    ],
)
def test_a_record_that_was_tampered_with_is_no_row_or_a_harmless_one(members):
    body = f"<!-- orch:v1 {{}} -->\n| <!-- orch:row {members} --> **dev** |"
    assert [row.sequence for row in board.read(body)] in ([], [0])
    assert board.holds(markdown.merge(body, DEV).body, DEV)


def test_numbers_that_are_none_are_not_shown():
    forged = BODY.replace('"tally":{"create":1', '"tally":{"create":"</details>"')
    row = Row("dev", State.APPLYING, commit=DEV.commit, sequence=20)
    assert "</details>" not in markdown.merge(forged, row).body.split("<!-- orch:danger")[0].replace(
        '"create":"</details>"', ""
    )


def test_a_long_name_stays_one_of_its_own():
    names = ["e" * 200 + "1", "e" * 200 + "2"]
    body = ""
    for name in names:
        body = markdown.merge(body, dataclasses.replace(DEV, environment=name)).body
    assert len(board.read(body)) == 2
    assert all(board.holds(body, dataclasses.replace(DEV, environment=name)) for name in names)


def test_one_environment_is_edited_and_the_other_kept_to_the_letter():
    done = dataclasses.replace(
        DEV, state=State.ROLLED_OUT, sequence=20, images=(ServiceImage("web", "a", "b", Verdict.SUCCEEDED),)
    )
    merged = markdown.merge(BODY, done).body
    before, after = ({part.environment: part for part in board.parse(body)} for body in (BODY, merged))
    assert after["prod"] == before["prod"]
    assert [block.kind for block in after["dev"].blocks] == ["section"]
    assert board.read(merged)[0].verdict is Verdict.SUCCEEDED
    assert merged.count("[!CAUTION]") == 1
    assert markdown.merge(merged, done).body == merged


def test_jobs_of_two_environments_may_write_in_any_order():
    dev = dataclasses.replace(DEV, state=State.APPLIED, sequence=21)
    prod = dataclasses.replace(PROD, state=State.APPLYING, gates=(), sequence=22)
    one = markdown.merge(markdown.merge(BODY, dev).body, prod).body
    other = markdown.merge(markdown.merge(BODY, prod).body, dev).body
    assert one == other
    assert board.holds(one, dev)
    assert board.holds(one, prod)
    # Both read the same comment, and the second write wins: the first job sees that its row is gone, and writes again.
    lost = markdown.merge(BODY, prod).body
    assert not board.holds(lost, dev)
    assert markdown.merge(lost, dev).body == one


def test_three_merges_are_the_whole_board():
    body = ""
    for row in (PROD, DEV):
        body = markdown.merge(body, row).body
    assert body == BODY


def test_an_older_run_changes_nothing():
    newer = markdown.merge(BODY, dataclasses.replace(DEV, state=State.APPLIED, sequence=30)).body
    assert markdown.merge(newer, DEV).body == newer
    assert board.holds(newer, DEV)


def test_the_heading_names_the_commit_of_the_newest_row_and_each_row_its_own():
    body = markdown.merge(BODY, dataclasses.replace(DEV, commit="bbbbbbbbbb", sequence=11)).body
    assert "### orch · 2 environments at `bbbbbbb`" in body
    assert body.count("<br>`aaaaaaa`") == body.count("<br>`bbbbbbb`") == 1


def _of_a_newer_orch(body):
    """As a later version might write prod: another schema, an unknown state, a block we know nothing of."""
    lines = []
    for line in body.split("\n"):
        if line.startswith("| <!-- orch:row") and '"environment":"prod"' in line:
            members = {
                "schema": 2,
                "environment": "prod",
                "state": "canary",
                "position": 1,
                "canary": {"percent": 5},
            }
            line = f"| {board.marker('row', members)} **prod** | a | b | c | d | canary 5 % | f |"  # noqa: PLW2901
        lines.append(line)
    extra = ["", board.marker("graph", {"environment": "prod", "scale": 2}), "", "a graph", "", board.END, ""]
    return "\n".join([*lines, *extra])


def test_what_a_newer_orch_wrote_is_kept():
    body = _of_a_newer_orch(BODY)
    merged = markdown.merge(body, dataclasses.replace(DEV, state=State.APPLIED, sequence=20)).body
    before, after = ({part.environment: part for part in board.parse(text)} for text in (body, merged))
    assert after["prod"] == before["prod"]
    assert "canary 5 %" in merged
    assert "a graph" in merged
    assert [row.environment for row in board.read(merged)] == ["dev"]
    newest = body.replace('orch:v1 {"schema":1}', 'orch:v1 {"schema":2,"layout":"wide"}')
    assert board.head(markdown.merge(newest, DEV).body) == {"schema": 2, "layout": "wide"}


@forgiving
@given(rows, st.lists(rows, max_size=3, unique_by=lambda row: row.environment))
def test_merge_keeps_every_other_row(new, others):
    others = [row for row in others if row.environment != new.environment]
    body = _of_a_newer_orch(markdown.comment(Board("", RUN, (PROD, *others)), max_bytes=10**6).body)
    merged = markdown.merge(body, new, max_bytes=10**6).body
    before = {part.environment: part for part in board.parse(body)}
    after = {part.environment: part for part in board.parse(merged)}
    name = board.key(new.environment)
    assert {**before, name: after[name]} == after
    assert board.holds(merged, new)


def test_a_row_without_numbers_keeps_those_of_its_commit_and_while_it_is_applied_the_diff():
    bare = Row("prod", State.APPLYING, commit="aaaaaaaaaa", run_url=RUN, sequence=20, position=1)
    applying = markdown.merge(BODY, bare).body
    kept = board.read(applying)[1]
    assert (kept.state, kept.tally, kept.images, kept.bundle) == (
        State.APPLYING,
        Tally(create=1, delete=1, widenings=1),
        PROD.images,
        "b",
    )
    kinds = {part.environment: [block.kind for block in part.blocks] for part in board.parse(applying)}
    assert kinds["prod"] == ["danger", "widening", "section"]
    applied = markdown.merge(applying, dataclasses.replace(bare, state=State.APPLIED)).body
    assert "**prod**: 1 created, 1 destroyed" in applied
    assert [block.kind for block in board.parse(applied)[1].blocks] == ["section"]
    other = markdown.merge(BODY, dataclasses.replace(bare, commit="bbbbbbbbbb")).body
    assert board.read(other)[1].tally is None


def test_a_merge_that_grows_too_large_cuts_the_others_to_a_pointer():
    changes = tuple(
        Change(f"aws_a.a{index}", Action.UPDATE, "aws_a", details=(Detail("x", "y" * 60, "z" * 60),))
        for index in range(150)
    )
    large = dataclasses.replace(DESTROYS, changes=(*DESTROYS.changes, *changes))
    body = ""
    for place, name in enumerate(("dev", "staging", "prod")):
        row = dataclasses.replace(DEV, environment=name, plan=large, position=place)
        rendered = markdown.merge(body, row)
        body = rendered.body
        assert len(body.encode()) <= 60_000
    assert body.count("[!CAUTION]") == 3
    assert f"all of it in [the step summary]({RUN})" in body
    assert body.count("<details>") == body.count("</details>") >= 1
    assert len(rendered.overflow) >= 1
    assert len(board.read(body)) == 3


def test_cut_lines_stay_counted():
    gone = dataclasses.replace(
        DESTROYS, changes=tuple(Change(f"aws_a.a{index}", Action.DELETE, "aws_a") for index in range(300))
    )
    body = markdown.merge("", dataclasses.replace(DEV, plan=gone)).body
    assert "> **100 more** in" in body
    again = markdown.merge(body, dataclasses.replace(PROD, plan=gone)).body
    assert again.count("> - destroys") == 200
    assert again.count("> **200 more** in") == 2


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ((), None),
        ((None,), None),
        ((Verdict.NO_CHANGE, Verdict.SUCCEEDED), Verdict.SUCCEEDED),
        ((Verdict.NO_CHANGE,), Verdict.NO_CHANGE),
        ((Verdict.SUCCEEDED, Verdict.ROLLED_BACK, None), Verdict.ROLLED_BACK),
    ],
)
def test_the_verdict_is_the_worst_of_its_services(verdicts, worst):
    shown = tuple(ServiceImage("web", "", "", verdict) for verdict in verdicts)
    assert Row("dev", State.ROLLED_OUT, images=shown).verdict is worst
