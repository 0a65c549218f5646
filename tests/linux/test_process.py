"""Processes found again, and never a stranger's."""

import os
import signal
import subprocess

from todoku.linux.process import ProcessId, parent, pids_in, start_time, state


def test_a_recorded_process_is_found_again_and_killed() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        recorded = ProcessId.of(child.pid)
        assert recorded is not None
        assert recorded.alive()
        assert recorded.kill()
        assert not recorded.alive()  # a zombie until its parent waits, and not alive
        assert child.wait() == -signal.SIGKILL


def test_a_reused_id_is_never_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        stale = ProcessId(child.pid, 1)
        assert not stale.alive()
        assert stale.kill()
        assert child.poll() is None
        child.kill()


def test_a_process_that_is_gone_has_no_start_time_state_or_parent() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert (start_time(child.pid), state(child.pid), parent(child.pid)) == (None, None, None)
    assert ProcessId.of(child.pid) is None


def test_processes_are_listed_by_namespace() -> None:
    assert os.getpid() in pids_in("net", os.stat("/proc/self/ns/net").st_ino)
