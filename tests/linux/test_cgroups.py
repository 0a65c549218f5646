import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from todoku.linux.cgroups import Cgroups, Limits, hierarchies
from todoku.linux.mounts import Mounted


def v1(name):
    return Mounted(f"/sys/fs/cgroup/{name}", "cgroup", "rw", f"rw,{name}")


V2 = Mounted("/sys/fs/cgroup/unified", "cgroup2", "rw", "rw")
PURE = Mounted("/sys/fs/cgroup", "cgroup2", "rw", "rw")
COVER = Mounted("/sys/fs/cgroup/unified", "tmpfs", "rw", "rw")


@pytest.mark.parametrize(("mounts", "version"), [
    ([v1("cpu"), v1("memory")], "v1"), ([v1("cpu"), V2], "hybrid"), ([v1("cpu"), V2, COVER], "v1"), ([PURE], "v2"), ([], ""),
], ids=["version 1", "hybrid", "covered", "version 2", "none"])  # fmt: skip
def test_which_hierarchies_there_are(mounts, version):
    assert Cgroups(mounts).version == version


def test_controllers_that_share_a_mount_are_found_there():
    both = Mounted("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw", "rw,cpu,cpuacct")
    assert hierarchies([both])[1] == {"cpu": Path(both.target), "cpuacct": Path(both.target)}


@pytest.fixture
def group():
    cgroups = Cgroups()
    if not cgroups.version:
        pytest.skip("no control groups here")
    name = f"/todoku-test-{os.getpid()}"
    yield name
    cgroups.kill(name)
    assert cgroups.delete(name)


@pytest.mark.kernel
def test_a_group_limits_counts_freezes_and_kills_its_processes(group):
    cgroups = Cgroups()
    inner = f"{group}/pod"
    cgroups.create(inner, controllers=("cpu", "memory", "pids", "freezer"))
    assert (
        cgroups.limit(
            inner,
            Limits(cpu_shares=200, cpu_quota_microseconds=50_000, memory_bytes=64 << 20, pids=20),
        )
        == []
    )
    with subprocess.Popen(["sleep", "100"]) as process:
        cgroups.add(inner, process.pid)
        assert cgroups.pids(group) == {process.pid}
        with contextlib.suppress(KeyError):
            cgroups.freeze(inner)
        assert cgroups.kill(inner)
        assert process.wait() == -9
    assert cgroups.pids(group) == set()


def test_a_limit_without_its_controller_is_named(tmp_path):
    mounts = [Mounted(str(tmp_path), "cgroup", "rw", "rw,cpu")]
    (tmp_path / "x").mkdir()
    refused = Cgroups(mounts).limit("/x", Limits(cpu_shares=2, memory_bytes=1))
    assert refused == ["memory.limit_in_bytes"]
