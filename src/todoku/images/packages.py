"""The distribution's packages as a source of files: resolved, downloaded and unpacked, never installed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from todoku.api.images import ImageError

_RELATIONS = ("--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces",
              "--no-enhances")  # fmt: skip
_APT = ("-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2")
_URI = re.compile(r"'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+)(?: (?P<kind>\w+):(?P<hash>\w+))?")


@dataclass(frozen=True, slots=True)
class Package:
    """One file that apt would download; `hash` is (algorithm, hex) where apt names one it trusts."""

    uri: str
    file: str
    size_bytes: int
    hash: tuple[str, str] | None


class Packages:
    """A cache of downloaded packages in `folder`.  All methods block and raise ImageError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def resolve(self, roots: Sequence[str], without: Set[str]) -> list[Package]:
        """The packages that `roots` need, themselves included, as the distribution offers them now."""
        listing = _run(["apt-cache", "depends", "--recurse", *_RELATIONS, *roots])
        names = closure(parse_depends(listing), roots, without)
        return parse_uris(_run(["apt-get", "download", "--print-uris", *_APT, *names]))

    def fetch(self, packages: Sequence[Package]) -> list[Path]:
        """Download what is not here yet, checked against apt's signed lists; the files, in order."""
        missing = [package for package in packages if not self._has(package)]
        if missing:
            self._download(missing)
        return [self.folder / package.file for package in packages]

    def clear(self) -> int:
        """Empty the cache; the bytes freed."""
        freed = 0
        for path in self.folder.glob("*.deb"):
            freed += path.stat().st_size
            path.unlink()
        return freed

    def _has(self, package: Package) -> bool:
        try:
            return (self.folder / package.file).stat().st_size == package.size_bytes
        except FileNotFoundError:
            return False

    def _download(self, packages: Sequence[Package]) -> None:
        # A folder of our own and a rename per file, so that two labs can download side by side.
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        try:
            names = [package.file.split("_")[0] for package in packages]
            _run(["apt-get", "download", *_APT, *names], cwd=partial)
            for package in packages:
                path = partial / package.file
                _check(package, path)
                os.replace(path, self.folder / package.file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def unpack(files: Iterable[Path], tree: Path) -> None:
    """Unpack packages into `tree`.  No maintainer script runs."""
    for file in files:
        _run(["dpkg-deb", "--extract", str(file), str(tree)])


@dataclass(frozen=True, slots=True)
class Dependency:
    """One `Depends` of a package: any of `alternatives` fulfils it."""

    alternatives: tuple[str, ...]


def parse_depends(listing: str) -> dict[str, list[Dependency]]:
    """The graph that `apt-cache depends --recurse` prints: `|` joins alternatives, `<…>` is virtual."""
    graph: dict[str, list[Dependency]] = {}
    package = ""
    pending: list[str] = []  # alternatives before the last one
    virtual = False
    for line in listing.splitlines():
        if line and not line.startswith(" "):
            package, pending, virtual = line.strip().split(":")[0], [], False
            graph.setdefault(package, [])
            continue
        text = line.strip()
        _, relation, target = text.rpartition("Depends: ")
        if relation:
            more = text.startswith("|")
            virtual = target.startswith("<")
            name = target.strip("<>").split(":")[0]
            names = [*pending, *([] if virtual else [name])]
            pending = names if more else []
            if not more:
                graph[package].append(Dependency(tuple(names)))
        elif virtual and graph.get(package):
            last = graph[package][-1]  # a provider of the virtual package above
            graph[package][-1] = Dependency((*last.alternatives, text.split(":")[0]))
    return graph


def closure(
    graph: Mapping[str, Sequence[Dependency]], roots: Sequence[str], without: Set[str]
) -> list[str]:
    """What must be unpacked for `roots`, sorted; `without` are skipped, as is what only they need."""
    chosen: set[str] = set()
    queue = [root for root in roots if root not in without]
    while queue:
        name = queue.pop()
        if name in chosen:
            continue
        chosen.add(name)
        for dependency in graph.get(name, ()):
            wanted = dependency.alternatives
            if not wanted or any(one in without or one in chosen for one in wanted):
                continue
            queue.append(wanted[0])
    return sorted(chosen)


def parse_uris(listing: str) -> list[Package]:
    """What `apt-get download --print-uris` prints, one package a line."""
    packages = []
    for match in _URI.finditer(listing):
        kind, value = match["kind"], match["hash"]
        checked = (
            (kind.lower(), value) if kind and kind.lower() in hashlib.algorithms_available else None
        )
        packages.append(Package(match["uri"], match["file"], int(match["size"]), checked))
    return packages


def _check(package: Package, path: Path) -> None:
    if not path.exists():
        raise ImageError("ErrImagePull", f"apt-get downloaded no {package.file}")
    if package.hash is None:
        return  # apt has verified the file itself against its signed lists
    kind, expected = package.hash
    if hashlib.new(kind, path.read_bytes()).hexdigest() != expected:
        raise ImageError(
            "ErrImagePull", f"{package.file} does not have the {kind} that apt expects"
        )


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )  # fmt: skip
    except FileNotFoundError as error:
        problem = f"{argv[0]} is not installed, and recipes need it"
        raise ImageError("ErrImagePull", problem) from error
    if done.returncode != 0:
        text = done.stderr.strip() or f"exit status {done.returncode}"
        raise ImageError("ErrImagePull", f"{argv[0]}: {text}")
    return done.stdout
