"""The sandbox's process: `python -m orchestrator.sandbox --port P --state-dir D`. Started by control.start."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from orchestrator.sandbox import control


def main() -> int:
    """Serves until told to stop. Exits with 75 when another sandbox holds the state folder, 76 when the port is taken."""
    parser = argparse.ArgumentParser(prog="orch-sandbox", description="AWS for orch on one loopback port.")
    parser.add_argument("--port", type=int, default=control.DEFAULT_PORT, help="0 takes any free port")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--task-seconds", type=float, default=control.DEFAULT_TASK_SECONDS)
    parser.add_argument("--log", type=Path, help="the file that stdout and stderr go to; becomes sandbox.log")
    arguments = parser.parse_args()
    if arguments.task_seconds <= 0:
        parser.error("--task-seconds must be greater than 0")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    state_dir: Path = arguments.state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    with control.held_lock(state_dir) as is_ours:
        if not is_ours:
            print(f"another sandbox runs on {state_dir}", file=sys.stderr)  # noqa: T201  # stderr is the log
            return control.EXIT_RUNS_ALREADY
        if arguments.log is not None:
            # Only now: the log of the sandbox that runs must not be lost to a start that is refused.
            arguments.log.replace(control.log_path(state_dir))
        try:
            return _serve(state_dir, arguments.port, arguments.task_seconds)
        finally:
            control.remove_state(state_dir)


def _serve(state_dir: Path, port: int, task_seconds: float) -> int:
    # moto reads these when it is imported or makes a backend (see gaps.py).
    os.environ.update({"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"})
    from orchestrator.sandbox.server import serve

    try:
        serve(port=port, state_dir=state_dir, task_seconds=task_seconds, log_path=control.log_path(state_dir))
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{port}: {error}", file=sys.stderr)  # noqa: T201  # stderr is the log
        return control.EXIT_PORT_TAKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
