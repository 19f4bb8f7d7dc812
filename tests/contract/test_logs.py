"""ecs/logs and the merging of operations/logs, against CloudWatch Logs of the sandbox; trouble comes from a client in between."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from orchestrator.ecs import logs
from orchestrator.ecs.rollout import Clock
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import LogLine, Warned
from orchestrator.operations import logs as reading
from orchestrator.sandbox import control

pytest_plugins = ("tests.contract.sandbox_fixtures",)

GROUP, OTHER = "/ecs/app", "/ecs/other"
ONE, TWO = "web/app/0001", "web/app/0002"


class Between:
    """The client of CloudWatch Logs with small pages, that refuses the calls of these numbers (from 1)."""

    def __init__(self, client, *, page: int = 2, refused: dict[int, str] | None = None) -> None:
        self.client, self.page, self.refused, self.count = client, page, refused or {}, 0

    def filter_log_events(self, **request):
        self.count += 1
        if self.count in self.refused:
            raise ClientError(
                {"Error": {"Code": self.refused[self.count], "Message": "no"}}, "FilterLogEvents"
            )
        return self.client.filter_log_events(limit=self.page, **request)


class Book:
    """Two log groups that a test writes into; `at` is seconds before or after now."""

    def __init__(self, cloud) -> None:
        self.client = cloud.client("logs")
        # The sandbox's time, which other tests have moved ahead of this machine's.
        self.now_ms = int(control.control(cloud.sandbox, "POST", "clock", {})["now"] * 1000)
        for group in (GROUP, OTHER):
            self.client.create_log_group(logGroupName=group)
        self.made: set[tuple[str, str]] = set()

    def write(self, text: str, at: float, stream: str = ONE, group: str = GROUP) -> None:
        if (group, stream) not in self.made:
            self.made.add((group, stream))
            self.client.create_log_stream(logGroupName=group, logStreamName=stream)
        event = {"timestamp": self.now_ms + int(at * 1000), "message": text}
        self.client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    def tail(self, client=None, **options) -> logs.Tail:
        options = {"start_ms": self.now_ms - 600_000, **options}
        return logs.Tail(client or Between(self.client), GROUP, **options)


@pytest.fixture
def book(cloud):
    return Book(cloud)


def texts(entries) -> list[str]:
    return [entry.text for entry in entries]


def test_every_line_comes_once_by_time_over_pages_streams_and_looks(book):
    for number in range(5):
        book.write(f"a{number}", number - 100, ONE)
        book.write(f"b{number}", number - 99.5, TWO)
    tail = book.tail()
    assert texts(tail.entries()) == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"]
    assert texts(tail.entries()) == []
    book.write("a5", -90, ONE)
    assert texts(tail.poll()) == ["a5"]
    assert tail.poll() == []


def test_what_is_older_than_asked_for_is_left_out(book):
    book.write("old", -700)
    book.write("new", -500)
    assert texts(book.tail().entries()) == ["new"]


def test_a_line_that_arrives_late_behind_younger_ones_is_not_lost(book):
    tail = book.tail()
    book.write("young", -10, ONE)
    assert texts(tail.poll()) == ["young"]
    book.write("late", -10 - logs.OVERLAP_MS / 1000 + 1, TWO)
    assert texts(tail.poll()) == ["late"]
    assert tail.poll() == []


def test_a_look_reaches_back_no_further_than_it_must(book):
    tail = book.tail()
    book.write("young", -10, ONE)
    tail.poll()
    book.write("far too late", -10 - logs.OVERLAP_MS / 1000 - 1, TWO)
    assert tail.poll() == []


def test_a_line_dated_ahead_hides_nobody_elses(book):
    tail = book.tail()
    book.write("from tomorrow's clock", 3600, ONE)
    assert texts(tail.poll()) == ["from tomorrow's clock"]
    book.write("now", 0, TWO)
    assert texts(tail.poll()) == ["now"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("order 47", ["order 4711"]), ('say "no"', ['say "no" again']), ("ORDER", []), ("\\d", [r"a \d b"])],
)
def test_a_filter_takes_the_text_as_it_stands(book, wanted, found):
    for index, text in enumerate(("order 4711", 'say "no" again', "say no", r"a \d b")):
        book.write(text, index - 60)
    assert texts(book.tail(text=wanted).entries()) == found


@pytest.mark.parametrize(("text", "pattern"), [("a needle", '"a needle"'), ('"quoted"', None), ("\\d", None)])
def test_a_filter_is_cloudwatchs_work_where_its_syntax_can_say_it(book, cloud, text, pattern):
    calls = len(cloud.calls())
    book.write(text, -5)
    assert texts(book.tail(book.client, text=text).entries()) == [text]
    assert [
        call["parameters"].get("filterPattern")
        for call in cloud.calls()[calls:]
        if call.get("operation") == "FilterLogEvents"
    ] == [pattern]


def test_throttling_in_the_middle_of_the_pages_loses_and_doubles_nothing(book):
    for number in range(5):
        book.write(f"a{number}", number - 100)
    tail = book.tail(Between(book.client, refused={2: "ThrottlingException", 3: "ThrottlingException"}))
    assert texts(tail.poll()) == ["a0", "a1"]
    with pytest.raises(AwsError) as caught:
        tail.poll()
    assert caught.value.code in logs.PASSING
    book.write("a5", -90)
    assert texts(tail.poll()) == ["a2", "a3", "a4", "a5"]


def test_a_stream_that_is_not_there_yet_has_no_lines(book):
    book.write("another's", -10, TWO)
    tail = book.tail(streams=(ONE,))
    assert tail.poll() == []
    with pytest.raises(ClientError, match="log stream does not exist"):
        book.client.filter_log_events(logGroupName=GROUP, logStreamNames=[ONE])
    book.write("mine", -5, ONE)
    assert texts(tail.poll()) == ["mine"]


def test_a_message_is_shown_line_by_line_without_its_secrets(book):
    book.write("Traceback:\n  password=hunter2hunter2\nend", -5)
    (entry,) = book.tail().entries()
    assert [line.text for line in entry.lines("web")] == ["Traceback:", "  password=(sensitive)", "end"]
    first = next(entry.lines("web"))
    assert (first.service, first.container, first.task_id) == ("web", "app", "0001")
    assert first.at.endswith("Z")


@pytest.mark.parametrize(
    ("stream", "owner"),
    [("web/app/0001", ("0001", "app")), ("a/b/c/0002", ("0002", "c")), ("by-hand", ("by-hand", ""))],
)
def test_a_stream_tells_whose_line_it_is(stream, owner):
    (line,) = logs.Entry("1", 0, stream, "x").lines("web")
    assert (line.task_id, line.container) == owner


def test_where_a_container_logs_to():
    def place(**options: str):
        configuration = {"logDriver": "awslogs", "options": options}
        container = {"name": "app", "logConfiguration": configuration}
        return logs.place_of(TaskDefinition({"containerDefinitions": [{"name": "x"}, container]}), "app")

    full = {"awslogs-group": GROUP, "awslogs-region": "eu-central-1", "awslogs-stream-prefix": "web"}
    found = place(**full)
    assert found == logs.Place(GROUP, "eu-central-1", "web", "app")
    assert found.stream("0001") == ONE
    # Without a prefix the stream is named after the container's id, which nobody tells.
    assert place(**{"awslogs-group": GROUP}) is None
    assert logs.place_of(TaskDefinition({"containerDefinitions": [{"name": "app"}]}), "app") is None


# --- several services, followed


class Reader:
    """Follows logs on a clock of its own; `at` maps the number of a wait (from 1) to something that happens then."""

    def __init__(self, last: int) -> None:
        self.at, self.last, self.waits, self.events = {}, last, [], []

    def sleep(self, duration_s: float) -> None:
        self.waits.append(duration_s)
        if len(self.waits) > self.last:
            raise KeyboardInterrupt
        self.at.get(len(self.waits), lambda: None)()

    def follow(self, tails, **wanted) -> list[str]:
        clock = Clock(now=lambda: 0.0, sleep=self.sleep, jitter=lambda: 1.0)
        wanted = reading.Wanted(start_ms=0, **wanted)
        with pytest.raises(KeyboardInterrupt):
            reading.show(tails, wanted, self.events.append, is_followed=True, clock=clock)
        return self.lines

    @property
    def lines(self) -> list[str]:
        return [f"{line.service}: {line.text}" for line in self.events if isinstance(line, LogLine)]


def two(book, **refused) -> dict[str, logs.Tail]:
    start = book.now_ms - 600_000
    return {
        "web": logs.Tail(Between(book.client, refused=refused.get("web")), GROUP, start_ms=start),
        "jobs": logs.Tail(Between(book.client, refused=refused.get("jobs")), OTHER, start_ms=start),
    }


def test_the_lines_of_services_are_merged_by_time_then_followed(book):
    book.write("1", -30)
    book.write("2", -20, group=OTHER)
    book.write("3", -10)
    reader = Reader(last=3)
    reader.at[2] = lambda: (book.write("5", 2), book.write("4", 1, group=OTHER))
    assert reader.follow(two(book)) == ["web: 1", "jobs: 2", "web: 3", "jobs: 4", "web: 5"]
    assert reader.waits == [1.5, 1.5, 1.5, 1.5]


def test_following_survives_throttling_slows_down_and_says_so_once(book):
    reader = Reader(last=5)
    reader.at[3] = lambda: book.write("there it is", 1)
    throttled = dict.fromkeys((2, 3, 4), "ThrottlingException")
    assert reader.follow(two(book, web=throttled)) == ["web: there it is"]
    warnings = [event.message for event in reader.events if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert warnings[0].startswith("lines of web are late: logs:FilterLogEvents failed: ThrottlingException")
    assert reader.waits[:5] == [1.5, 3.0, 6.0, 12.0, 1.5]


def test_what_does_not_pass_ends_it(book):
    with pytest.raises(AwsError, match="AccessDenied"):
        Reader(last=9).follow(two(book, web={3: "AccessDeniedException"}))


def test_only_the_wanted_task_and_container_are_shown(book):
    book.write("one", -30, ONE)
    book.write("two", -20, TWO)
    book.write("side", -10, "web/proxy/0001")
    assert Reader(last=0).follow(two(book), task="0001") == ["web: one", "web: side"]
    assert Reader(last=0).follow(two(book), container="proxy") == ["web: side"]


def test_a_log_group_that_is_gone_is_told_apart(book):
    book.client.delete_log_group(logGroupName=OTHER)
    with pytest.raises(PreconditionError, match="log group of web, jobs does not exist"):
        reading.show(two(book), reading.Wanted(start_ms=0), lambda _event: None, is_followed=False)


def test_without_following_it_ends_and_counts(book):
    book.write("a\nb", -5)
    events = []
    assert reading.show(two(book), reading.Wanted(start_ms=0), events.append, is_followed=False) == 2
