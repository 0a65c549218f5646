"""Volumes on disk: made, filled, refreshed and removed.  Blocks; call it in a thread.

    ROOT/pods/UID/volumes/kubernetes.io~<kind>/<name>     as upstream lays them out
    ROOT/pods/UID/volume-subpaths/…                       bind mounts of sub-paths, opened without a way out

Payload volumes change atomically: a new timestamped folder, then one rename of `..data` (upstream's
AtomicWriter), so a reader sees all old files or all new ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.kubelet.environment import ConfigError, expand
from todoku.kubelet.oci import Mount
from todoku.kubelet.payload import PAYLOAD_SOURCES, File
from todoku.linux import mounts

_ON_TMPFS = ("secret", "projected", "downwardAPI")
_FOLDER = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "downwardAPI": "downward-api",
    "projected": "projected",
    "hostPath": "host-path",
}


def kind_of(volume: Object) -> str:
    """The volume's source, as `emptyDir`."""
    return next(
        (key for key, value in volume.items() if key != "name" and value is not None), "emptyDir"
    )


class Volumes:
    """The volumes of one node: `root` is the kubelet's directory, `host_root` what hostPath starts at."""

    def __init__(self, root: Path, host_root: Path) -> None:
        self._root = root
        self._host_root = host_root

    def pod_folder(self, uid: str) -> Path:
        return self._root / "pods" / uid

    def folder(self, uid: str, volume: Object) -> Path:
        kind = kind_of(volume)
        name = f"kubernetes.io~{_FOLDER.get(kind, kind)}"
        return self.pod_folder(uid) / "volumes" / name / str(volume["name"])

    def set_up(self, pod: Object, volume: Object) -> None:
        """Make one volume that has no payload.  Idempotent.  Raises ConfigError or OSError."""
        kind = kind_of(volume)
        if kind == "emptyDir":
            self._empty_dir(pod, volume)
        elif kind == "hostPath":
            self._host_path(pod, volume)
        elif kind not in PAYLOAD_SOURCES:
            raise ConfigError(f"no volume plugin matched: {kind}")

    def fill(self, pod: Object, volume: Object, files: Mapping[str, File]) -> bool:
        """Make or refresh a payload volume; True if its contents changed."""
        folder = self.folder(pod["metadata"]["uid"], volume)
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            if kind_of(volume) in _ON_TMPFS:  # nothing secret reaches the disk
                mounts.tmpfs(str(folder), mode=0o1777)
        context = pod["spec"].get("securityContext") or {}
        return write_atomically(folder, files, fs_group=context.get("fsGroup"))

    def mount_for(
        self, pod: Object, mount: Object, variables: Mapping[str, str], index: int, container: str
    ) -> Mount:
        """The bind mount of one volumeMount.  Raises ConfigError or OSError."""
        volume = next(
            (one for one in pod["spec"].get("volumes") or () if one["name"] == mount["name"]), None
        )
        if volume is None:
            raise ConfigError(f'volume "{mount["name"]}" is not in the pod')
        uid = pod["metadata"]["uid"]
        source = self.folder(uid, volume)
        inside = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
        if inside:
            target = (
                self.pod_folder(uid) / "volume-subpaths" / volume["name"] / container / str(index)
            )
            source = self._sub_path(source, inside, target)
        read_only = bool(mount.get("readOnly")) or kind_of(volume) in PAYLOAD_SOURCES
        return Mount(
            str(source), mount["mountPath"], read_only, mount.get("mountPropagation") or "None"
        )

    def drop_sub_paths(self, uid: str, container: str) -> None:
        """Unmount a container's sub-paths before it starts again: the volume may have changed."""
        for folder in (self.pod_folder(uid) / "volume-subpaths").glob(f"*/{container}/*"):
            _unmount_all(folder)
            _remove_file_or_folder(folder)

    def tear_down(self, uid: str) -> None:
        """Unmount and remove everything of a pod.  Idempotent."""
        folder = self.pod_folder(uid)
        if not folder.exists():
            return
        mounts.umount_all(f"/{folder.parent.name}/{uid}/")
        left = [one.target for one in mounts.mounted() if one.target.startswith(f"{folder}/")]
        if left:
            raise OSError(f"{left[0]} is still mounted")  # never delete through a mount
        shutil.rmtree(folder)

    def _empty_dir(self, pod: Object, volume: Object) -> None:
        folder = self.folder(pod["metadata"]["uid"], volume)
        if folder.exists():
            return
        folder.mkdir(parents=True)
        source = volume.get("emptyDir") or {}
        if source.get("medium") == "Memory":
            limit = source.get("sizeLimit")
            mounts.tmpfs(
                str(folder), size_bytes=quantities.parse(limit).units() if limit else 0, mode=0o777
            )
        folder.chmod(0o777)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None:
            os.chown(folder, -1, group)
            folder.chmod(0o2777)

    def _host_path(self, pod: Object, volume: Object) -> None:
        source = volume["hostPath"]
        kind, path = source.get("type") or "", source["path"]
        folder = self.folder(pod["metadata"]["uid"], volume)
        if folder.exists():
            return
        root = str(self._host_root)
        if kind in ("", "DirectoryOrCreate"):
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                mounts.make_directories_beneath(root, path)
        elif kind == "FileOrCreate":
            descriptor = mounts.open_beneath(root, path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.close(descriptor)
        try:
            descriptor = mounts.open_beneath(root, path)
        except OSError as error:
            raise ConfigError(
                f"hostPath type check failed: {path} is not a {_noun(kind)}"
            ) from error
        try:
            _check_kind(os.fstat(descriptor).st_mode, kind, path)
            _pin(descriptor, folder)
        finally:
            os.close(descriptor)

    def _sub_path(self, volume: Path, inside: str, target: Path) -> Path:
        """Bind what lies at `inside` to a place that pods cannot move, so that no link can lead elsewhere."""
        if inside.startswith("/") or ".." in inside.split("/"):
            raise ConfigError(f'subPath "{inside}" must not leave its volume')
        try:
            descriptor = mounts.open_beneath(str(volume), inside)
        except FileNotFoundError:
            mounts.make_directories_beneath(str(volume), inside, 0o777)
            descriptor = mounts.open_beneath(str(volume), inside)
        try:
            if target.exists():
                _unmount_all(target)
                _remove_file_or_folder(target)
            _pin(descriptor, target)
        finally:
            os.close(descriptor)
        return target


def write_atomically(
    folder: Path, files: Mapping[str, File], *, fs_group: int | None = None
) -> bool:
    """Make `folder` hold exactly `files`, through a symbolic link that changes at once.

    True if anything changed.  Layout and names are upstream's AtomicWriter, because programs watch `..data`.
    """
    current = folder / "..data"
    if current.exists() and _same(current, files):
        return False
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime()) + str(time.time_ns() % 10**9)
    fresh = folder / stamp
    fresh.mkdir()
    fresh.chmod(0o755)
    for name, file in files.items():
        _write(fresh, name, file, fs_group)
    if fs_group is not None:
        _own_folders(fresh, fs_group)
    old = current.readlink() if current.is_symlink() else None
    pending = folder / "..data_tmp"
    pending.unlink(missing_ok=True)
    pending.symlink_to(stamp)
    os.replace(pending, current)
    _link_names(folder, files)
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _write(folder: Path, name: str, file: File, fs_group: int | None) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    mode = file.mode
    if fs_group is not None or file.uid is not None:
        os.chown(path, -1 if file.uid is None else file.uid, -1 if fs_group is None else fs_group)
    if fs_group is not None:
        mode |= 0o440
    path.chmod(mode)


def _own_folders(folder: Path, fs_group: int) -> None:
    for path, _, _ in os.walk(folder):
        os.chown(path, -1, fs_group)
        os.chmod(path, 0o2775)


def _link_names(folder: Path, files: Mapping[str, File]) -> None:
    wanted = {name.split("/")[0] for name in files}
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in wanted:
            path.unlink()


def _same(folder: Path, files: Mapping[str, File]) -> bool:
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return present == set(files) and all(
        (folder / name).read_bytes() == file.content for name, file in files.items()
    )


def _pin(descriptor: int, target: Path) -> None:
    """Bind an open file or directory to `target`, whatever its path has become meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        target.mkdir()
    else:
        target.touch()
    mounts.bind(f"/proc/self/fd/{descriptor}", str(target))


def _unmount_all(path: Path) -> None:
    while mounts.umount(str(path)):
        pass


def _remove_file_or_folder(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


_KINDS = {
    "Directory": stat.S_ISDIR,
    "DirectoryOrCreate": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "FileOrCreate": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def _noun(kind: str) -> str:
    return {
        "Socket": "socket",
        "CharDevice": "character device",
        "BlockDevice": "block device",
    }.get(kind, "file" if kind.startswith("File") else "directory")


def _check_kind(mode: int, kind: str, path: str) -> None:
    if kind and not _KINDS[kind](mode):
        raise ConfigError(f"hostPath type check failed: {path} is not a {_noun(kind)}")
