"""The sandbox's clock: held, pushed, and let go again."""

from __future__ import annotations

import time

import pytest

from orchestrator.sandbox.clock import Clock, timestamp


def test_it_starts_at_the_wall_clock_and_runs() -> None:
    clock = Clock()
    first = clock.now()
    assert first == pytest.approx(time.time(), abs=1)
    assert clock.now() >= first


def test_a_frozen_clock_moves_only_when_pushed() -> None:
    clock = Clock()
    clock.freeze()
    held = clock.now()
    assert clock.now() == held
    clock.advance(90)
    assert clock.now() == held + 90


def test_it_runs_on_from_where_it_was_held() -> None:
    clock = Clock()
    clock.freeze()
    clock.advance(1000)
    held = clock.now()
    clock.resume()
    assert held <= clock.now() < held + 1
    clock.advance(5)
    assert clock.now() >= held + 5


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        Clock().advance(-1)


def test_timestamps_are_utc() -> None:
    assert timestamp(0).isoformat() == "1970-01-01T00:00:00+00:00"


def test_a_reset_is_back_at_the_time_of_the_machine() -> None:
    clock = Clock()
    clock.advance(3600)
    clock.freeze()
    clock.reset()
    before = time.time()
    assert before - 1 < clock.now() < before + 60
