"""The store on disk: layers as directories for overlayfs, one small file per image name, locks between labs.

    ROOT/layers/<hex>/          a layer of a recipe or a root file system, unpacked; its name is its diff id
    ROOT/containers/            containers-storage, written by skopeo (see `storage.py`)
    ROOT/names/<hex>.json       what a normalised reference stands for (`Record`)
    ROOT/built/<hex>            which layer equal inputs (packages, sources, recipe) gave before
    ROOT/locks/                 one flock per name or layer, so that labs wait for each other
    ROOT/tmp/                   work in progress; swept when nobody holds it

Every change is a rename, so a reader sees all of it or none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from todoku.aio import log as logs
from todoku.api.images import Image

log = logs.get(__name__)


class Store:
    """Images under `root`, shared by every lab of this machine.  All methods block."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("layers", "names", "built", "locks", "tmp"):
            (root / part).mkdir(parents=True, exist_ok=True)

    @property
    def containers(self) -> Path:
        """The graph root that skopeo writes; its run root lies beside it."""
        return self.root / "containers"

    def find(self, reference: str) -> Image | None:
        """The image of a normalised reference, if its record and all its layers are here."""
        path = self._record(reference)
        try:
            image = msgspec.json.decode(path.read_bytes(), type=Image)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            log.warning("Unreadable image record ignored", path=str(path))
            return None
        return image if all(os.path.isdir(layer) for layer in image.layers) else None

    def list(self) -> list[Image]:
        """Every name in the store, sorted."""
        found = []
        for path in (self.root / "names").glob("*.json"):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                found.append(msgspec.json.decode(path.read_bytes(), type=Image))
        return sorted(found, key=lambda image: image.reference)

    def put(self, image: Image) -> None:
        path = self._record(image.reference)
        with self.writing(path) as partial:
            partial.write_bytes(msgspec.json.encode(image))

    def forget(self, reference: str) -> None:
        self._record(reference).unlink(missing_ok=True)

    def layer(self, digest: str) -> Path:
        """Where the layer with this `sha256:…` diff id lies, or would lie."""
        return self.root / "layers" / digest.removeprefix("sha256:")

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of `name` against other threads and other labs; waits for it."""
        path = self.root / "locks" / hashlib.sha256(name.encode()).hexdigest()[:32]
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A scratch directory on the store's file system, locked while in use and removed after."""
        path = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Yield a name to write to; it becomes `path` only if the block succeeds."""
        partial = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def commit_layer(self, tree: Path, digest: str) -> Path:
        """Make a finished tree the layer `digest`; an equal layer that is already here wins."""
        target = self.layer(digest)
        try:
            os.rename(tree, target)
        except OSError:
            if not target.is_dir():
                raise
        return target

    def built(self, inputs: str) -> tuple[str, int] | None:
        """The diff id and size of the layer that was made of these inputs, if it is still here."""
        try:
            digest, _, size = (self.root / "built" / inputs).read_text().partition(" ")
        except FileNotFoundError:
            return None
        return (digest, int(size or 0)) if self.layer(digest).is_dir() else None

    def remember(self, inputs: str, digest: str, size_bytes: int) -> None:
        with self.writing(self.root / "built" / inputs) as partial:
            partial.write_text(f"{digest} {size_bytes}")

    def discard_layer(self, path: Path) -> None:
        """Remove a layer whole: it leaves its name first, so nobody finds half of it."""
        with self.staging() as scratch:
            os.rename(path, scratch / "layer")

    def sweep(self) -> None:
        """Remove the work that a killed process left behind."""
        for path in (self.root / "tmp").iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)

    def unused_layers(self) -> Iterator[Path]:
        """Layers of our own that neither a name nor a mounted overlay needs."""
        needed = {layer for image in self.list() for layer in image.layers} | mounted_layers()
        for path in (self.root / "layers").iterdir():
            if str(path) not in needed:
                yield path

    def _record(self, reference: str) -> Path:
        return self.root / "names" / f"{hashlib.sha256(reference.encode()).hexdigest()}.json"


def mounted_layers() -> set[str]:
    """The lower directories of every overlay mounted in any mount namespace of this machine."""
    seen: set[str] = set()
    layers: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            namespace = os.readlink(process / "ns/mnt")
            if namespace in seen:
                continue
            text = (process / "mountinfo").read_text()
            seen.add(namespace)
            layers |= set(lower_directories(text))
    return layers


def lower_directories(mountinfo: str) -> Iterator[str]:
    """The lower directories of the overlays in a mountinfo text (proc(5), overlayfs.rst)."""
    for line in mountinfo.splitlines():
        _, _, filesystem = line.partition(" - ")
        if not filesystem.startswith("overlay "):
            continue
        for option in filesystem.split(" ", 2)[2].split(","):
            key, _, value = option.partition("=")
            if key == "lowerdir":
                yield from value.split(":")
            elif key == "lowerdir+":
                yield value
