"""The strategy tables of orch.toml, `[services.NAME.strategy]` and `[environments.ENV.strategy.NAME]`: what each type takes.

The ranges and defaults are those of ECS's model: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html,
…/API_CanaryConfiguration.html, …/API_LinearConfiguration.html, …/API_DeploymentLifecycleHookTimeoutConfiguration.html. A leaf: pure.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Type = Literal["rolling", "blue_green", "linear", "canary"]

_STAGED: tuple[Type, ...] = ("blue_green", "linear", "canary")
_TAKES: dict[str, tuple[Type, ...]] = {
    "bake_time_minutes": _STAGED,
    "canary_percent": ("canary",),
    "canary_bake_time_minutes": ("canary",),
    "step_percent": ("linear",),
    "step_bake_time_minutes": ("linear",),
    "pause_at": _STAGED,
    "pause_timeout_minutes": _STAGED,
    "pause_timeout_action": _STAGED,
}
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html
PAUSE_STAGES = (
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
)
# The API gives no range; its other bake times have this one, and Terraform's provider holds this one to it too
# (internal/service/ecs/service.go of https://github.com/hashicorp/terraform-provider-aws).
_MOST_BAKE_MINUTES = 1440


def _tenths(value: float) -> float:
    if abs(value * 10 - round(value * 10)) > 1e-6:
        raise ValueError(f"must be a multiple of 0.1, not {value:g}")
    return value


def _pause_stage(value: str) -> str:
    if value not in PAUSE_STAGES:
        raise ValueError(f"no pause is possible at {value}; choose from: {', '.join(PAUSE_STAGES)}")
    return value


BakeMinutes = Annotated[int, Field(ge=0, le=_MOST_BAKE_MINUTES)]
Stage = Annotated[str, AfterValidator(_pause_stage), Field(json_schema_extra={"enum": list(PAUSE_STAGES)})]


class StrategySettings(BaseModel):
    """How a new release takes the place of the one that runs; without this table task by task (`rolling`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # First, so that the others can be held against it.
    type: Type = Field(
        description="`rolling` replaces task by task; the others start all new tasks beside the old ones, and then shift the"
        " traffic: `blue_green` at once, `linear` in equal steps, `canary` a small part first."
    )
    bake_time_minutes: BakeMinutes | None = Field(
        default=None,
        validate_default=True,
        description="How long the old tasks still run once all traffic has shifted: a way back then takes seconds. Required by"
        " `blue_green`.",
    )
    canary_percent: Annotated[float, Field(ge=0.1, le=100), AfterValidator(_tenths)] = Field(
        default=5.0, description="`canary`: how much of the traffic is shifted first."
    )
    canary_bake_time_minutes: BakeMinutes = Field(
        default=10, description="`canary`: how long that is watched before all the rest is shifted."
    )
    step_percent: Annotated[float, Field(ge=3, le=100), AfterValidator(_tenths)] = Field(
        default=10.0, description="`linear`: how much of the traffic each step shifts."
    )
    step_bake_time_minutes: BakeMinutes = Field(
        default=6, description="`linear`: how long to wait between two steps."
    )
    pause_at: list[Stage] = Field(
        default=[],
        description="Stages, as ECS spells them, at which the rollout waits for `orch continue`; `linear` and `canary` wait before"
        " each shift of traffic at PRE_PRODUCTION_TRAFFIC_SHIFT.",
    )
    pause_timeout_minutes: Annotated[int, Field(ge=1, le=20160)] = Field(
        default=1440, description="How long each pause waits for somebody."
    )
    pause_timeout_action: Literal["rollback", "continue"] = Field(
        default="rollback", description="What happens when nobody came."
    )

    @field_validator(*_TAKES, mode="before")
    @classmethod
    def _is_for_the_type(cls, value: Any, info: ValidationInfo) -> Any:
        kind, key = info.data.get("type"), str(info.field_name)
        if value is None and key == "bake_time_minutes":
            if kind == "blue_green":
                raise ValueError('is required by type = "blue_green"')
            return value
        takers = _TAKES[key]
        if kind is not None and kind not in takers:
            meant = " or ".join(f'"{taker}"' for taker in takers)
            raise ValueError(f'is for type = {meant}, and this strategy has type = "{kind}"')
        if key.startswith("pause_timeout") and "pause_at" in info.data and not info.data["pause_at"]:
            raise ValueError("says how long a pause lasts, and pause_at names none")
        return value

    @property
    def is_staged(self) -> bool:
        """Whether all new tasks run beside the old ones before any traffic shifts."""
        return self.type != "rolling"
