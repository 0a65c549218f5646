"""`reach --watch` while things break: outages with their length, and what their recovery waited for."""

import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e


def test_a_power_cut_is_an_outage_with_a_length_and_a_reason(lab):
    watch = subprocess.Popen(
        [
            sys.executable, "-u", "-m", "todoku", "reach", "--lab", lab.name, "-n", "kube-system",
            "kube-dns", "--from", "worker1", "--at", "clusterip", "--watch",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        for line in watch.stdout:  # the matrix comes first
            if "asking every cell" in line:
                break
        lab.todoku("node", "stop", "worker1")
        lab.todoku("node", "start", "worker1")
        back = next(line for line in watch.stdout if " back after " in line)
        found = re.search(r"worker1 -> ClusterIP:\S+ back after (\d+) ms", back)
        assert found, back
        assert int(found[1]) > 0
    finally:
        watch.send_signal(signal.SIGINT)
        watch.wait(timeout=20)
        assert watch.stdout is not None
        watch.stdout.close()
    assert watch.returncode == 130


def test_a_killed_agent_comes_back_and_nobody_notices(lab):
    before = lab.todoku("status", "-o", "json")
    lab.todoku("fault", "kill", "worker1")
    lab.todoku(
        "reach",
        "-n",
        "kube-system",
        "kube-dns",
        "--from",
        "node/*",
        "--at",
        "clusterip",
        "--exit-code",
    )
    assert lab.todoku("status", "-o", "json") != before


def test_killing_nobody_names_whom_one_can(lab):
    done = lab.run("fault", "kill", "nobody")
    assert done.code == 2
    assert "node-worker1.internal" in done.err
