"""The machines of a running lab: what they see, whom they reach, and what their power does."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from todoku.lab import LabError, lifecycle, state
from todoku.lab.control import Refused
from todoku.lab.lab import Lab
from todoku.linux.links import Links

pytestmark = pytest.mark.kernel

MACHINES = ("master1", "worker1", "worker2", "rhel8host", "al9host")


def run(lab: Lab, host: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """`todoku exec`, as a user types it."""
    command = [sys.executable, "-m", "todoku", "exec", "--lab", lab.name, host, "--", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def reaches(lab: Lab, source: str, target: str, *, seconds: float = 1) -> bool:
    return run(lab, source, "ping", "-c1", f"-W{seconds}", target).returncode == 0


@pytest.mark.parametrize("source", MACHINES)
def test_every_machine_reaches_every_other_by_name(lab: Lab, source: str) -> None:
    for target in MACHINES:
        assert reaches(lab, source, target), f"{source} -> {target}"


@pytest.mark.parametrize("host", MACHINES)
def test_every_machine_has_its_default_route_through_the_gateway(lab: Lab, host: str) -> None:
    routes = run(lab, host, "ip", "route").stdout
    assert "default via 192.168.11.1 dev eth0" in routes


def test_the_gateway_is_silent_about_what_it_cannot_deliver(lab: Lab) -> None:
    answer = run(lab, "rhel8host", "ping", "-c1", "-W1", "10.96.0.1").stdout
    assert "100% packet loss" in answer
    assert "Unreachable" not in answer


def test_a_machine_looks_like_one_from_inside(lab: Lab) -> None:
    said = run(
        lab, "al9host", "sh", "-c", "hostname; cat /etc/hostname; ls /run; ls /sys/class/net"
    )
    assert said.stdout.split() == ["al9host", "al9host", "lock", "eth0", "lo"]


def test_an_outside_host_sees_nothing_of_the_labs_sockets(lab: Lab) -> None:
    assert run(lab, "rhel8host", "ls", "/run").stdout.split() == ["lock"]


def test_a_machine_sees_only_its_own_processes(lab: Lab) -> None:
    said = run(lab, "rhel8host", "ps", "-eo", "comm=").stdout.split()
    assert said == ["catatonit", "ps"]


def test_exec_passes_status_directory_and_kubeconfig(lab: Lab) -> None:
    said = run(lab, "al9host", "sh", "-c", "pwd; echo $KUBECONFIG; exit 7")
    assert said.returncode == 7
    assert said.stdout.split() == [os.getcwd(), str(lab.paths.component_kubeconfig("admin"))]


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        pytest.param(
            ("no-such-program",), 127, "todoku: no-such-program: command not found\n", id="missing"
        ),
        pytest.param(
            ("/etc/hosts",), 126, "todoku: /etc/hosts: Permission denied\n", id="not a program"
        ),
        pytest.param(("sh", "-c", "kill -9 $$"), 137, "", id="killed"),
    ],
)
def test_exec_ends_like_a_shell_would(
    lab: Lab, argv: tuple[str, ...], status: int, message: str
) -> None:
    said = run(lab, "master1", *argv)
    assert (said.returncode, said.stderr) == (status, message)


def test_an_unknown_machine_is_refused_with_those_there_are(lab: Lab) -> None:
    said = run(lab, "mars", "true")
    assert said.returncode == 2
    assert "there are master1, worker1, worker2, rhel8host, al9host" in said.stderr


def test_a_shell_logs_in_at_home(lab: Lab) -> None:
    command = [sys.executable, "-m", "todoku", "shell", "--lab", lab.name, "rhel8host"]
    environment = {**os.environ, "SHELL": "/bin/sh", "HOME": "/root"}
    said = subprocess.run(
        command, input="pwd; hostname; exit 3\n", capture_output=True, text=True, timeout=60,
        env=environment, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stdout.split()) == (3, ["/root", "rhel8host"])


def mac(lab: Lab, host: str) -> str:
    place = lab.host(host).namespaces
    assert place is not None
    with Links(place.net) as links:
        link = links.find("eth0")
        assert link is not None
        return link.mac


def test_a_power_cut_empties_a_machine_and_it_boots_with_the_same_mac(lab: Lab) -> None:
    before = mac(lab, "worker1")
    run(lab, "worker1", "nft", "add", "table", "ip", "mine")
    with subprocess.Popen(
        [sys.executable, "-m", "todoku", "exec", "-L", lab.name, "worker1", "sleep", "60"]
    ) as inside:
        time.sleep(0.5)
        lab.ask("power-off", machine="worker1")
        assert inside.wait(timeout=5) == 137
    assert lab.host("worker1").namespaces is None
    assert not reaches(lab, "rhel8host", "worker1")
    refused = run(lab, "worker1", "true")
    assert refused.returncode == 2
    assert (
        "the power of worker1.internal is off; `todoku node start worker1` boots it"
        in refused.stderr
    )
    lab.ask("power-on", machine="worker1")
    assert mac(lab, "worker1") == before
    assert "table ip mine" not in run(lab, "worker1", "nft", "list", "tables").stdout
    assert reaches(lab, "rhel8host", "worker1", seconds=3)


def test_the_power_of_an_outside_host_can_be_cut_too(lab: Lab) -> None:
    lab.ask("power-off", machine="al9host")
    assert not reaches(lab, "rhel8host", "al9host")
    lab.ask("power-on", machine="al9host")
    assert reaches(lab, "rhel8host", "al9host", seconds=3)


def test_pause_freezes_processes_and_packets_until_start(lab: Lab) -> None:
    script = "import time\nwhile True:\n print(time.monotonic(), flush=True); time.sleep(0.01)"
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "todoku",
            "exec",
            "-L",
            lab.name,
            "worker2",
            sys.executable,
            "-c",
            script,
        ],
        stdout=subprocess.PIPE,
    ) as ticking:
        assert ticking.stdout is not None
        first = ticking.stdout.readline()
        lab.ask("pause", machine="worker2")
        assert not reaches(lab, "rhel8host", "worker2")
        lab.ask("power-on", machine="worker2")
        assert reaches(lab, "rhel8host", "worker2", seconds=3)
        time.sleep(0.1)
        ticking.terminate()
        ticks = [float(line) for line in (first + ticking.stdout.read()).split()[:-1]]
    assert max(after - before for before, after in itertools.pairwise(ticks)) > 0.9


def test_a_cut_cable_heals(lab: Lab) -> None:
    lab.ask("cut", machine="master1")
    assert not reaches(lab, "rhel8host", "master1")
    assert "state DOWN" in run(lab, "master1", "ip", "link", "show", "eth0").stdout
    lab.ask("heal", machine="master1")
    assert reaches(lab, "rhel8host", "master1", seconds=3)


@pytest.mark.parametrize("place", ["gateway", "lan"])
def test_the_switch_and_the_gateway_come_back_with_every_cable_in(lab: Lab, place: str) -> None:
    run_file = state.read_run(lab.paths)
    assert run_file is not None
    run_file.processes[f"place/{place}"].kill()

    def whole() -> bool:
        return all(reaches(lab, source, "gateway") for source in MACHINES)

    deadline = time.monotonic() + 20
    while not whole():
        assert time.monotonic() < deadline, f"the {place} does not come back"


def test_a_machine_whose_init_is_killed_boots_again(lab: Lab) -> None:
    before = lab.host("worker1").namespaces
    assert before is not None
    os.kill(int(before.net.split("/")[2]), 9)
    deadline = time.monotonic() + 10
    while lab.host("worker1").namespaces in (before, None) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lab.host("worker1").namespaces != before
    assert reaches(lab, "rhel8host", "worker1", seconds=3)


@pytest.mark.parametrize("op", ["power-off", "power-on", "pause", "cut", "heal"])
def test_power_of_an_unknown_machine_is_refused(lab: Lab, op: str) -> None:
    with pytest.raises(
        Refused, match=r"no machine 'mars' in this lab; there are master1\.internal,"
    ):
        lab.ask(op, machine="mars")


def test_an_unknown_lab_is_refused(lab_name: Callable[[str], str]) -> None:
    with pytest.raises(LabError, match="there is no lab"):
        lifecycle.ask(lab_name("none"), "status")
