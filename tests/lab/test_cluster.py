"""A lab as a cluster: Ready, and what it survives."""

import asyncio
import os
import signal
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from todoku.api import errors
from todoku.client import Client, ClientConfig, Unreachable
from todoku.lab import lifecycle, state, sweep
from todoku.lab.lab import Lab
from todoku.lab.lab import open as open_lab
from todoku.lab.paths import Paths

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

T = TypeVar("T")
AGENT = "child/node-worker1.internal"


@pytest.fixture(scope="module")
def cluster(lab_name: Callable[[str], str]) -> Iterator[Lab]:
    name = lab_name("c")
    try:
        lifecycle.up(name, None)
        yield open_lab(name)
    finally:
        lifecycle.down(name)


def ask(lab: Lab, work: Callable[[Client], Awaitable[T]]) -> T:
    """Ask the API with the admin's kubeconfig."""

    async def run() -> T:
        async with Client(ClientConfig.from_kubeconfig(lab.kubeconfig)) as client:
            return await work(client)

    return asyncio.run(run())


def nodes(lab: Lab) -> dict[str, str]:
    """The Ready condition of each node."""

    async def read(client: Client) -> dict[str, str]:
        found = await client.list("nodes")
        return {node["metadata"]["name"]: ready(node) for node in found.items}

    return ask(lab, read)


def ready(obj: dict[str, Any]) -> str:
    conditions = obj.get("status", {}).get("conditions", [])
    return next((str(one["status"]) for one in conditions if one["type"] == "Ready"), "None")


def dns_pods(lab: Lab) -> list[dict[str, Any]]:
    async def read(client: Client) -> list[dict[str, Any]]:
        found = await client.list("pods", "kube-system", labels="k8s-app=kube-dns")
        return list(found.items)

    return ask(lab, read)


def pid(lab: Lab, name: str) -> int:
    run = state.read_run(lab.paths)
    assert run is not None
    return run.processes[name].pid if name in run.processes else 0


def kill(lab: Lab, name: str) -> None:
    """kill -9, and wait for another one in its place."""
    before = pid(lab, name)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid(lab, name) not in (0, before), f"{name} to return")


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def test_up_returns_when_nodes_and_dns_are_ready(cluster: Lab) -> None:
    assert nodes(cluster) == {
        "master1.internal": "True",
        "worker1.internal": "True",
        "worker2.internal": "True",
    }
    assert [ready(pod) for pod in dns_pods(cluster)] == ["True"]


def test_fields_are_managed_by_components_of_their_usual_names(cluster: Lab) -> None:
    managers = {
        one["manager"] for pod in dns_pods(cluster) for one in pod["metadata"]["managedFields"]
    }
    assert managers == {"kube-controller-manager", "kube-scheduler", "kubelet"}


def test_a_host_path_finds_the_usual_folders_on_a_node(cluster: Lab) -> None:
    root = cluster.paths.node("worker1.internal")
    assert all((root / one).is_dir() for one in ("etc", "mnt", "opt", "run", "var/lib", "var/log"))
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777


def test_the_control_plane_carries_what_kubeadm_gives_it(cluster: Lab) -> None:
    async def read(client: Client) -> dict[str, Any]:
        return await client.get("nodes", "master1.internal")

    master = ask(cluster, read)
    assert {
        "node-role.kubernetes.io/control-plane",
        "node.kubernetes.io/exclude-from-external-load-balancers",
    } <= set(master["metadata"]["labels"])
    assert {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"} in master[
        "spec"
    ]["taints"]


def test_an_acknowledged_write_survives_a_killed_api_server(cluster: Lab) -> None:
    async def write(client: Client) -> int:
        acknowledged = 0
        deadline = time.monotonic() + 5
        victim = pid(cluster, "child/apiserver")
        while time.monotonic() < deadline:
            name = f"write-{acknowledged}"
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"},
            }
            try:
                await client.create("configmaps", body)
            except Unreachable:
                break
            except errors.AlreadyExists:
                pass
            acknowledged += 1
            if acknowledged == 20:
                os.kill(victim, signal.SIGKILL)
        return acknowledged

    acknowledged = ask(cluster, write)
    assert acknowledged >= 20

    async def read(client: Client) -> set[str]:
        return {
            obj["metadata"]["name"] for obj in (await client.list("configmaps", "default")).items
        }

    wait_for(lambda: answers(cluster), "the API server")
    assert {f"write-{number}" for number in range(acknowledged)} <= ask(cluster, read)


def answers(lab: Lab) -> bool:
    try:
        return bool(nodes(lab))
    except (Unreachable, errors.ApiError):
        return False


@pytest.mark.parametrize("child", ["child/controllers", "child/images", AGENT])
def test_a_killed_child_returns_and_pods_run_on(cluster: Lab, child: str) -> None:
    before = {(p["metadata"]["uid"], restarts(p)) for p in dns_pods(cluster)}
    kill(cluster, child)
    time.sleep(2)
    assert {(p["metadata"]["uid"], restarts(p)) for p in dns_pods(cluster)} == before
    assert set(nodes(cluster).values()) == {"True"}


def restarts(pod: dict[str, Any]) -> int:
    return sum(one["restartCount"] for one in pod["status"]["containerStatuses"])


def test_a_lab_without_its_keepers_is_adopted_and_serves_on(cluster: Lab) -> None:
    os.kill(pid(cluster, sweep.SUPERVISOR), signal.SIGKILL)
    os.kill(pid(cluster, sweep.FORK_SERVER), signal.SIGKILL)
    assert set(nodes(cluster).values()) == {"True"}
    lifecycle.ask(cluster.name, "status")
    kill(cluster, "child/apiserver")
    assert set(nodes(cluster).values()) == {"True"}


def test_a_power_cut_is_noticed_within_seconds_and_healed_by_power(cluster: Lab) -> None:
    cluster.ask("power-off", machine="worker2")
    began = time.monotonic()
    wait_for(lambda: nodes(cluster)["worker2.internal"] == "Unknown", "NotReady", seconds=8)
    assert time.monotonic() - began < 5
    cluster.ask("power-on", machine="worker2")
    wait_for(lambda: nodes(cluster)["worker2.internal"] == "True", "Ready")


def test_without_the_control_plane_the_port_refuses_and_comes_back(cluster: Lab) -> None:
    cluster.ask("power-off", machine="master1")
    assert not answers(cluster)
    cluster.ask("power-on", machine="master1")
    wait_for(lambda: answers(cluster), "the API server")
    wait_for(lambda: set(nodes(cluster).values()) == {"True"}, "Ready nodes")


def test_stop_and_start_keep_every_object(cluster: Lab) -> None:
    async def write(client: Client) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kept", "namespace": "default"},
        }
        await client.create("configmaps", body)

    async def read(client: Client) -> dict[str, Any]:
        return await client.get("configmaps", "kept", "default")

    ask(cluster, write)
    lifecycle.stop(cluster.name)
    lifecycle.up(cluster.name, None)
    assert ask(cluster, read)["metadata"]["name"] == "kept"
    assert set(nodes(cluster).values()) == {"True"}


def test_after_kill_9_of_everything_up_finds_every_object(cluster: Lab) -> None:
    run = state.read_run(Paths(cluster.name))
    assert run is not None
    for process in run.processes.values():
        process.kill()
    lifecycle.up(cluster.name, None)

    async def read(client: Client) -> dict[str, Any]:
        return await client.get("configmaps", "kept", "default")

    assert ask(cluster, read)["metadata"]["name"] == "kept"
    assert set(nodes(cluster).values()) == {"True"}
