"""github.difference: what differs, in which order it is mended, and what is refused before anything is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.github.difference import (
    Actual,
    ActualEnvironment,
    BranchRule,
    CreateEnvironment,
    Protections,
    Remark,
    RestrictBranches,
    SetVariable,
    Wanted,
    WantedEnvironment,
    check,
    differences,
    rule_of,
    wanted_of,
)

NOTHING = Actual({}, {})
NAMES = st.sampled_from(["dev", "staging", "prod"])
VARIABLES = st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sampled_from(["1", "2"]))
BRANCHES = st.lists(st.sampled_from(["main", "release/*"]), unique=True).map(tuple)
WANTED = st.builds(
    lambda variables, environments: Wanted(
        variables, tuple(WantedEnvironment(name, *rest) for name, rest in environments.items())
    ),
    VARIABLES,
    st.dictionaries(NAMES, st.tuples(BRANCHES, VARIABLES)),
)


def as_wanted(wanted):
    """A repository that is just so."""
    return Actual(
        wanted.variables,
        {
            item.name: ActualEnvironment(
                item.name, rule_of(item.branches) if item.branches else None, Protections(), item.variables
            )
            for item in wanted.environments
        },
    )


@given(WANTED)
def test_a_repository_that_is_as_wanted_needs_nothing(wanted):
    assert differences(as_wanted(wanted), wanted) == ()


@given(WANTED, WANTED)
def test_what_is_read_back_is_what_was_written_and_no_more(wanted, other):
    actual = as_wanted(other)
    found = tuple(item for item in differences(actual, wanted) if not isinstance(item, Remark))
    assert differences(as_wanted(wanted), wanted_of(found)) == ()
    assert set(differences(actual, wanted_of(found))) == set(found)


@given(WANTED, WANTED)
def test_no_environment_gets_a_variable_before_its_rule(wanted, other):
    found = differences(as_wanted(other), wanted)
    for position, item in enumerate(found):
        if isinstance(item, SetVariable):
            later = found[position:]
            assert not any(
                isinstance(rest, CreateEnvironment | RestrictBranches)
                and rest.environment == item.environment
                for rest in later
            )


@given(WANTED, st.sampled_from([BranchRule(protected_only=True), rule_of(("other",))]))
def test_a_rule_that_is_there_is_never_an_action(wanted, rule):
    actual = Actual(
        {}, {item.name: ActualEnvironment(item.name, rule, Protections()) for item in wanted.environments}
    )
    assert not any(
        isinstance(item, CreateEnvironment | RestrictBranches) for item in differences(actual, wanted)
    )


def test_unknown_environments_and_variables_are_no_difference():
    actual = Actual({"OTHER": "1"}, {"old": ActualEnvironment("old", None, Protections(), {"X": "1"})})
    assert differences(actual, Wanted({}, ())) == ()


def test_the_name_that_github_has_goes_into_the_differences():
    actual = Actual({}, {"prod": ActualEnvironment("Prod", None, Protections())})
    found = differences(actual, Wanted({}, (WantedEnvironment("PROD", ("main",), {"A": "1"}),)))
    assert [item.environment for item in found] == ["Prod", "Prod", "Prod"]
    assert isinstance(found[0], Remark)


@pytest.mark.parametrize(
    ("difference", "line"),
    [
        (CreateEnvironment("dev", ()), "create environment `dev`"),
        (
            RestrictBranches("dev", ("main",), is_closed=True, protections=Protections()),
            "open environment `dev` to `main` alone (now: no branch may deploy)",
        ),
        (
            RestrictBranches(
                "dev", ("main",), is_closed=False, protections=Protections(reviewers=(("User", 1),))
            ),
            "open environment `dev` to `main` alone (now: any branch may deploy); kept: 1 reviewer",
        ),
        (SetVariable("dev", "A", None, "a b\n"), "create variable A of environment `dev`: 'a b\\n'"),
        (SetVariable(None, "A", "", "x"), "change variable A: '' → 'x'"),
    ],
)
def test_each_difference_is_one_line(difference, line):
    assert difference.line == line


@pytest.mark.parametrize("name", ["", "1A", "a", "A-B", "A B", "GITHUB_TOKEN", "Ä", "A\n"])
def test_names_of_variables_that_github_refuses(name):
    for wanted in (Wanted({name: "x"}, ()), Wanted({}, (WantedEnvironment("dev", (), {name: "x"}),))):
        with pytest.raises(SettingsError) as caught:
            check(wanted)
        assert repr(name) in caught.value.details[0]


@pytest.mark.parametrize("name", ["A", "_", "_1", "AWS_REGION", "MY_GITHUB_TOKEN", "GITHUB"])
def test_names_of_variables_that_github_takes(name):
    check(Wanted({name: "x"}, ()))


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a\nb", "x" * 256])
def test_names_of_environments_that_github_refuses(name):
    with pytest.raises(SettingsError):
        check(Wanted({}, (WantedEnvironment(name, (), {}),)))


def test_all_problems_are_told_at_once():
    environments = (
        WantedEnvironment("prod", ("main", " "), {"a": "1"}),
        WantedEnvironment("PROD", (), {}),
    )
    with pytest.raises(SettingsError) as caught:
        check(Wanted({"1": "x"}, environments))
    assert len(caught.value.details) == 4
