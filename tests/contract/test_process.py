"""process.py against real children and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator import process

ENV = dict(os.environ)


def run(code: str, **options) -> process.Completed:
    return process.run([sys.executable, "-c", code], env=ENV, **options)


@pytest.mark.parametrize("outlives", [False, True])
def test_output_and_exit_code(outlives):
    done = run(
        "import sys; print('a'); print('b'); print('e', file=sys.stderr); sys.exit(3)", outlives=outlives
    )
    assert (done.code, done.stdout, done.stderr) == (3, "a\nb", "e")
    assert done.duration_s > 0


@pytest.mark.parametrize("outlives", [False, True])
def test_lines_arrive_while_the_child_still_runs(outlives):
    arrived = []
    code = "import time; print('first', flush=True); time.sleep(0.6); print('last')"
    run(code, on_stdout=lambda line: arrived.append((line, time.monotonic())), outlives=outlives)
    assert [line for line, _at in arrived] == ["first", "last"]
    assert arrived[1][1] - arrived[0][1] > 0.4


def test_stdin_is_given_and_otherwise_empty():
    echo = "import sys; print(sys.stdin.read())"
    assert run(echo, stdin="secret").stdout == "secret"
    assert run(echo).stdout == ""


def test_a_child_that_does_not_read_its_stdin_is_no_error():
    assert run("import sys; sys.exit(4)", stdin="x" * 10_000_000).code == 4


@pytest.mark.parametrize("outlives", [False, True])
def test_bytes_that_are_no_text_do_not_break_it(outlives):
    assert run("import os; os.write(1, b'\\xff\\xfe ok\\n')", outlives=outlives).stdout.endswith(" ok")


@pytest.mark.parametrize("outlives", [False, True])
def test_much_output_on_both_pipes_does_not_block(outlives):
    done = run("import sys\nfor i in range(50000): print(i); print(i, file=sys.stderr)", outlives=outlives)
    assert len(done.stdout.splitlines()) == len(done.stderr.splitlines()) == 50000


@pytest.mark.parametrize("outlives", [False, True])
def test_a_child_may_outlive_orch_itself(tmp_path, outlives):
    done = tmp_path / "done"
    child = f"import time; print('go', flush=True); time.sleep(1); print('x', flush=True); open({str(done)!r}, 'w')"
    code = (
        "import os, sys; from orchestrator import process; "
        f"process.run([sys.executable, '-c', {child!r}], env=dict(os.environ), on_stdout=print, outlives={outlives})"
    )
    parent = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "go\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _attempt in range(60):
        if done.exists():
            break
        time.sleep(0.05)
    # A pipe that nobody reads any more ends who writes to it.
    assert done.exists() is outlives


def test_a_program_that_is_absent():
    with pytest.raises(FileNotFoundError):
        process.run(["orch-no-such-program"], env=ENV)


def test_a_failing_callback_takes_the_child_with_it(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); print('x', flush=True); time.sleep(60)"

    def fail(_line: str) -> None:
        raise ValueError("callback")

    with pytest.raises(ValueError, match="callback"):
        run(code, on_stdout=fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


# A parent that runs a child through process.run, as orch runs Terraform.
PARENT = """
import os, signal, sys
from orchestrator import process
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
try:
    process.run([sys.executable, "-c", sys.argv[1]], env=dict(os.environ), on_stdout=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("parent interrupted", flush=True)
    sys.exit(130)
"""
PATIENT_CHILD = """
import signal, sys, time
count = 0
def handler(*_):
    global count
    count += 1
    print("signal", count, flush=True)
signal.signal(signal.SIGINT, handler)
signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
print("ready", flush=True)
while not count: time.sleep(0.05)
time.sleep(0.5)
print("state saved", flush=True)
"""
STUBBORN_CHILD = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", os.getpid(), flush=True)
time.sleep(60)
"""


def parent_of(child: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE, text=True, env=ENV)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_child_once_as_sigint_and_it_is_awaited(number):
    with parent_of(PATIENT_CHILD) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(number)
        rest = parent.stdout.read()
    assert rest == "signal 1\nstate saved\nparent interrupted\n"
    assert parent.returncode == 130


def test_a_second_signal_only_waits_on():
    with parent_of(PATIENT_CHILD) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGINT)
        time.sleep(0.2)
        parent.send_signal(signal.SIGTERM)
        rest = parent.stdout.read()
    assert rest == "signal 1\nstate saved\nparent interrupted\n"


def test_the_third_signal_kills():
    with parent_of(STUBBORN_CHILD) as parent:
        pid = int(parent.stdout.readline().split()[1])
        for _ in range(3):
            parent.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert parent.wait(10) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_children_of_other_threads_are_interrupted_once_and_awaited():
    code = (
        "import signal, sys, time\n"
        "def stop(*_): print('stopping', flush=True); time.sleep(0.3); print('saved', flush=True); sys.exit(7)\n"
        "signal.signal(signal.SIGINT, stop)\nprint('ready', flush=True)\ntime.sleep(30)"
    )
    ready = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            ready.set()

        future = pool.submit(run, code, on_stdout=take)
        assert ready.wait(20)
        process.interrupt_all()
        done = future.result(20)
    assert (done.code, lines) == (7, ["ready", "stopping", "saved"])
    process.interrupt_all()
