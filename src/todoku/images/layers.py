"""Trees made deterministic: pruned, completed with a recipe's own files, and named by their diff id.

The same packages and recipe give the same diff id on every machine: entries are sorted, owners are root,
times of directories and of our own files are the epoch (OCI image-spec, layer.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from todoku.api.images import ImageConfig
from todoku.images.recipes import PRUNED, Layer

Json = dict[str, Any]


def finish(tree: Path, layer: Layer) -> None:
    """Prune an unpacked tree and add what the recipe writes itself.  `tree` becomes the layer."""
    _keep(tree, layer.keep)
    for path in PRUNED:
        shutil.rmtree(tree / path, ignore_errors=True)
    for path, mode in layer.directories:
        (tree / path).mkdir(parents=True, exist_ok=True)
        (tree / path).chmod(mode)
    for path, text in layer.files:
        _write(tree / path, text)
    for path, target in layer.links:
        _link(tree / path, target)
    if layer.applets:
        _link_applets(tree, layer.applets)
    _merge_usr(tree)
    _reset_times(tree)


class _Hash:
    """A file object that only hashes."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return len(data)


def diff_id(tree: Path) -> tuple[str, int]:
    """The `sha256:…` of the tree's uncompressed tar stream, and that stream's size in bytes."""
    sink = _Hash()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path in _entries(tree):
            info = archive.gettarinfo(path, arcname=str(path.relative_to(tree)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            if info.isreg():
                with open(path, "rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    return f"sha256:{sink.sha256.hexdigest()}", sink.size


def config_document(config: ImageConfig, diff_ids: Sequence[str], about: str) -> bytes:
    """The OCI image configuration; its sha256 is the image id (OCI image-spec, config.md)."""
    inner: Json = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Env": list(config.env),
        "WorkingDir": config.working_dir,
        "User": config.user,
        "StopSignal": config.stop_signal,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Labels": {"io.todoku.recipe": about},
    }
    document: Json = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "config": {key: value for key, value in inner.items() if value},
        "created": "1970-01-01T00:00:00Z",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }  # fmt: skip
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def config_of(document: Json) -> ImageConfig:
    """The part of an OCI (or Docker) image configuration that starting a container needs."""
    inner: Json = document.get("config") or {}
    return ImageConfig(
        entrypoint=tuple(inner.get("Entrypoint") or ()),
        cmd=tuple(inner.get("Cmd") or ()),
        env=tuple(inner.get("Env") or ()),
        working_dir=inner.get("WorkingDir") or "",
        user=inner.get("User") or "",
        stop_signal=inner.get("StopSignal") or "",
        exposed_ports=tuple(inner.get("ExposedPorts") or ()),
        volumes=tuple(inner.get("Volumes") or ()),
    )


def _entries(tree: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(tree):
        names.sort()
        for name in sorted([*files, *names]):
            yield Path(folder, name)


def _keep(tree: Path, kept: Sequence[str]) -> None:
    if not kept:
        return
    wanted = {tree / path for path in kept}
    for folder, names, files in os.walk(tree, topdown=False):
        for name in [*files, *(name for name in names if Path(folder, name).is_symlink())]:
            if Path(folder, name) not in wanted:
                Path(folder, name).unlink()
        if Path(folder) != tree and not os.listdir(folder):
            os.rmdir(folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755 if text.startswith("#!") else 0o644)
    os.utime(path, (0, 0))


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _link_applets(tree: Path, busybox: str) -> None:
    listing = subprocess.run([tree / busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        path = (tree / busybox).parent / applet
        if not path.exists():
            os.link(tree / busybox, path)
    _link(tree / "usr/bin/env", f"/{Path(busybox).parent}/env")


def _merge_usr(tree: Path) -> None:
    """Move /bin, /sbin and /lib into /usr, as the distribution's own installation is laid out.

    Packages of one layer may carry a file in either place; the link lets both names work.
    """
    for name in ("bin", "sbin", "lib", "lib64"):
        top, merged = tree / name, tree / "usr" / name
        if top.is_symlink() or not (top.exists() or merged.exists()):
            continue
        if top.exists():
            shutil.copytree(top, merged, symlinks=True, dirs_exist_ok=True, copy_function=_move)
            shutil.rmtree(top)
        top.symlink_to(f"usr/{name}")


def _move(source: str, target: str) -> str:
    os.replace(source, target)
    return target


def _reset_times(tree: Path) -> None:
    for folder, names, files in os.walk(tree):
        for name in [*names, *files]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                os.utime(path, (0, 0), follow_symlinks=False)
    os.utime(tree, (0, 0))
    tree.chmod(0o755)
