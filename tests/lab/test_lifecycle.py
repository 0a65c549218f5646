"""From nothing to a lab and back: nothing is left, whatever is killed, and the machine never changes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.traces import machine, traces
from todoku.lab import LabError, labfile, lifecycle, state, sweep
from todoku.lab.lab import open as open_lab
from todoku.lab.paths import Paths
from todoku.linux.process import ProcessId

pytestmark = pytest.mark.kernel


@pytest.fixture
def name(lab_name: Callable[[str], str]) -> Iterator[str]:
    chosen = lab_name("l")
    try:
        yield chosen
    finally:
        lifecycle.down(chosen)


def up(name: str) -> None:
    lifecycle.up(name, None, wait=False)


def process(name: str, which: str) -> ProcessId:
    recorded = state.read_run(Paths(name))
    assert recorded is not None
    return recorded.processes[which]


def api_answers(name: str) -> bool:
    lasting = state.read_state(Paths(name))
    assert lasting is not None
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", lasting.port), 1):
        return True
    return False


def test_a_question_that_died_with_the_supervisor_is_put_to_the_next(name: str) -> None:
    up(name)
    dying = process(name, sweep.SUPERVISOR)
    os.kill(dying.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lifecycle.ask, name, "status")
        # In the queue of the one that stands still: who looked whether it listens, and the question.
        while _sockets_at(Paths(name).supervisor_socket) < 3:
            time.sleep(0.01)
        os.kill(dying.pid, signal.SIGKILL)
        assert answer.result(timeout=20)["children"]
    assert process(name, sweep.SUPERVISOR) != dying


def _sockets_at(path: Path) -> int:
    """The listener and the connections that it has not taken yet (proc(5) net/unix)."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(f" {path}") for line in lines)


def test_the_machine_is_the_same_before_during_and_after(name: str) -> None:
    before = machine()
    up(name)
    during = machine()
    lifecycle.down(name)
    assert during == before
    assert machine() == before


def test_down_leaves_nothing(name: str) -> None:
    up(name)
    assert traces(name)
    assert lifecycle.down(name)
    assert traces(name) == []


def test_down_without_a_lab_says_so_and_changes_nothing(name: str) -> None:
    assert not lifecycle.down(name)
    assert traces(name) == []


def test_up_twice_is_the_same_lab(name: str) -> None:
    up(name)
    first = process(name, sweep.LAB)
    up(name)
    assert process(name, sweep.LAB) == first


def test_stop_keeps_port_certificates_and_store(name: str) -> None:
    up(name)
    paths = Paths(name)
    before = paths.kubeconfig.read_bytes(), (paths.pki / "ca.crt").read_bytes()
    assert lifecycle.stop(name)
    assert not lifecycle.running(name)
    assert not paths.run.exists()
    assert not lifecycle.stop(name)  # stopped already
    up(name)
    assert (paths.kubeconfig.read_bytes(), (paths.pki / "ca.crt").read_bytes()) == before


def test_another_topology_for_a_lab_that_exists_is_refused(name: str) -> None:
    up(name)
    other = labfile.parse("gateway: reject\n", name=name)
    with pytest.raises(LabError, match="exists with another topology; `todoku down` deletes it"):
        lifecycle.up(name, other, wait=False)


def test_a_taken_port_is_told_before_anything_is_made(name: str) -> None:
    up(name)
    lifecycle.stop(name)
    lasting = state.read_state(Paths(name))
    assert lasting is not None
    with socket.create_server(("127.0.0.1", lasting.port)):
        with pytest.raises(LabError, match=f"port {lasting.port} of 127.0.0.1.* is taken"):
            up(name)
        assert not lifecycle.running(name)


def test_two_labs_with_the_same_addresses_live_side_by_side(
    name: str, lab_name: Callable[[str], str]
) -> None:
    other = lab_name("o")
    up(name)
    try:
        up(other)
        for lab in (name, other):
            said = subprocess.run(
                [sys.executable, "-m", "todoku", "exec", "-L", lab, "al9host", "ping", "-c1", "-W20", "master1"],
                capture_output=True, check=False,
            )  # fmt: skip
            assert said.returncode == 0
        ports = {lasting.port for one in (name, other) if (lasting := state.read_state(Paths(one)))}
        assert len(ports) == 2
        lifecycle.down(other)
        assert lifecycle.running(name)
    finally:
        lifecycle.down(other)


@pytest.mark.parametrize("victim", [sweep.SUPERVISOR, sweep.FORK_SERVER])
def test_the_lab_outlives_its_keepers(name: str, victim: str) -> None:
    up(name)
    wait_for(lambda: "child/images" in recorded(name))
    images, lab = process(name, "child/images"), process(name, sweep.LAB)
    process(name, victim).kill()
    assert lab.alive()
    assert images.alive()
    assert lifecycle.ask(name, "status")["children"]["images"]["pid"] == images.pid


def recorded(name: str) -> dict[str, ProcessId]:
    run = state.read_run(Paths(name))
    return run.processes if run else {}


def test_a_successor_serves_on_the_sockets_of_the_one_that_died(name: str) -> None:
    up(name)
    wait_for(lambda: "child/apiserver" in recorded(name))
    process(name, sweep.SUPERVISOR).kill()
    lifecycle.ask(name, "status")
    server = process(name, "child/apiserver")
    server.kill()
    assert api_answers(name)  # the socket listens although nobody serves it
    wait_for(lambda: recorded(name).get("child/apiserver") not in (None, server))
    assert api_answers(name)


@pytest.mark.parametrize("child", ["apiserver", "images"])
def test_a_killed_child_returns(name: str, child: str) -> None:
    up(name)
    wait_for(lambda: f"child/{child}" in recorded(name))
    victim = process(name, f"child/{child}")
    victim.kill()
    wait_for(lambda: recorded(name).get(f"child/{child}") not in (None, victim))


VICTIMS = {
    "the lab's init": [sweep.LAB],
    "supervisor and fork server": [sweep.SUPERVISOR, sweep.FORK_SERVER],
    "supervisor, then the lab's init": [sweep.SUPERVISOR, sweep.LAB],
    "everything": [],
}


@pytest.mark.parametrize("again", [lifecycle.down, up], ids=["down", "up"])
@pytest.mark.parametrize("victims", VICTIMS.values(), ids=VICTIMS.keys())
def test_after_kill_9_the_next_command_cleans_up(
    name: str, victims: list[str], again: Callable[[str], object]
) -> None:
    up(name)
    everyone = recorded(name)
    for victim in victims or everyone:
        everyone[victim].kill()
    again(name)
    if again is up:
        assert lifecycle.ask(name, "status")["machines"]["worker1.internal"]["power"] == "on"
        lifecycle.down(name)
    assert traces(name) == []


def test_a_lab_that_lost_its_records_is_still_swept(name: str) -> None:
    up(name)
    Paths(name).run_file.unlink()
    lifecycle.down(name)
    assert traces(name) == []


@pytest.mark.parametrize("module", [sweep.SUPERVISOR_MODULE, sweep.FORK_SERVER_MODULE])
def test_what_was_only_about_to_begin_is_swept_too(name: str, module: str) -> None:
    """What a lab's processes have forked looks like them until it executes something else; nothing is recorded of it."""
    sleeping = [sys.executable, "-c", "import signal; signal.pause()", module, name]
    with subprocess.Popen(sleeping) as process:
        lifecycle.down(name)
        assert process.wait(timeout=30) == -signal.SIGKILL


def test_after_a_reboot_the_lab_is_stopped_and_starts_again(name: str) -> None:
    up(name)
    port = open_lab(name).state.port
    for one in recorded(name).values():
        one.kill()
    shutil.rmtree(Paths(name).run)  # /run is empty after a reboot
    assert not lifecycle.running(name)
    up(name)
    assert open_lab(name).state.port == port
    assert lifecycle.running(name)


def test_nodes_see_a_shared_folder_where_a_host_path_looks(name: str, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("from the real machine")
    text = f"shares: [{{path: {tmp_path}/shared, at: /srv/data, readOnly: true}}]\n"
    lifecycle.up(name, labfile.parse(text, name=name), wait=False)
    seen = Paths(name).node("worker1.internal") / "srv/data/file"
    inside = ["exec", "-L", name, "worker1", "--", "sh", "-c", f"cat {seen}; echo x > {seen}"]
    said = subprocess.run(
        [sys.executable, "-m", "todoku", *inside], capture_output=True, text=True, check=False
    )
    assert said.stdout == "from the real machine"
    assert "Read-only file system" in said.stderr
    assert not seen.exists()  # only the node sees it


def test_a_shared_folder_that_is_not_there_is_refused(name: str) -> None:
    topology = labfile.parse("shares: [{path: /nowhere/at/all, at: /srv}]\n", name=name)
    with pytest.raises(LabError, match="there is no folder /nowhere/at/all"):
        lifecycle.up(name, topology, wait=False)
    assert traces(name) == []


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_at_any_moment_nothing_is_half_made(
    name: str, seconds: float, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "todoku", "up", "--lab", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as command:
        time.sleep(seconds)
        command.send_signal(number)
        _, said = command.communicate(timeout=30)
        status = command.returncode
    if number == signal.SIGKILL:
        wait_for(lambda: not lifecycle.running(name) or was_ready(name))
        lifecycle.down(name)
    elif status != 0:
        # -number before the command line had begun, or Python's own complaint before Python had.  -SIGINT, which a shell
        # calls 130 too, where the interruption met text being executed (a dataclass being made): `python -m` ends so.
        assert status in (130, -number, -signal.SIGINT) or any(one in said for one in NOT_BEGUN)
    else:
        lifecycle.down(name)  # it was up before the signal came
    assert traces(name) == []


NOT_BEGUN = (b"Fatal Python error: init_", b"Could not import runpy module")


def was_ready(name: str) -> bool:
    """Whether the lab came up before the signal, or before the supervisor heard of it."""
    lasting = state.read_state(Paths(name))
    return lasting is not None and lasting.ready


def test_a_start_that_is_interrupted_leaves_the_lab_stopped(name: str) -> None:
    up(name)
    lifecycle.stop(name)
    port = open_lab(name).state.port
    with subprocess.Popen(
        [sys.executable, "-m", "todoku", "start", "--lab", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        wait_for(lambda: lifecycle.running(name))
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=30) == 130
    assert not lifecycle.running(name)
    assert open_lab(name).state.port == port
    assert not Paths(name).run.exists()


def wait_for(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_bad_lab_file_changes_nothing(name: str, tmp_path: os.PathLike[str]) -> None:
    bad = os.path.join(tmp_path, "lab.yaml")
    with open(bad, "w") as file:
        file.write(f"name: {name}\npodCIDR: 10.96.0.0/16\n")
    said = subprocess.run(
        [sys.executable, "-m", "todoku", "up", "-f", bad],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert f"{bad}:2: serviceCIDR: 10.96.0.0/12 overlaps podCIDR" in said.stderr
    assert traces(name) == []


def test_open_tells_hosts_kubeconfig_and_state(name: str) -> None:
    up(name)
    lab = open_lab(name)
    assert [(one.name, one.kind, one.address) for one in lab.hosts()] == [
        ("master1.internal", "node", "192.168.11.131"),
        ("worker1.internal", "node", "192.168.11.132"),
        ("worker2.internal", "node", "192.168.11.133"),
        ("rhel8host", "host", "192.168.11.201"),
        ("al9host", "host", "192.168.11.202"),
    ]
    assert lab.kubeconfig.exists()
    assert lab.state.port


@pytest.mark.parametrize("ending", ["stop", "down"])
def test_a_paused_machine_does_not_keep_its_lab_from_ending(name: str, ending: str) -> None:
    lifecycle.up(name, None, wait=False)
    lifecycle.ask(name, "pause", machine="worker1.internal")
    began = time.monotonic()
    getattr(lifecycle, ending)(name)
    assert not lifecycle.running(name)
    assert time.monotonic() - began < 10  # not until somebody gave up waiting


def test_a_lab_of_which_everything_was_killed_is_not_running(name: str) -> None:
    lifecycle.up(name, None, wait=False)
    found = state.read_run(Paths(name))
    assert found is not None
    for one in found.processes.values():
        one.kill()
    assert not lifecycle.running(name)
    lifecycle.up(name, None, wait=False)
    assert lifecycle.running(name)
