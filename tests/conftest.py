"""What every test shares: tests marked `kernel` or `e2e` need root and network namespaces, or say why they are skipped."""

import ctypes
import os
import signal

import pytest

_CLONE_NEWNET = 0x40000000


def pytest_configure() -> None:
    """Hear Ctrl-C again, and let what the tests start hear it: a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip kernel tests where they cannot run; in CI they fail instead, because nobody reads skips there."""
    if os.environ.get("CI") or not (reason := _missing_privilege()):
        return
    for item in items:
        if item.get_closest_marker("kernel") or item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _missing_privilege() -> str:
    if os.geteuid() != 0:
        return "needs root"
    child = os.fork()
    if child == 0:
        os._exit(0 if ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0 else 1)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else "may not make network namespaces here"
