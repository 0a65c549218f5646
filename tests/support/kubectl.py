"""Stock kubectl for tests: `TODOKU_KUBECTL` (one or more paths, `:` between them), else the one on PATH.

Without one the tests are skipped with the reason; in CI that is a failure.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass

import pytest

VERSIONS = ("1.28", "1.30", "1.33")
"""Kubectls that differ in what they speak: SPDY only, SPDY and WebSocket, WebSocket for everything."""
EVERY_VERSION = tuple(f"1.{minor}" for minor in range(27, 34))


def kubectls(versions: tuple[str, ...] = VERSIONS) -> list[str]:
    """The kubectl programs to test with, [] if there is none.

    Installations that keep several versions side by side name them `kubectl.1.28`; those of `versions` are taken.
    """
    named = [path for path in os.environ.get("TODOKU_KUBECTL", "").split(":") if path]
    found = shutil.which("kubectl")
    if named or found is None:
        return named
    beside = [f"{os.path.realpath(found)}.{version}" for version in versions]
    return [path for path in beside if os.access(path, os.X_OK)] or [found]


def require_kubectl() -> str:
    """The first kubectl; skips the test without one, or fails it in CI."""
    found = kubectls()
    if found:
        return found[0]
    reason = "no kubectl: put one on PATH or name it in TODOKU_KUBECTL"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl against one kubeconfig: `await kubectl("get", "pods", "-o", "wide")`."""

    program: str
    kubeconfig: str
    cache: str

    async def run(self, *args: str, stdin: str | None = None, timeout: float = 60) -> Result:
        """Run it to its end, whatever its status."""
        process = await asyncio.create_subprocess_exec(
            self.program,
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.cache}",
            *args,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout):
                data = stdin.encode() if stdin is not None else None
                out, err = await process.communicate(data)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    async def __call__(self, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run it; fails the test with what it printed unless it succeeds.  Returns its output."""
        result = await self.run(*args, stdin=stdin, timeout=timeout)
        assert result.code == 0, f"kubectl {' '.join(args)}: {result.err or result.out}"
        return result.out
