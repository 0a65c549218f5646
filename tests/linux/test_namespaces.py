"""Entering namespaces and coming back."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from todoku.linux import namespaces
from todoku.linux.namespaces import Namespaces, enter_argv, inside_net, socket_in, spawn_in


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "net")
    namespaces.create_net(path)
    yield path
    namespaces.unpin(path)
    assert not os.path.exists(path)


def own() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.mark.kernel
def test_a_pinned_network_namespace_is_a_new_one_and_the_caller_stays_home(netns: str) -> None:
    assert os.stat(netns).st_ino != own()


@pytest.mark.kernel
def test_a_socket_belongs_to_the_namespace_and_the_thread_is_back_home(netns: str) -> None:
    home = own()
    with socket_in(netns, socket.AF_INET, socket.SOCK_DGRAM) as inside:
        assert own() == home
        # A new namespace has no route, not even a loopback that is up.
        with pytest.raises(OSError, match="unreachable"):
            inside.connect(("127.0.0.1", 9))


@pytest.mark.kernel
def test_the_thread_comes_home_after_an_error(netns: str) -> None:
    home = own()
    with pytest.raises(RuntimeError), inside_net(netns):  # noqa: PT012
        assert own() == os.stat(netns).st_ino
        raise RuntimeError
    assert own() == home


@pytest.mark.kernel
def test_a_program_runs_inside_although_other_threads_run(netns: str) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        process = spawn_in(
            Namespaces(net=netns), ["readlink", "/proc/self/ns/net"], stdout=subprocess.PIPE
        )
        output, _ = process.communicate()
    finally:
        done.set()
        other.join()
    assert output.decode().strip() == f"net:[{os.stat(netns).st_ino}]"


@pytest.mark.kernel
def test_a_thread_may_change_its_mounts_without_touching_the_process() -> None:
    def elsewhere() -> int:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        return os.stat("/proc/thread-self/ns/mnt").st_ino

    home = os.stat("/proc/self/ns/mnt").st_ino
    assert namespaces.in_thread(elsewhere) != home
    assert os.stat("/proc/self/ns/mnt").st_ino == home


def test_an_error_in_the_thread_reaches_the_caller() -> None:
    def fail() -> None:
        raise LookupError("inside")

    if os.geteuid() == 0:
        with pytest.raises(LookupError, match="inside"):
            namespaces.in_thread(fail)


def test_the_mount_namespace_is_entered_last_because_paths_change_with_it() -> None:
    place = Namespaces(mnt="/m", net="/n", uts="/u", pid="/p", ipc="/i")
    assert list(place.paths()) == ["pid", "ipc", "uts", "net", "mnt"]


@pytest.mark.parametrize(
    ("place", "cwd", "argv"),
    [
        pytest.param(Namespaces(), "", ["true"], id="nowhere else"),
        pytest.param(
            Namespaces(net="/n"), "", ["nsenter", "--net=/n", "--", "true"], id="net only"
        ),
        pytest.param(
            Namespaces(net="/n", mnt="/m"),
            "/root",
            ["nsenter", "--net=/n", "--mount=/m", "--wdns=/root", "--", "true"],
            id="with a working directory",
        ),
    ],
)
def test_the_command_line_of_nsenter(place: Namespaces, cwd: str, argv: list[str]) -> None:
    assert enter_argv(place, ["true"], cwd=cwd) == argv
