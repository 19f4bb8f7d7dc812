"""How fast, and in how little memory, an image is copied between two accounts: orch beside `skopeo copy --preserve-digests`.

    python bench/image_copy.py [--quick]

Needs `skopeo`; with `docker-registry` (Debian's package) as well, both tools also meet two registries that are nobody's here. The image
has six layers of random bytes, 300 MB in all (60 MB with --quick). The tools take turns on the same registries, each copy into a
repository of its own, and the best of their runs count. Printed, with what each is held to:

    wall time   orch's as a multiple of skopeo's (1.3 at the most), both as whole processes; of the small image, and on a busy
                machine, orch's start is the larger part, so that the copying is printed by itself too
    memory      the largest resident set of a process that only copies (150 MB at the most)
    digest      the same on both sides, as skopeo sees it
    resumed     bytes sent once more after a connection that breaks in the middle of a layer, up and down, as a share of the image

Exit code 1 when one of them is not held. Touches: a temporary folder, 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.aws import Aws
from orchestrator.image import copy, ecr, manifests
from orchestrator.image.copy import Side
from orchestrator.image.distribution import Repository
from orchestrator.sandbox import control

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.contract.registry_proxy import Fault, Passed, between

REGION = "eu-central-1"
SOURCE, TARGET = "111111111111", "222222222222"
LAYERS = 6
RUNS = 5
MOST_TIME = 1.3
MOST_MEMORY_MB = 150.0


@dataclass(frozen=True)
class End:
    """A repository, and who may use it: `session` None where nobody logs in."""

    url: str
    session: Aws | None

    @property
    def side(self) -> Side:
        return Side(self.url, self.session)

    def creds(self, flag: str) -> list[str]:
        if self.session is None:
            return []
        return [f"--{flag}=AWS:{ecr.log_in(self.session.ecr, self.url).password}"]


def open_repository(end: End) -> Repository:
    session = end.session
    log_in = None if session is None else lambda: ecr.log_in(session.ecr, end.url)
    return Repository(end.url, log_in=log_in, environ={}, user_agent="bench")


def push_image(end: End, size: int) -> str:
    """An image of random layers; returns its digest."""
    repository = open_repository(end)

    def push(content: bytes, kind: str) -> dict[str, object]:
        digest = manifests.digest_of(content)
        repository.finish(repository.send(repository.start_upload(), len(content), [content]), digest)
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    config = push(b'{"architecture":"amd64","os":"linux"}', "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    layers = [push(os.urandom(size // LAYERS), kind) for _ in range(LAYERS)]
    document = {"schemaVersion": 2, "mediaType": manifests.IMAGE_TYPES[0], "config": config, "layers": layers}
    manifest = manifests.read(json.dumps(document).encode(), "")
    repository.put_manifest(manifest, "r1")
    repository.close()
    return manifest.digest


# --- the two tools, each a process of its own

CHILD = """
import json, sys, time
from orchestrator.aws import Aws
from orchestrator.image.copy import Side, copy
wish = json.load(sys.stdin)
def side(one):
    return Side(one["url"], Aws(one["region"], one["environ"], role="push") if one["environ"] else None)
begun = time.monotonic()
done = copy(side(wish["source"]), side(wish["target"]), wish["digest"], tags=["r1"], emit=lambda _event: None)
print(time.monotonic() - begun)
"""


@dataclass(frozen=True)
class Took:
    """Seconds of the whole process, and of the copying where it can be told apart; the largest resident set in megabytes."""

    whole_s: float
    copying_s: float
    memory_mb: float


def orch(source: End, target: End, digest: str) -> Took:
    def wish(end: End) -> dict[str, object]:
        return {
            "url": end.url,
            "region": REGION,
            "environ": dict(end.session.environ) if end.session else None,
        }

    asked = json.dumps({"source": wish(source), "target": wish(target), "digest": digest})
    return run("orch", [sys.executable, "-c", CHILD], asked)


def skopeo(source: End, target: End, digest: str) -> Took:
    argv = ["skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    argv += [*source.creds("src-creds"), *target.creds("dest-creds")]
    return run("skopeo", [*argv, f"docker://{source.url}@{digest}", f"docker://{target.url}:r1"], "")


def run(name: str, argv: list[str], asked: str) -> Took:
    begun, memory_mb = time.monotonic(), 0.0
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(asked)
        process.stdin.close()
        while process.poll() is None:
            memory_mb = max(memory_mb, high_water_mb(process.pid))
            time.sleep(0.01)
        whole_s, said = time.monotonic() - begun, process.stdout.read()
        if process.returncode:
            raise SystemExit(f"{name} failed: {process.stderr.read()}")
    return Took(whole_s, float(said) if name == "orch" else whole_s, memory_mb)


def high_water_mb(pid: int) -> float:
    """The kernel's own mark, which an exec resets, unlike that of getrusage."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next(
        (int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM")), 0.0
    )


def seen_by_skopeo(end: End) -> str:
    argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", *end.creds("creds"), f"docker://{end.url}:r1"]
    return manifests.digest_of(subprocess.run(argv, capture_output=True, check=True).stdout)


# --- the registries


class Sandbox:
    """Two accounts of orch's own sandbox, with as many target repositories as are asked for."""

    name = "the sandbox's registry"

    def __init__(self, running: control.Sandbox) -> None:
        self.sandbox, self.number = running, 0
        self.sessions = {
            account: Aws(
                REGION,
                {
                    "HOME": "/nonexistent",
                    **control.aws_environment(running, account_id=account, region=REGION),
                },
            )
            for account in (SOURCE, TARGET)
        }

    def make(self, account: str) -> End:
        self.number += 1
        session = self.sessions[account]
        made = session.ecr.create_repository(repositoryName=f"bench/app{self.number}")
        return End(made["repository"]["repositoryUri"], session)

    def source(self) -> End:
        return self.make(SOURCE)

    def target(self) -> End:
        return self.make(TARGET)


class Distribution:
    """Processes of docker-registry: one is the source, and each target is another. skopeo remembers which registry has had a blob,
    and would mount it there instead of copying it.
    """

    name = "docker-registry"

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()

    def source(self) -> End:
        return self.start("source")

    def target(self) -> End:
        if len(self.processes) > 1:
            self.end(self.processes.pop())
            shutil.rmtree(self.folder / "target")
        return self.start("target")

    def start(self, name: str) -> End:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = self.folder / f"{name}.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.folder / name}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        argv = ["docker-registry", "serve", str(config)]
        self.processes.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(port)
        return End(f"127.0.0.1:{port}/bench/app", None)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait()

    def close(self) -> None:
        for process in self.processes:
            self.end(process)


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


# --- what is measured


def side_by_side(registries: Sandbox | Distribution, size: int, runs: int) -> bool:
    source = registries.source()
    digest = push_image(source, size)
    took: dict[str, list[Took]] = {"orch": [], "skopeo": []}
    for turn in range(runs):
        tools = [("orch", orch), ("skopeo", skopeo)]
        for name, tool in tools if turn % 2 else tools[::-1]:
            target = registries.target()
            took[name].append(tool(source, target, digest))
            if seen_by_skopeo(target) != digest:
                raise SystemExit(f"{name} changed the digest")
    ours, theirs = (min(one.whole_s for one in took[name]) for name in ("orch", "skopeo"))
    copying = min(one.copying_s for one in took["orch"])
    memory, theirs_mb = (max(one.memory_mb for one in took[name]) for name in ("orch", "skopeo"))
    ratio = ours / theirs
    print(f"{registries.name}, {size / 1e6:.0f} MB in {LAYERS} layers, best of {runs}:")
    print(
        f"    wall time   orch {ours:.2f} s ({copying:.2f} s without its start), skopeo {theirs:.2f} s: ratio {ratio:.2f},"
        f" {copying / theirs:.2f} without the start (at most {MOST_TIME})"
    )
    print(
        f"    memory      orch {memory:.0f} MB, skopeo {theirs_mb:.0f} MB (orch at most {MOST_MEMORY_MB:.0f})"
    )
    print("    digest      the same everywhere")
    return ratio <= MOST_TIME and memory < MOST_MEMORY_MB


def resumed(registries: Sandbox, size: int) -> bool:
    """One upload and one download break in the middle of a layer."""
    source, target = registries.source(), registries.target()
    digest = push_image(source, size)
    layer = size // LAYERS
    lock = threading.Lock()
    with between(registries.sandbox.port) as proxy:
        faults = {"PATCH": Fault(cut_up=layer // 2), "GET": Fault(cut_down=layer // 2)}

        def decide(one: Passed) -> Fault | None:
            is_layer = "/blobs/sha256" in one.path or int(one.headers.get("Content-Length", 0)) == layer
            with lock:
                return faults.pop(one.method, None) if is_layer else None

        proxy.decide = decide
        ends = [Side(proxy.url(end.url), end.session) for end in (source, target)]
        done = copy.copy(*ends, digest, tags=["r1"], emit=lambda _event: None)
    up = sum(one.up for one in proxy.asked("PATCH", "")) - done.bytes_copied
    down = sum(one.down for one in proxy.asked("GET", "/blobs/sha256")) - done.bytes_copied
    if faults or seen_by_skopeo(target) != digest:
        raise SystemExit("no connection broke, or the digest changed")
    print(f"{registries.name}, one upload and one download cut in the middle of a layer:")
    print(
        f"    resumed     {up / size:.3f} of the image was sent once more, {down / size:.3f} read once more (a layer is {1 / LAYERS:.3f})"
    )
    return up < layer / 4 and down < layer * 3 / 4


def main() -> int:
    size = 60_000_000 if "--quick" in sys.argv else 300_000_000
    if shutil.which("skopeo") is None:
        print("skopeo is not on PATH: there is nothing to measure beside")
        return 0
    held = []
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as name:
        folder = Path(name)
        running = control.start(folder / "sandbox", port=0, task_seconds=1)
        try:
            registries = Sandbox(running)
            held.append(side_by_side(registries, size, RUNS))
            held.append(resumed(registries, size))
        finally:
            control.stop(folder / "sandbox")
        if shutil.which("docker-registry") is None:
            print("docker-registry is not on PATH: that comparison is left out")
        else:
            distribution = Distribution(folder)
            try:
                held.append(side_by_side(distribution, size, RUNS))
            finally:
                distribution.close()
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
