from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report import github_actions
from orchestrator.report.github_actions import Annotation


def test_an_annotation_with_all_it_can_have():
    shown = github_actions.annotate(
        Annotation("error", "100% wrong\r\nsecond: line, too", "a: b, c%", "terraform/envs/a,b.tf", 12)
    )
    assert shown == (
        "::error file=terraform/envs/a%2Cb.tf,line=12,title=a%3A b%2C c%25::100%25 wrong%0D%0Asecond: line, too"
    )


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Annotation("warning", "plain"), "::warning::plain"),
        (Annotation("notice", "x", "t"), "::notice title=t::x"),
        (Annotation("error", "a line needs a file", line=3), "::error::a line needs a file"),
        (Annotation("error", "\x1b[31mred\x1b[0m\x00"), "::error::red"),
        (Annotation("error", "m" * 5_000), f"::error::{'m' * 3_999}…"),
    ],
)
def test_an_annotation(annotation, shown):
    assert github_actions.annotate(annotation) == shown


def test_groups_do_not_break_out():
    assert github_actions.group("Plan\n::add-mask::x") == "::group::Plan%0A::add-mask::x"
    assert github_actions.end_group() == "::endgroup::"


def test_each_line_of_a_secret_is_masked_and_an_empty_one_is_not():
    assert github_actions.mask("se%cret") == ("::add-mask::se%25cret",)
    assert github_actions.mask("one\n\ntwo\n") == (
        "::add-mask::one%0A%0Atwo%0A",
        "::add-mask::one",
        "::add-mask::two",
    )
    assert github_actions.mask("secret\n") == ("::add-mask::secret",)
    assert github_actions.mask(" \n") == github_actions.mask("") == ()


def test_commands_stop_for_what_others_print():
    token = "a1b2c3d4e5f6a7b8"
    assert github_actions.stop_commands(token) == "::stop-commands::a1b2c3d4e5f6a7b8"
    assert github_actions.resume_commands(token) == "::a1b2c3d4e5f6a7b8::"
    for weak in ("", "short", "has:colons:in:it:all", "a1b2c3d4e5f6a7b8\n"):
        with pytest.raises(ValueError, match="16"):
            github_actions.stop_commands(weak)


def test_ten_of_each_severity_are_shown_in_order_and_the_rest_is_counted():
    errors = [Annotation("error", f"e{index}") for index in range(13)]
    warnings = [Annotation("warning", f"w{index}") for index in range(11)]
    shown = github_actions.annotations([*errors, errors[0], *warnings, Annotation("notice", "n")])
    assert [line for line in shown.lines if line.startswith("::error")] == [
        f"::error::e{index}" for index in range(10)
    ]
    assert [line for line in shown.lines if line.startswith("::warning")] == [
        f"::warning::w{index}" for index in range(10)
    ]
    assert shown.lines[-1] == "::notice::n"
    assert (shown.errors_left_out, shown.warnings_left_out, shown.notices_left_out) == (3, 1, 0)


@given(st.text(), st.text(), st.text())
def test_any_text_stays_one_line_and_one_command(message, title, file):
    line = github_actions.annotate(Annotation("error", message, title, file, 1))
    assert "\n" not in line
    assert "\r" not in line
    head, _, data = line.removeprefix("::").partition("::")
    assert head.split(" ")[0] == "error"
    assert head.count(",") == max(0, head.count("=") - 1) or "=" in title + file
    assert data.replace("%25", "").replace("%0A", "").replace("%0D", "").count("%") == 0
    line.encode()
