"""A whole lab, as a user meets it: up, apply, memory, idle processor time, failover, down, the verbs' start.

Run: ./bench lab [--runs 5].  Needs root; makes labs named `bench-…` one after another and removes each, also
when something fails.  Everything is measured from outside: commands by their wall time and the lines they print,
readiness by watching the API, answers by requests from an outside host, memory from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.figures import emit, note  # noqa: E402
from todoku import __version__  # noqa: E402
from todoku.cli import _acts  # noqa: E402
from todoku.cli._failover import Watcher  # noqa: E402
from todoku.cli._reaching import Bench  # noqa: E402
from todoku.cli._reaching import run as with_lab  # noqa: E402
from todoku.cli.manifests import path as manifest  # noqa: E402
from todoku.client import Informer  # noqa: E402
from todoku.images import Config, ImageStore  # noqa: E402
from todoku.lab import lifecycle, sweep  # noqa: E402
from todoku.lab.paths import CACHE  # noqa: E402
from todoku.lab.scenario import DEPLOYMENT, NAMESPACE  # noqa: E402

TODOKU = [sys.executable, "-m", "todoku"]
VERBS = (
    ("--version",),
    ("list",),
    ("status", "--lab", "NAME"),
    ("exec", "--lab", "NAME", "rhel8host", "--", "true"),
    ("reach", "--help"),
)
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 20.0
LIMIT_SECONDS = 170.0
WHOLE_LIMIT_SECONDS = 230.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    # As after installation: compiled once, not at every start.
    compileall.compile_dir(ROOT / "src", quiet=2)
    began = time.monotonic()
    name = f"bench-{os.getpid()}"
    note(f"load average {os.getloadavg()[0]:.1f}: what else runs here slows what is measured")
    with removed(name):
        cold(3)
        starts(name, options.runs)
        verbs(name, options.runs)
        with_lab(name, lambda bench: inside(bench, options.runs, began))


# -- up and down ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def removed(name: str) -> Iterator[None]:
    """Whatever happens, no lab is left."""
    try:
        yield
    finally:
        lifecycle.down(name)


@dataclass(slots=True)
class Starts:
    """What several `up` took, in seconds."""

    nodes: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


def starts(name: str, runs: int) -> None:
    """`up` and `down` again and again, with warm caches; the last lab stays."""
    note(f"up and down, {runs} times")
    took = Starts()
    for number in range(runs):
        before = commands_processor_seconds()
        nodes, whole = up(name)
        took.nodes.append(nodes)
        took.command.append(whole)
        worked = sum(one.processor_seconds for one in processes(name))
        took.processor.append(worked + commands_processor_seconds() - before)
        time.sleep(SETTLE_SECONDS)
        took.memory.append(memory(name))
        if number == runs - 1:
            idle(name)
        began = time.perf_counter()
        command(*TODOKU, "down", "--lab", name)
        took.down.append(time.perf_counter() - began)
    load = round(os.getloadavg()[0], 1)
    emit("lab_up_to_nodes_ready", took.nodes, "s", nodes=3, load_average=load)
    emit("lab_up_to_dns_ready", took.command, "s", nodes=3, load_average=load)
    emit("lab_up_processor", took.processor, "s", nodes=3)
    emit("lab_down", took.down, "s")
    emit_memory("lab_memory", took.memory)
    up(name)


def up(name: str) -> tuple[float, float]:
    """Seconds from starting the command to its last node's Ready line, and to its end (DNS Ready)."""
    began = time.perf_counter()
    ready = 0.0
    with subprocess.Popen(
        [*TODOKU, "up", "--lab", name],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if re.fullmatch(r"node \S+ is Ready\n", line):
                ready = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"todoku up failed:\n{''.join(said)}")
    return ready, time.perf_counter() - began


def cold(runs: int) -> None:
    """What the first `up` of a version pays beside: its own image is put together, in a store of its own here.

    The store lies beside the real one, so that files are linked as there.
    """
    note("assembling the system image")
    reference = f"todoku.internal/system:{__version__}"
    took = []
    CACHE.mkdir(parents=True, exist_ok=True)
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="todoku-bench-") as folder:
            store = ImageStore(
                Config(root=Path(folder, "images"), packages=Path(folder, "packages"))
            )
            image = store.ensure(reference, "IfNotPresent", progress=lambda _: None)
            took.append(timed(lambda image=image: asyncio.run(image)))
    emit("lab_system_image_assembly", took, "s")


def verbs(name: str, runs: int) -> None:
    """What a command costs before it does anything, and with a small job."""
    note("verbs")
    for words in VERBS:
        given = [name if word == "NAME" else word for word in words]
        values = [timed(lambda given=given: command(*TODOKU, *given)) for _ in range(runs)]
        emit(
            "lab_verb", values, "s", verb=" ".join(words), load_average=round(os.getloadavg()[0], 1)
        )


def command(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def commands_processor_seconds() -> float:
    """What the commands that were run here have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# -- memory and processor time of a lab that does nothing ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    kind: str
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set size by kind of process, in MiB: shared pages are split among those who share them."""

    by_kind: dict[str, float]

    def total(self, *, balancer: bool = False) -> float:
        return sum(
            size for kind, size in self.by_kind.items() if (kind == "load balancer") == balancer
        )


_MODULES = {"todoku.dns": "DNS", "todoku.loadbalancer": "load balancer"}


def processes(name: str) -> list[Process]:
    """Every process of a lab: its recorded ones and all that descend from them."""
    run = lifecycle.recorded(name)
    assert run is not None, "the lab is not running"
    named = {one.pid: what for what, one in run.processes.items()}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = set(named) & set(parents)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return [Process(pid, kind_of(pid, named.get(pid, "")), spent(pid)) for pid in sorted(found)]


def spent(pid: int) -> float:
    """Processor seconds of all its threads, to the nanosecond.  Linux, scheduler/sched-stats."""
    seconds = 0.0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def kind_of(pid: int, recorded: str) -> str:
    """What a process is for, so that figures can be told apart."""
    if recorded in (sweep.SUPERVISOR, sweep.FORK_SERVER):
        return recorded
    if recorded.startswith("child/"):
        child = recorded.removeprefix("child/")
        return "node agents" if child.startswith("node-") else child
    if recorded:
        return "inits"
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return "pods"
    for module, kind in _MODULES.items():
        if module in words:
            return kind
    return "monitors" if words[0].endswith("conmon") else "pods"


def memory(name: str) -> Memory:
    by_kind: dict[str, float] = {}
    for process in processes(name):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
            if found:
                size = int(found[1]) / 1024
                by_kind[process.kind] = by_kind.get(process.kind, 0.0) + size
    return Memory(by_kind)


def emit_memory(figure: str, found: Sequence[Memory], **context: object) -> None:
    last = {kind: round(size, 1) for kind, size in sorted(found[-1].by_kind.items())}
    emit(figure, [one.total() for one in found], "MiB PSS", by_kind=last, **context)


def idle(name: str) -> None:
    """Processor seconds per minute of a lab in which nothing happens."""
    note(f"idle for {IDLE_SECONDS:.0f} s")
    before = {one.pid: one for one in processes(name)}
    began = time.monotonic()
    time.sleep(IDLE_SECONDS)
    minutes = (time.monotonic() - began) / 60
    by_kind: dict[str, float] = {}
    for one in processes(name):
        if one.pid in before:
            more = (one.processor_seconds - before[one.pid].processor_seconds) / minutes
            by_kind[one.kind] = by_kind.get(one.kind, 0.0) + more
    shown = {kind: round(value, 2) for kind, value in sorted(by_kind.items()) if value > 0.005}
    emit("lab_idle_processor", [sum(by_kind.values())], "s/min", by_kind=shown)


# -- pods, and the load balancer -------------------------------------------------------------------------------


async def inside(bench: Bench, runs: int, began: float) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        await applying(bench, runs)
        await balancing(bench, runs, began + WHOLE_LIMIT_SECONDS)


async def applying(bench: Bench, runs: int) -> None:
    """From starting `kubectl apply` of the Deployment to three Ready replicas; once before, to have the images."""
    note(f"apply, {runs} times")
    await kubectl(bench, "apply", "-f", str(manifest("service-test-namespace.yaml")))
    deployment = str(manifest("httpd-deployment.yaml"))
    took = []
    async with followed(bench, "deployments.apps") as (deployments, changed):
        for number in range(runs + 1):
            if number:
                await kubectl(bench, "delete", "-f", deployment)
                await until(lambda: pods_gone(bench))
            began = time.perf_counter()
            applied = asyncio.create_task(kubectl(bench, "apply", "-f", deployment))
            while not three_ready(deployments):
                changed.clear()
                async with asyncio.timeout(120):
                    await changed.wait()
            took.append(time.perf_counter() - began)
            await applied
    emit(
        "lab_apply_to_3_ready",
        took[1:],
        "s",
        kubectl=kubectl_version(),
        load_average=round(os.getloadavg()[0], 1),
    )


@contextlib.asynccontextmanager
async def followed(bench: Bench, resource: str):
    """An informer on a resource, and an event that is set at every change."""
    informer = Informer(bench.client, resource, namespace=NAMESPACE)
    changed = asyncio.Event()
    informer.subscribe(lambda _: changed.set())
    following = asyncio.create_task(informer.run(), name=f"bench-{resource}")
    try:
        await informer.synced()
        yield informer, changed
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def three_ready(deployments: Informer) -> bool:
    return any(
        one["metadata"]["name"] == DEPLOYMENT and one.get("status", {}).get("readyReplicas") == 3
        for one in deployments.list(NAMESPACE)
    )


async def pods_gone(bench: Bench) -> bool:
    return not (await bench.client.list("pods", NAMESPACE)).items


async def until(there: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    await _acts.until("the benchmark", there, seconds=seconds, tell=lambda _: None)


async def kubectl(bench: Bench, *words: str) -> str:
    return await asyncio.to_thread(_acts.kubectl, bench.survey.lab, words)


def kubectl_version() -> str:
    stock = shutil.which("kubectl")
    if stock is None:
        return "todoku kubectl"
    told = subprocess.run(
        [stock, "version", "--client"], capture_output=True, text=True, check=False
    )
    return told.stdout.split("\n")[0].removeprefix("Client Version: ")


async def balancing(bench: Bench, runs: int, deadline: float) -> None:
    """The load balancer's pods beside the lab, and how long its address is silent when the announcer loses power."""
    note("load balancer")
    await kubectl(bench, "apply", "-f", str(manifest("metallb.yaml")))
    await until(lambda: _acts.balancer_ready(bench))
    for name in ("ipaddresspool.yaml", "l2advertisement.yaml", "loadbalancer-service.yaml"):
        await kubectl(bench, "apply", "-f", str(manifest(name)))
    await until(lambda: _acts.announced(bench))
    await until(lambda: _acts.programmed(bench))
    await asyncio.sleep(SETTLE_SECONDS)
    found = memory(bench.survey.lab.name)
    emit("lab_memory_load_balancer", [found.total(balancer=True)], "MiB PSS", pods=4)
    note(f"failover, {runs} times")
    first, steady = [], []
    while len(first) < runs and time.monotonic() < deadline:
        silence = await failover(bench)
        first.append(silence[0])
        steady.append(silence[1])
    load = round(os.getloadavg()[0], 1)
    emit("lab_failover_first_answer", first, "s", load_average=load)
    emit("lab_failover_all_answers", steady, "s", load_average=load)


async def failover(bench: Bench) -> tuple[float, float]:
    """Cut the announcer's power; seconds from the last answer to the next, and until all requests succeed."""
    await bench.refresh()
    node = _acts.announcer(await bench.client.list("servicel2statuses.metallb.io"))
    service = _acts.the_service(bench)
    assert service is not None
    address = service["status"]["loadBalancer"]["ingress"][0]["ip"]
    source = next(one for one in _acts.the_sources(bench) if one.kind == "outside")
    watcher = Watcher(bench.survey.vantages(bench.world, [source])[source.name], address, 8080)
    asking = asyncio.create_task(watcher.ask(), name="bench-failover")
    try:
        await watcher.answered()
        await asyncio.to_thread(bench.survey.lab.ask, "power-off", machine=node)
        await watcher.recovered(seconds=60)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await asyncio.to_thread(bench.survey.lab.ask, "power-on", machine=node)
    await until(lambda: _acts.node_ready(bench, node))
    await until(lambda: _acts.pods_ready(bench))
    await until(lambda: _acts.balancer_ready(bench))
    return watcher.first_answer_seconds, watcher.steady_seconds


if __name__ == "__main__":
    main()
