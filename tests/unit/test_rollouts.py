"""operations/rollouts: whose turn it is. The rollouts themselves are held in tests/contract/test_rollouts.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Verdict
from orchestrator.operations.rollouts import take_turns

GOOD, BAD = Verdict.SUCCEEDED, Verdict.ROLLED_BACK
NEEDS = {"api": (), "web": ("api",), "worker": ("api", "queue"), "queue": (), "cron": ("web", "worker")}


@pytest.mark.parametrize(
    ("verdicts", "under_way", "ready", "lost"),
    [
        ({}, (), ("api", "queue"), {}),
        ({}, ("api",), ("queue",), {}),
        ({"api": GOOD}, ("queue",), ("web",), {}),
        ({"api": GOOD, "queue": Verdict.NO_CHANGE}, (), ("web", "worker"), {}),
        ({"api": BAD, "queue": GOOD}, (), (), {"web": "api", "worker": "api"}),
        ({"api": BAD, "queue": BAD}, (), (), {"web": "api", "worker": "api"}),
        ({"api": GOOD, "queue": BAD, "web": GOOD}, (), (), {"worker": "queue"}),
        (
            {"api": GOOD, "queue": GOOD, "web": GOOD, "worker": Verdict.NOT_STARTED},
            (),
            (),
            {"cron": "worker"},
        ),
        (dict.fromkeys(NEEDS, GOOD), (), (), {}),
    ],
)
def test_turns(verdicts, under_way, ready, lost):
    assert take_turns(NEEDS, verdicts, frozenset(under_way)) == (ready, lost)


def test_what_takes_no_part_is_not_waited_for():
    assert take_turns({"web": ("api",)}, {}, frozenset()) == (("web",), {})


@st.composite
def graphs(draw):
    """Services that need only earlier ones, so that there is no circle, and how each would end."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {
        name: tuple(draw(st.lists(st.sampled_from(names[:number]), unique=True))) if number else ()
        for number, name in enumerate(names)
    }
    ends = {name: draw(st.sampled_from([GOOD, BAD, Verdict.NO_CHANGE, Verdict.TIMED_OUT])) for name in names}
    return needs, ends


@given(graphs(), st.randoms(use_true_random=False))
def test_every_service_gets_its_turn_or_loses_it_and_none_starts_before_what_it_needs(graph, chance):
    needs, ends = graph
    verdicts, under_way = {}, set()
    for _round in range(100):
        ready, lost = take_turns(needs, verdicts, frozenset(under_way))
        for name in ready:
            assert all(verdicts[other] in {GOOD, Verdict.NO_CHANGE} for other in needs[name])
            under_way.add(name)
        for name, other in lost.items():
            assert verdicts[other] not in {GOOD, Verdict.NO_CHANGE}
            verdicts[name] = Verdict.NOT_STARTED
        if under_way:
            ended = chance.choice(sorted(under_way))
            under_way.remove(ended)
            verdicts[ended] = ends[ended]
        elif not lost:
            break
    assert set(verdicts) == set(needs)
