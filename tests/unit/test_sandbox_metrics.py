"""CloudWatch statistics and metric math as the sandbox works them out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from moto.cloudwatch.exceptions import ValidationError

from orchestrator.sandbox import metrics


@dataclass
class Value:
    value: float


@dataclass
class StatisticSet:
    min: float
    max: float
    sum: float
    sample_count: float


DATA = [Value(1), Value(2), Value(3), Value(10)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sum", 16),
        ("Average", 4),
        ("Minimum", 1),
        ("Maximum", 10),
        ("SampleCount", 4),
        ("p50", 2.5),
        ("p100", 10),
    ],
)
def test_a_statistic_of_single_values(name: str, expected: float) -> None:
    assert metrics.statistic(name, DATA) == expected


def test_statistic_sets_count_with_single_values_but_have_no_percentile() -> None:
    data = [StatisticSet(0.5, 20, 30, 6), *DATA]
    got = [metrics.statistic(name, data) for name in ("Sum", "Average", "Minimum", "Maximum", "SampleCount")]
    assert got == [46, 4.6, 0.5, 20, 10]
    assert metrics.statistic("p99", data[:1]) is None


def test_an_unknown_statistic_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="TM"):
        metrics.statistic("TM(10%:90%)", DATA)


ERRORS = {0.0: 5.0, 60.0: 0.0}
REQUESTS = {0.0: 100.0, 60.0: 0.0, 120.0: 40.0}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("100 * errors / requests", {0.0: 5.0}),
        ("errors + 1", {0.0: 6.0, 60.0: 1.0}),
        ("-errors", {0.0: -5.0, 60.0: 0.0}),
        ("FILL(errors, 0) / requests", {0.0: 0.05, 120.0: 0.0}),
        ("IF(requests > 50, errors, 0)", {0.0: 5.0, 60.0: 0.0, 120.0: 0.0}),
        ("requests >= 40", {0.0: 1.0, 60.0: 0.0, 120.0: 1.0}),
    ],
)
def test_metric_math(expression: str, expected: dict[float, float]) -> None:
    assert metrics.evaluate("e", expression, {"errors": ERRORS, "requests": REQUESTS}) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("errors /", "invalid syntax"),
        ("missing * 2", "no query has the id missing"),
        ("1 + 1", "must be a time series"),
        ("1 / 0", "division by zero"),
        ("ANOMALY_DETECTION_BAND(errors)", "the sandbox knows"),
        ("__import__('os')", "the sandbox knows"),
    ],
)
def test_metric_math_that_cannot_be_worked_out_says_why(expression: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        metrics.evaluate("e", expression, {"errors": ERRORS})
