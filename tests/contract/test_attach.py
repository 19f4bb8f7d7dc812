"""process.attach: a program that has orch's terminal to itself, signals and all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from orchestrator import process

# Attaches the program of its arguments as `orch` would, and says how that ended.
HARNESS = """
import os, signal, sys
from orchestrator import process

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
try:
    print("code", process.attach(sys.argv[1:], env=os.environ), flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("Ctrl-C is orch's again", flush=True)
"""
PROGRAM = """
import signal, sys, time

def take(number, frame):
    print("program got", signal.Signals(number).name, flush=True)
    sys.exit(7)

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, take)
print("ready", flush=True)
print("typed", sys.stdin.readline().strip(), flush=True)
time.sleep(30)
"""


@pytest.fixture
def attached():
    """The harness with the program in front, in a session of its own as a terminal would have it."""
    argv = [sys.executable, "-c", textwrap.dedent(HARNESS), sys.executable, "-c", textwrap.dedent(PROGRAM)]
    running = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout.readline() == "ready\n"
    running.stdin.write("ls\n")
    running.stdin.flush()
    assert running.stdout.readline() == "typed ls\n"
    yield running
    running.stdin.close()
    running.stdout.close()
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def test_ctrl_c_is_the_programs_and_orch_waits_for_it(attached):
    os.killpg(attached.pid, signal.SIGINT)
    assert attached.stdout.read() == "program got SIGINT\ncode 7\nCtrl-C is orch's again\n"
    assert attached.wait(10) == 0


def test_a_cancelled_job_ends_the_program_too(attached):
    os.kill(attached.pid, signal.SIGTERM)
    assert attached.stdout.read() == "program got SIGTERM\ninterrupted\nCtrl-C is orch's again\n"
    assert attached.wait(10) == 0


def test_a_program_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        process.attach(["no-such-program"], env={"PATH": "/nowhere"})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
