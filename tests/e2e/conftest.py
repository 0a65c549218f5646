"""One lab for each module, started and stopped by the command line as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import todoku.lab
from tests.support.kubectl import kubectls

MANIFESTS = Path(todoku.__file__).parent / "manifests"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class RunningLab:
    name: str
    cache: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> str:
        return str(todoku.lab.open(self.name).kubeconfig)

    def run(self, *words: str, timeout: float = 120, env: dict[str, str] | None = None) -> Done:
        """`todoku WORDS` on this lab, whatever its status."""
        return _run(
            [sys.executable, "-m", "todoku", *words],
            timeout,
            {**os.environ, "TODOKU_LAB": self.name, **(env or {})},
        )

    def todoku(self, *words: str, timeout: float = 120) -> str:
        """`todoku WORDS`, which must succeed; its output."""
        done = self.run(*words, timeout=timeout)
        assert done.code == 0, f"todoku {' '.join(words)}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def kubectl(self, program: str, *words: str, stdin: str = "", timeout: float = 60) -> Done:
        """Stock kubectl on the lab."""
        cache = self.cache / Path(program).name
        argv = [program, "--kubeconfig", self.kubeconfig, "--cache-dir", str(cache), *words]
        return _run(argv, timeout, dict(os.environ), stdin)


def _run(argv: list[str], timeout: float, env: dict[str, str], stdin: str = "") -> Done:
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=env
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    name = f"e2e-{os.getpid()}"
    running = RunningLab(name, tmp_path_factory.mktemp("kubectl"))
    try:
        running.todoku("up")
        yield running
    finally:
        running.run("down")


@pytest.fixture(params=kubectls() or [""], ids=lambda path: Path(path).name if path else "none")
def kubectl(request: pytest.FixtureRequest) -> str:
    """Each stock kubectl there is; skipped with the reason without one, a failure in CI."""
    if not request.param:
        reason = "no kubectl: put one on PATH or name it in TODOKU_KUBECTL"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return str(request.param)
