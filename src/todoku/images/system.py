"""The system image's tree: this Python and the rooms that run in pods, nothing else of this machine.

Files are hard links to the interpreter, the standard library, the packages and the shared libraries that
are already here (copies where the store lies on another file system), so pods share their pages with the
lab's own processes.  Directories are made anew: where the originals live, and who may enter there, does not
matter inside.  No link is ever changed: its file is the machine's own.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.metadata
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import todoku

DISTRIBUTIONS = (
    "aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "cffi", "cryptography", "dnslib", "frozenlist", "idna",
    "joserfc", "msgspec", "multidict", "propcache", "pycparser", "pyroute2", "PyYAML", "typing_extensions",
    "uvloop", "yarl",
)  # fmt: skip
ROOMS = (
    "__init__.py",
    "__main__.py",
    "py.typed",
    "api",
    "aio",
    "client",
    "linux",
    "wire",
    "dns",
    "loadbalancer",
)

_NOT_IN_PODS = frozenset({
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "site-packages",
    "dist-packages", "distutils", "venv",
})  # fmt: skip
_SUFFIX = f".{sys.implementation.cache_tag}.pyc"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


PYTHON, ROOMS_OF_PODS = "python", "rooms"  # the two layers: the second one changes with every edit


def fingerprint(layer: str) -> str:
    """Changes whenever the layer would: with the interpreter, a package's version, or a source of a room."""
    known = hashlib.sha256(f"{layer} {sys.version} {sys.base_prefix}".encode())
    if layer == PYTHON:
        for name in DISTRIBUTIONS:
            known.update(f"{name} {importlib.metadata.version(name)}\n".encode())
        return known.hexdigest()
    for path in _sources():
        known.update(f"{path.relative_to(_project())}\n".encode())
        known.update(path.read_bytes())
    return known.hexdigest()


def build(tree: Path, layer: str) -> None:
    """Fill the empty directory `tree`.  Blocks for up to a second."""
    if layer == ROOMS_OF_PODS:
        _rooms(tree)
        return
    binaries = [_interpreter(tree), *_standard_library(tree), *_packages(tree)]
    with _loader_listing(binaries) as listing:  # it works while this compiles
        _compile_packages(tree)
        libraries = sorted(_libraries(listing.communicate()[0]))
    # Beside libc, where the loader looks without a cache: an interpreter's own folder may be anywhere.
    beside = next(Path(one).parent for one in libraries if Path(one).name.startswith("libc.so"))
    for library in libraries:
        loader = Path(library).name.startswith("ld-")
        _place(
            Path(library), _inside(tree, Path(library) if loader else beside / Path(library).name)
        )


def _inside(tree: Path, path: Path) -> Path:
    return tree / path.relative_to("/")


def _interpreter(tree: Path) -> Path:
    executable = Path(os.path.realpath(sys.executable))
    _place(executable, tree / "usr/local/bin" / _VERSION)
    (tree / "usr/local/bin/python3").symlink_to(_VERSION)
    (tree / "usr/local/bin/python").symlink_to(_VERSION)
    return executable


def _standard_library(tree: Path) -> Iterator[Path]:
    target = tree / "usr/local/lib" / _VERSION
    for name in ("stdlib", "platstdlib"):
        source = Path(sysconfig.get_path(name, vars={"base": sys.base_prefix, "platbase": sys.base_prefix,
                                                     "installed_base": sys.base_prefix,
                                                     "installed_platbase": sys.base_prefix}))  # fmt: skip
        yield from _link_tree(source, target)


def _packages(tree: Path) -> Iterator[Path]:
    target = tree / "opt/todoku"
    for name in DISTRIBUTIONS:
        for file in importlib.metadata.files(name) or ():
            if ".." in file.parts or not _wanted(file.parts):
                continue
            source = Path(str(file.locate()))
            if source.is_file():
                _place(source, target / file)
                if source.suffix == ".so":
                    yield source
                elif source.suffix == ".py":
                    _place_compiled(source, target / file)


def _compile_packages(tree: Path) -> None:
    """Compile what came uncompiled, or was compiled from another source than this."""
    compileall.compile_dir(
        tree / "opt/todoku",
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _place_compiled(source: Path, target: Path) -> None:
    """An installer that compiles need not list what it made; compiling all of it anew takes seconds."""
    compiled = Path("__pycache__", f"{source.stem}{_SUFFIX}")
    if (source.parent / compiled).is_file():
        _place(source.parent / compiled, target.parent / compiled)


def _rooms(tree: Path) -> None:
    target = tree / "opt/todoku/todoku"
    for source in _sources():
        path = target / source.relative_to(_project())
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)  # not a link: a pod keeps the code it started with
    compileall.compile_dir(
        target, quiet=2, force=True, stripdir=str(tree),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def _project() -> Path:
    return Path(todoku.__file__).parent


def _sources() -> Iterator[Path]:
    for room in ROOMS:
        path = _project() / room
        if path.is_file():
            yield path
        for file in sorted(path.rglob("*")) if path.is_dir() else ():
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def _link_tree(source: Path, target: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if _wanted((name,))]
        inside = Path(folder).relative_to(source)
        for name in files:
            path = Path(folder, name)
            if name.endswith(".pyc") and not name.endswith(_SUFFIX):
                continue  # of another interpreter or optimisation level
            if (
                name.endswith((".a", ".o"))
                or name.startswith("_tkinter")
                or (target / inside / name).exists()
            ):
                continue
            _place(path, target / inside / name)
            if path.suffix == ".so":
                yield path


def _wanted(parts: tuple[str, ...]) -> bool:
    return not any(part in _NOT_IN_PODS or part.startswith("config-") for part in parts)


def _loader_listing(binaries: Iterable[Path]) -> subprocess.Popen[str]:
    """What the dynamic loader finds for `binaries` on this machine, being found.  ldd(1)."""
    return subprocess.Popen(
        ["ldd", *(str(binary) for binary in binaries)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _libraries(listing: str) -> set[str]:
    """The shared libraries that a listing of ldd(1) names."""
    return {match for line in listing.splitlines() for match in _LIBRARY.findall(line)}


def _place(source: Path, target: Path) -> None:
    """Hard link, or copy across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
