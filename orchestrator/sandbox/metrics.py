"""CloudWatch metrics in the sandbox's time: PutMetricData is kept, GetMetricData answers as AWS does. Alarms stay moto's.

moto dates metrics by the machine's clock, mixes namespaces as soon as there are dimensions, starts its periods wherever the
question starts, and knows neither percentiles nor metric math. Here, as API_GetMetricData and API_MetricDatum say: a value
without a time of its own is of the sandbox's present; one older than two weeks or more than two hours ahead is refused; a
period starts at a whole multiple of its length; EndTime is exclusive; the newest value comes first unless asked otherwise.
So a series can be put ahead of time and appears as the clock is pushed on.

Simplified: all values are kept at full resolution for ever; statistics are Sum, Average, Minimum, Maximum, SampleCount and
percentiles; of metric math + - * / ( ), FILL(m, number) and IF(condition, a, b), which are what a gate needs; SELECT and
SEARCH are refused. No alarm watches a metric: SetAlarmState sets it off (`orch sandbox scenario set … alarm` does).
"""

from __future__ import annotations

import ast
import math
import operator
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import moto.cloudwatch.urls
from moto.cloudwatch import models as cloudwatch_models
from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.sandbox.clock import Clock

Series = dict[float, float]  # values by the second at which their period starts

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html, Timestamp.
_OLDEST_S = 14 * 24 * 3600.0
_NEWEST_S = 2 * 3600.0
_MOST_QUERIES = 500
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")


class SandboxCloudWatchBackend(CloudWatchBackend):
    """CloudWatch of one account and region."""

    clock: ClassVar[Clock]

    @property
    def _url_module(self) -> Any:
        return moto.cloudwatch.urls

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        now = self.clock.now()
        for number, datum in enumerate(metric_data, start=1):
            at = datum.get("Timestamp")
            if at is not None and not now - _OLDEST_S <= _seconds(at) <= now + _NEWEST_S:
                raise InvalidParameterValue(
                    f"The parameter MetricData.member.{number}.Timestamp must specify a time no more than two weeks in"
                    " the past and no more than two hours in the future."
                )
        super().put_metric_data(namespace, metric_data)

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampDescending",
    ) -> list[dict[str, Any]]:
        """GetMetricData, in the shape that moto's response wants."""
        start, end = _seconds(start_time), _seconds(end_time)
        if start >= end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        if not 0 < len(queries) <= _MOST_QUERIES:
            raise ValidationError(f"MetricDataQueries must hold between 1 and {_MOST_QUERIES} queries.")
        ids = [query["Id"] for query in queries]
        if twice := next((one for one in ids if ids.count(one) > 1), None):
            raise ValidationError(
                f"The values for parameter id in MetricDataQueries are not unique: {twice}."
            )
        known: dict[str, Series] = {
            query["Id"]: self._read(query["MetricStat"], start, end)
            for query in queries
            if "MetricStat" in query
        }
        waiting = {query["Id"]: query["Expression"] for query in queries if "MetricStat" not in query}
        while waiting:
            # An expression may stand before those that it uses.
            ready = [name for name, text in waiting.items() if not _names(text) & waiting.keys() - {name}]
            if not ready:
                raise ValidationError(f"Error in expression '{next(iter(waiting))}' [Circular reference].")
            for name in ready:
                known[name] = evaluate(name, waiting.pop(name), known)
        return [
            _result(query, known[query["Id"]], newest_first=scan_by != "TimestampAscending")
            for query in queries
            if query.get("ReturnData", True)
        ]

    def _read(self, wanted: Mapping[str, Any], start: float, end: float) -> Series:
        metric, period = wanted["Metric"], int(wanted["Period"])
        if period <= 0:
            raise ValidationError("The parameter Period must be greater than 0.")
        dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions") or ()}
        first = start - start % period
        by_period: dict[float, list[Any]] = {}
        for datum in self.metric_data:
            if (
                datum.namespace == metric["Namespace"]
                and datum.name == metric["MetricName"]
                and {item.name: item.value for item in datum.dimensions} == dimensions
                and wanted.get("Unit") in (None, datum.unit or "None")
            ):
                at = _seconds(datum.timestamp)
                begins = at - at % period
                if first <= begins < end:
                    by_period.setdefault(begins, []).append(datum)
        found = {begins: statistic(wanted["Stat"], data) for begins, data in by_period.items()}
        return {begins: value for begins, value in found.items() if value is not None}


def statistic(name: str, data: Sequence[Any]) -> float | None:
    """One statistic of what was put in one period; None for a percentile of statistic sets. Raises ValidationError."""
    single = sorted(datum.value for datum in data if hasattr(datum, "value"))
    sets = [datum for datum in data if not hasattr(datum, "value")]
    count = len(single) + sum(float(one.sample_count) for one in sets)
    total = sum(single) + sum(float(one.sum) for one in sets)
    if name == "Sum":
        return float(total)
    if name == "SampleCount":
        return float(count)
    if name == "Average":
        return total / count if count else None
    if name == "Minimum":
        return float(min([*single, *(float(one.min) for one in sets)]))
    if name == "Maximum":
        return float(max([*single, *(float(one.max) for one in sets)]))
    percentile = _PERCENTILE.fullmatch(name)
    if percentile is None:
        raise ValidationError(
            f"The sandbox does not know the statistic {name}: it has Sum, Average, Minimum, Maximum, SampleCount and pNN."
        )
    if not single:
        return None
    rank = float(percentile[1]) / 100 * (len(single) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(single) - 1)
    return float(single[low] + (single[high] - single[low]) * (rank - low))


_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(name: str, expression: str, known: Mapping[str, Series]) -> Series:
    """A metric math expression over series. Two series meet where both have a value; a division by zero leaves a gap.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html. Raises ValidationError.
    """
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body, known)
    except (SyntaxError, _UnknownMathError) as error:
        said = error.args[0] if isinstance(error, _UnknownMathError) else "invalid syntax"
        raise ValidationError(f"Error in expression '{name}' [{said}].") from error
    if not isinstance(value, dict):
        raise ValidationError(f"Error in expression '{name}' [it must be a time series].")
    return value


class _UnknownMathError(Exception):
    pass


def _value(node: ast.expr, known: Mapping[str, Series]) -> Series | float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Name(id=name):
            raise _UnknownMathError(f"no query has the id {name}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _together(operator.sub, 0.0, _value(operand, known))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _together(_ARITHMETIC[type(sign)], _value(left, known), _value(right, known))
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _COMPARISONS:
            return _together(_COMPARISONS[type(sign)], _value(left, known), _value(right, known))
        case ast.Call(func=ast.Name(id="FILL"), args=[series, filling]):
            return _fill(_value(series, known), _value(filling, known), known)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
            return _choose(*(_value(part, known) for part in (condition, yes, no)))
        case _:
            pass
    raise _UnknownMathError(
        "the sandbox knows + - * / ( ), comparisons, FILL(m, number) and IF(condition, a, b)"
    )


def _together(
    function: Callable[[float, float], float], left: Series | float, right: Series | float
) -> Series | float:
    if not isinstance(left, dict) and not isinstance(right, dict):
        try:
            return float(function(left, right))
        except ZeroDivisionError:
            raise _UnknownMathError("division by zero") from None
    moments = (
        left.keys() & right.keys()
        if isinstance(left, dict) and isinstance(right, dict)
        else (left if isinstance(left, dict) else right).keys()  # type: ignore[union-attr]  # one of them is
    )
    answer: Series = {}
    for at in moments:
        try:
            answer[at] = float(function(_at(left, at), _at(right, at)))
        except ZeroDivisionError:
            continue
    return answer


def _fill(series: Series | float, filling: Series | float, known: Mapping[str, Series]) -> Series | float:
    """Gaps are the moments at which any other series of the request has a value."""
    if not isinstance(series, dict) or isinstance(filling, dict):
        raise _UnknownMathError("FILL takes a series and a number")
    moments = {at for one in known.values() for at in one}
    return {at: series.get(at, filling) for at in moments | series.keys()}


def _choose(condition: Series | float, yes: Series | float, no: Series | float) -> Series | float:
    moments = {at for part in (condition, yes, no) if isinstance(part, dict) for at in part}
    if not any(isinstance(part, dict) for part in (condition, yes, no)):
        return yes if condition else no
    answer: Series = {}
    for at in moments:
        if isinstance(condition, dict) and at not in condition:
            continue
        chosen = yes if _at(condition, at) else no
        if not isinstance(chosen, dict) or at in chosen:
            answer[at] = _at(chosen, at)
    return answer


def _at(part: Series | float, at: float) -> float:
    return part[at] if isinstance(part, dict) else part


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b[a-z]\w*", expression))


def _result(query: Mapping[str, Any], series: Series, *, newest_first: bool) -> dict[str, Any]:
    moments = sorted(series, reverse=newest_first)
    metric = (query.get("MetricStat") or {}).get("Metric") or {}
    return {
        "id": query["Id"],
        "label": query.get("Label") or metric.get("MetricName") or query["Id"],
        "timestamps": [datetime.fromtimestamp(at, UTC) for at in moments],
        "values": [series[at] for at in moments],
        "status_code": "Complete",
    }


def _seconds(moment: datetime) -> float:
    """Times of moto's own have no zone and mean UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def install(clock: Clock) -> None:
    """Puts these answers in the place of moto's; before the first request."""
    SandboxCloudWatchBackend.clock = clock
    vars(cloudwatch_models)["utcnow"] = lambda: datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=None)
    cloudwatch_backends.backend = SandboxCloudWatchBackend
