"""Reads from CloudWatch what analyses ask for: one GetMetricData for all of them, and an answer or a reason for each.

Hides pages, and that one question which CloudWatch does not understand spoils the call for all others. Raises nothing: whoever
watches a rollout goes on. Touches: cloudwatch:GetMetricData.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import analysis
from orchestrator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ecs.analysis import Question

_MOST_PAGES = 20


def read(cloudwatch: Any, questions: Sequence[Question]) -> list[tuple[float, ...] | str]:
    """The values of each question's period, in their order: none where CloudWatch has no data, a text where it has no answer."""
    found: dict[int, tuple[float, ...] | str] = {}
    for batch in analysis.batches(questions):
        asked = [questions[position] for position in batch]
        found |= dict(zip(batch, _ask(cloudwatch, asked), strict=True))
    return [found[position] for position in range(len(questions))]


def _ask(cloudwatch: Any, questions: list[Question]) -> list[tuple[float, ...] | str]:
    try:
        results = _results(cloudwatch, analysis.request(questions))
    except AwsError as error:
        if error.is_transient or len(questions) == 1 or error.code.startswith("AccessDenied"):
            return [error.message] * len(questions)
        # One of them is not to CloudWatch's liking, and it does not say which.
        return [_ask(cloudwatch, [question])[0] for question in questions]
    return [analysis.values(question, number, results) for number, question in enumerate(questions)]


def _results(cloudwatch: Any, request: dict[str, Any]) -> list[Any]:
    """The results of all pages. Raises AwsError."""
    results: list[Any] = []
    token: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        with translated("cloudwatch:GetMetricData"):
            answer = cloudwatch.get_metric_data(**request, **token)
        results += answer.get("MetricDataResults", [])
        if not answer.get("NextToken"):
            break
        token = {"NextToken": answer["NextToken"]}
    return results
