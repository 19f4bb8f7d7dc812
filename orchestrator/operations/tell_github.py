"""What a run tells GitHub: its rows of the pull request's one comment, the step summary, a deployment of each environment.

Comes in: rows of the board, and the context of the run. Goes out: nothing. May touch: that comment, deployments, the step
summary, the issues of environments that drifted. Telling never decides anything and never fails a run: a GitHub that cannot be told is a warning, after bounded retries.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.errors import DeclinedError, GitHubError, OrchError, RefusedError, SettingsError
from orchestrator.events import Warned
from orchestrator.github import comment, context, deployments, issues, summary
from orchestrator.github.api import BodyTooLongError
from orchestrator.model import Verdict
from orchestrator.report import board, drift_issue, markdown
from orchestrator.report.board import Board, Row, ServiceImage, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.events import Emit
    from orchestrator.github.context import Context
    from orchestrator.model import Drift, Plan, Release
    from orchestrator.settings import Environment

_SMALLER_BYTES = 40_000
# Less than that shows nothing of use; and what `summary.append` puts between two sections.
_LEAST_BYTES = 4_000
_GAP_BYTES = 2


@dataclass(frozen=True)
class Teller:
    """Tells of one run; `sequence` orders the runs, so that a late one does not overwrite a newer."""

    where: Context
    emit: Emit
    sequence: int

    def rows(self, rows: Sequence[Row]) -> None:
        """Puts the rows into the comment of the pull request, and all of them into the step summary."""
        told = tuple(
            replace(row, commit=self.where.commit, run_url=self.where.run_url, sequence=self.sequence)
            for row in rows
        )
        self._summarise(Board(self.where.commit, self.where.run_url, told))
        if self.where.pull_request is None:
            self.emit(
                Warned(
                    "no pull request is known to comment on", "run it on pull_request, or name --pull-request"
                )
            )
            return
        self._guarded(lambda: self._comment(told))

    def skips_fork(self, environments: Sequence[str]) -> bool:
        """Whether the run belongs to a fork's pull request, whose workflow has no credentials; if so it is explained."""
        if not self.where.is_fork_without_rights:
            return False
        self.emit(
            Warned(board.FORK.replace("`", ""), "a maintainer may push it to a branch of this repository")
        )
        self._summarise(board.of_a_fork(self.where.commit, self.where.run_url, tuple(environments)))
        return True

    @contextmanager
    def following(self, environment: Environment, position: int) -> Iterator[Following]:
        """Tells how the apply of one environment goes on, and how it ends, by whatever exception."""
        following = Following(self, environment, position)
        try:
            yield following
        except OrchError as error:
            following.fail(error)
            raise
        except KeyboardInterrupt:
            following.fail(OrchError("interrupted"))
            raise

    def deploy(self, environment: Environment, state: deployments.State, description: str) -> None:
        """Sets the state of the environment's deployment of this commit on GitHub, when there is a run to link to."""
        if not self.where.is_actions or not self.where.commit:
            return
        self._guarded(lambda: self._deploy(environment, state, description))

    def drifted(self, drifts: Sequence[Drift]) -> None:
        """Opens the issue of each environment that drifted, or brings it up to date; closes that of each that has not."""
        for drift in drifts:
            self._guarded(partial(self._drifted, drift))

    def _drifted(self, drift: Drift) -> None:
        connection = context.connect(self.where)
        if drift.is_there:
            title, body = drift_issue.title(drift), drift_issue.body(drift)
            issues.keep_open(connection, drift.environment, title=title, body=body)
        else:
            issues.close(connection, drift.environment)

    def _comment(self, rows: tuple[Row, ...]) -> None:
        connection = context.connect(self.where)
        number = self.where.pull_request
        if number is None:
            return

        def change(max_bytes: int) -> Callable[[str], str]:
            def merged(body: str) -> str:
                return markdown.merge(body, *rows, max_bytes=max_bytes).body

            return merged

        try:
            comment.update(connection, number, board.FIND, change(markdown.COMMENT_BYTES))
        except BodyTooLongError:
            comment.update(connection, number, board.FIND, change(_SMALLER_BYTES))

    def _deploy(self, environment: Environment, state: deployments.State, description: str) -> None:
        connection = context.connect(self.where)
        found = None
        if state is not deployments.State.IN_PROGRESS:
            found = deployments.find(connection, environment.name, self.where.commit)
        if found is None:
            found = deployments.start(
                connection,
                environment.name,
                self.where.commit,
                release=f"{self.where.run_id}-{self.where.run_attempt}",
                is_production=environment.is_protected,
                log_url=self.where.run_url,
                description=description,
            )
        if state is not deployments.State.IN_PROGRESS:
            deployments.report(connection, found, state, log_url=self.where.run_url, description=description)

    def _summarise(self, shown: Board) -> None:
        path = self.where.summary_path
        if path is None:
            return

        def write() -> None:
            room = summary.room(path) - _GAP_BYTES
            if room >= _LEAST_BYTES:
                summary.append(path, markdown.summary(shown, max_bytes=room))

        self._guarded(write)

    def _guarded(self, tell: Callable[[], object]) -> None:
        try:
            tell()
        except (GitHubError, SettingsError) as error:
            self.emit(Warned(f"GitHub was not told: {error.message}", error.hint))


@dataclass
class Following:
    """The apply of one environment as GitHub sees it."""

    teller: Teller
    environment: Environment
    position: int
    is_under_way: bool = False
    plan: Plan | None = None

    def applying(self, plan: Plan) -> None:
        """The plan was approved, and is being applied."""
        self.is_under_way, self.plan = True, plan
        self.teller.rows([self._row(State.APPLYING, plan=plan)])
        self.teller.deploy(self.environment, deployments.State.IN_PROGRESS, "applying")

    def released(self, releases: Sequence[Release]) -> None:
        """Every service has its verdict."""
        images = tuple(
            ServiceImage(release.service, "", str(release.image), release.verdict, release.reason)
            for release in releases
        )
        row = self._row(State.ROLLED_OUT, images=images)
        self.teller.rows([row])
        worst = row.verdict or Verdict.NO_CHANGE
        is_good = worst in {Verdict.SUCCEEDED, Verdict.NO_CHANGE}
        state = deployments.State.SUCCESS if is_good else deployments.State.FAILURE
        self.teller.deploy(self.environment, state, str(worst))

    def fail(self, error: OrchError) -> None:
        """It ended before a verdict."""
        if isinstance(error, DeclinedError):
            return
        refused = isinstance(error, RefusedError)
        state = State.REFUSED if refused else State.APPLY_FAILED if self.is_under_way else State.FAILED
        gates = tuple(line for line in error.details if not line.startswith(" ")) if refused else ()
        self.teller.rows([self._row(state, gates=gates, error=error.message, next_step=error.hint)])
        if self.is_under_way:
            self.teller.deploy(self.environment, deployments.State.FAILURE, error.message)

    def _row(
        self,
        state: State,
        *,
        plan: Plan | None = None,
        images: tuple[ServiceImage, ...] = (),
        gates: tuple[str, ...] = (),
        error: str = "",
        next_step: str = "",
    ) -> Row:
        return Row(
            self.environment.name,
            state,
            plan=plan,
            images=images,
            gates=gates,
            error=error,
            next_step=next_step,
            position=self.position,
        )


def teller(where: Context, emit: Emit) -> Teller:
    """A teller for this run."""
    return Teller(where, emit, int(time.time()))


def planned_row(
    environment: Environment,
    position: int,
    *,
    plan: Plan | None,
    error: OrchError | None,
    shut: Sequence[tuple[str, str]],
    bundle: str = "",
    images: tuple[ServiceImage, ...] = (),
) -> Row:
    """The row of an environment that was planned, or could not be. `shut` are gates as (rule, sentence)."""
    if plan is None:
        said = (error.message, error.hint) if error is not None else ("there is no plan", "")
        details = "\n".join(error.details) if error is not None else ""
        return Row(
            environment.name,
            State.FAILED,
            error=f"{said[0]}\n{details}".strip(),
            next_step=said[1],
            position=position,
        )
    next_step = f"`orch apply --env {environment.name}`" if plan.is_applicable else ""
    if bundle:
        next_step = f"`orch apply --env {environment.name} --sealed HEAD`"
    return Row(
        environment.name,
        State.REFUSED if shut else State.PLANNED,
        plan=plan,
        gates=tuple(f"{rule}: {sentence}" for rule, sentence in shut),
        images=images,
        next_step=next_step,
        bundle=bundle,
        position=position,
    )
