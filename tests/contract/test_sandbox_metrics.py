"""CloudWatch metrics through boto3: kept and answered in the sandbox's time, not in the machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from orchestrator.sandbox import control

if TYPE_CHECKING:
    from tests.contract.sandbox_fixtures import Cloud

pytest_plugins = ("tests.contract.sandbox_fixtures",)

WEB = [{"Name": "Service", "Value": "web"}]


def put(cloud: Cloud, name: str, value: float, at: datetime | None = None, namespace: str = "Shop") -> None:
    datum: dict[str, Any] = {"MetricName": name, "Value": value, "Dimensions": WEB}
    cloud.client("cloudwatch").put_metric_data(
        Namespace=namespace, MetricData=[datum | ({"Timestamp": at} if at else {})]
    )


def ask(
    cloud: Cloud, now: datetime, *expressions: str, order: str = "TimestampAscending"
) -> dict[str, list[Any]]:
    stats = [
        {
            "Id": name.lower(),
            "MetricStat": {
                "Metric": {"Namespace": "Shop", "MetricName": name, "Dimensions": WEB},
                "Period": 60,
                "Stat": "Sum",
            },
        }
        for name in ("Errors", "Requests")
    ]
    math = [{"Id": f"x{number}", "Expression": text} for number, text in enumerate(expressions)]
    answer = cloud.client("cloudwatch").get_metric_data(
        MetricDataQueries=[*math, *stats], StartTime=now - timedelta(minutes=10), EndTime=now, ScanBy=order
    )
    return {
        one["Id"]: list(zip(one["Timestamps"], one["Values"], strict=True))
        for one in answer["MetricDataResults"]
    }


def time_of(cloud: Cloud) -> datetime:
    return datetime.fromtimestamp(control.control(cloud.sandbox, "POST", "clock", {})["now"], UTC)


def test_a_series_put_ahead_of_time_appears_as_the_clock_is_pushed_on(cloud: Cloud) -> None:
    cloud.advance(3 * 3600.0)
    minute = (time_of(cloud) + timedelta(minutes=1)).replace(second=0, microsecond=0)
    for number, errors in enumerate((1, 2, 30)):
        put(cloud, "Errors", errors, minute + timedelta(minutes=number))
        put(cloud, "Requests", 100, minute + timedelta(minutes=number))
    put(cloud, "Errors", 1000, minute, namespace="Another")
    assert ask(cloud, time_of(cloud))["errors"] == []
    cloud.advance(121)
    got = ask(cloud, time_of(cloud), "100 * errors / requests")
    seen = [value for _, value in got["x0"]]
    assert seen[:2] == [1, 2]
    cloud.advance(60)
    newest_first = ask(cloud, time_of(cloud), order="TimestampDescending")["errors"]
    assert newest_first == [(minute + timedelta(minutes=n), e) for n, e in ((2, 30), (1, 2), (0, 1))]


def test_a_value_without_a_time_is_of_the_sandboxs_present(cloud: Cloud) -> None:
    cloud.advance(7 * 24 * 3600.0)
    put(cloud, "Errors", 3)
    period = time_of(cloud).replace(second=0, microsecond=0)
    assert ask(cloud, time_of(cloud) + timedelta(minutes=1))["errors"] == [(period, 3)]


@pytest.mark.parametrize("away", [timedelta(hours=2, minutes=1), -timedelta(days=14, minutes=1)])
def test_a_value_too_far_from_the_sandboxs_present_is_refused(cloud: Cloud, away: timedelta) -> None:
    cloud.advance(30 * 24 * 3600.0)
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        put(cloud, "Errors", 1, time_of(cloud) + away)
