"""How a new revision takes the place of the old one: as orch.toml wants it, as ECS has it, and what UpdateService has to say. Pure.

    wanted         StrategySettings      → Strategy     of a release
    way_back       Strategy              → Strategy     of `orch rollback`
    of             a service as it is    → Strategy     also of a service deployment: each keeps its own
    configuration  both                  → what UpdateService has to change, None when nothing

ECS knows four strategies. ROLLING replaces task by task. The others are staged: all new tasks start beside the old ones, then traffic
shifts at once (BLUE_GREEN), in equal steps (LINEAR), or a small part first (CANARY).
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html

A way back takes BLUE_GREEN with no bake time and no pause where releases are staged: what was released before starts in full beside
what is left behind, and then all traffic goes back at once; neither steps nor bake times are waited for. AWS finds rolling slower and
more complex for that, and does not allow a change to it while a deployment is under way
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/update-bluegreen-to-rolling.html).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.model import BlueGreen
    from orchestrator.strategies import StrategySettings

_MINUTE_S = 60.0
_PAUSE = "PAUSE"
# What a strategy sets in a service's deploymentConfiguration; early success is for rolling updates alone.
_PARTS = {"LINEAR": "linearConfiguration", "CANARY": "canaryConfiguration"}
_OWN_KEYS = frozenset({"strategy", "bakeTimeInMinutes", "lifecycleHooks", *_PARTS.values()})
_ROLLING_KEYS = frozenset({"earlySuccessCriteria"})
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinearConfiguration.html, API_CanaryConfiguration.html
_DEFAULT_PARTS = {"LINEAR": (10.0, 6), "CANARY": (5.0, 10)}
_PART_KEYS = {
    "LINEAR": ("stepPercent", "stepBakeTimeInMinutes"),
    "CANARY": ("canaryPercent", "canaryBakeTimeInMinutes"),
}


@dataclass(frozen=True)
class Strategy:
    """One strategy; `type` is ECS's word. `percent` of the traffic is shifted in a linear step, or to a canary, and watched for
    `part_bake_minutes`; `bake_minutes`, None where nothing says, is how long the old tasks stay after the last shift. `pause_at`
    are the stages that wait for somebody, for `pause_timeout_minutes`, and `pause_action` is what then happens.
    """

    type: str = "ROLLING"
    bake_minutes: int | None = None
    percent: float = 100.0
    part_bake_minutes: int = 0
    pause_at: tuple[str, ...] = ()
    pause_timeout_minutes: int = 1440
    pause_action: str = "ROLLBACK"

    @property
    def is_staged(self) -> bool:
        return self.type != "ROLLING"

    @property
    def bakes_s(self) -> float:
        """How long a rollout does nothing but wait, pauses aside. No step bakes once all traffic has shifted."""
        steps = math.ceil(round(100 / self.percent, 6)) if self.is_staged else 1
        parts = min(steps - 1, 1) if self.type == "CANARY" else steps - 1
        return _MINUTE_S * ((self.bake_minutes or 0) + self.part_bake_minutes * parts)

    def __str__(self) -> str:
        """`CANARY, 5% for 10 min, then a bake of 20 min, pauses at POST_TEST_TRAFFIC_SHIFT`."""
        if not self.is_staged:
            return self.type
        parts = [self.type]
        if self.type == "CANARY":
            parts.append(f"{self.percent:g}% for {self.part_bake_minutes} min")
        elif self.type == "LINEAR":
            parts.append(f"{self.percent:g}% each {self.part_bake_minutes} min")
        if self.bake_minutes:
            parts.append(f"then a bake of {self.bake_minutes} min")
        if self.pause_at:
            parts.append(f"pauses at {' and '.join(self.pause_at)}")
        return ", ".join(parts)


ROLLING = Strategy()


def wanted(table: StrategySettings) -> Strategy:
    """The strategy of a table of orch.toml."""
    kind = table.type.upper()
    if not table.is_staged:
        return ROLLING
    parts = {
        "LINEAR": (table.step_percent, table.step_bake_time_minutes),
        "CANARY": (table.canary_percent, table.canary_bake_time_minutes),
    }
    percent, part_bake_minutes = parts.get(kind, (100.0, 0))
    return Strategy(
        kind,
        table.bake_time_minutes,
        percent,
        part_bake_minutes,
        tuple(table.pause_at),
        table.pause_timeout_minutes,
        table.pause_timeout_action.upper(),
    )


def way_back(strategy: Strategy) -> Strategy:
    """The strategy of a way back, where that of releases is this one."""
    return Strategy("BLUE_GREEN", 0) if strategy.is_staged else strategy


def of(configuration: Mapping[str, Any]) -> Strategy:
    """The strategy in the deploymentConfiguration of a service, or of one of its service deployments."""
    kind = configuration.get("strategy") or "ROLLING"
    part = configuration.get(_PARTS.get(kind, ""), {})
    percent, minutes = _DEFAULT_PARTS.get(kind, (100.0, 0))
    keys = _PART_KEYS.get(kind, ("", ""))
    pauses = [hook for hook in configuration.get("lifecycleHooks", ()) if hook.get("targetType") == _PAUSE]
    timeout = pauses[0].get("timeoutConfiguration", {}) if pauses else {}
    return Strategy(
        kind,
        configuration.get("bakeTimeInMinutes"),
        part.get(keys[0], percent),
        part.get(keys[1], minutes),
        tuple(stage for hook in pauses for stage in hook.get("lifecycleStages", ())),
        timeout.get("timeoutInMinutes", 1440),
        timeout.get("action", "ROLLBACK"),
    )


def configuration(strategy: Strategy, current: Mapping[str, Any]) -> dict[str, Any] | None:
    """The deploymentConfiguration to send, None where a rolling service shall roll: what the service has, with the strategy in it.

    Percentages, alarms and circuit breaker stay as they are, and so do hooks that call a Lambda function while releases are staged;
    they are sent all the same, as nothing says whether UpdateService keeps what is left out.
    """
    if not strategy.is_staged and not of(current).is_staged:
        return None
    dropped = _OWN_KEYS | _ROLLING_KEYS if strategy.is_staged else _OWN_KEYS
    sent = {key: value for key, value in current.items() if key not in dropped}
    sent |= {"strategy": strategy.type, "lifecycleHooks": []}
    if not strategy.is_staged:
        return sent
    if strategy.bake_minutes is not None:
        sent["bakeTimeInMinutes"] = strategy.bake_minutes
    if strategy.type in _PARTS:
        keys = _PART_KEYS[strategy.type]
        sent[_PARTS[strategy.type]] = dict(
            zip(keys, (strategy.percent, strategy.part_bake_minutes), strict=True)
        )
    sent["lifecycleHooks"] = [
        hook for hook in current.get("lifecycleHooks", ()) if hook.get("targetType") != _PAUSE
    ]
    if strategy.pause_at:
        sent["lifecycleHooks"].append(
            {
                "targetType": _PAUSE,
                "lifecycleStages": list(strategy.pause_at),
                "timeoutConfiguration": {
                    "timeoutInMinutes": strategy.pause_timeout_minutes,
                    "action": strategy.pause_action,
                },
            }
        )
    return sent


def load_balancers(
    strategy: Strategy, traffic: BlueGreen | None, current: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]] | None:
    """The loadBalancers to send so that ECS can shift the traffic of a staged rollout; None where nothing is to be changed."""
    if not strategy.is_staged or traffic is None or len(current) != 1:
        return None
    advanced = advanced_configuration(traffic)
    if current[0].get("advancedConfiguration") == advanced:
        return None
    return [{**current[0], "advancedConfiguration": advanced}]


def advanced_configuration(traffic: BlueGreen) -> dict[str, str]:
    """What a load balancer shifts traffic with (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AdvancedConfiguration.html)."""
    found = {
        "alternateTargetGroupArn": traffic.alternate_target_group_arn,
        "productionListenerRule": traffic.production_listener_rule_arn,
        "roleArn": traffic.infrastructure_role_arn,
    }
    if traffic.test_listener_rule_arn is not None:
        found["testListenerRule"] = traffic.test_listener_rule_arn
    return found
