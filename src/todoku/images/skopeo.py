"""Pulls and archives through skopeo into containers-storage, and the reader of what it wrote.

skopeo runs in a mount namespace of its own: the overlay driver leaves a mount behind on its root, and the
host must not see it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from todoku.api.images import Image, ImageError, Reference
from todoku.images.layers import config_of
from todoku.images.store import Store

Json = dict[str, Any]
Credentials = tuple[str, str]


class Skopeo:
    def __init__(self, store: Store, *, insecure: Sequence[str] = ()) -> None:
        self._store = store
        self._insecure = frozenset(insecure)

    async def pull(self, reference: Reference, auth: Credentials | None) -> None:
        """Copy an image from its registry into the store."""
        options = [*self._tls(reference.registry, "src")]
        await self._copy(f"docker://{_pullable(reference)}", reference, options, auth)

    async def digest(self, reference: Reference, auth: Credentials | None) -> str:
        """The manifest digest that the registry has for the name now."""
        with _authfile(reference.registry, auth) as options:
            tls = self._tls(reference.registry)
            text = await _skopeo("inspect", "--no-tags", *tls, *options, "--format", "{{.Digest}}",
                                 f"docker://{_pullable(reference)}")  # fmt: skip
        return text.strip()

    async def load(self, source: str, reference: Reference) -> None:
        """Copy one image of an archive; `source` is a skopeo transport and path."""
        await self._copy(source, reference, [], None)

    async def forget(self, reference: Reference) -> None:
        """Remove the name, and the layers that no other name needs, from containers-storage."""
        await _skopeo("delete", self._address(reference))

    def find(self, reference: Reference) -> Image | None:
        """What containers-storage holds under the name.  Blocks."""
        return read_image(self._store.containers, reference)

    async def _copy(
        self, source: str, reference: Reference, options: Sequence[str], auth: Credentials | None
    ) -> None:
        with _authfile(reference.registry, auth) as extra:
            await _skopeo("copy", "--quiet", *options, *extra, source, self._address(reference))

    def _address(self, reference: Reference) -> str:
        root = self._store.containers
        return f"containers-storage:[overlay@{root}+{root}-run]{_pullable(reference)}"

    def _tls(self, registry: str, prefix: str = "") -> list[str]:
        if registry not in self._insecure:
            return []
        return [f"--{prefix}-tls-verify=false" if prefix else "--tls-verify=false"]


def read_image(root: Path, reference: Reference) -> Image | None:
    """Read an image out of a containers-storage graph root (overlay driver), or None.

    Files: overlay-images/images.json, overlay-layers/layers.json, overlay/<layer>/diff.
    """
    entries: list[Json] = _load(root / "overlay-images/images.json")
    entry = next((one for one in entries if str(reference) in (one.get("names") or ())), None)
    if entry is None:
        return None
    by_id = {layer["id"]: layer for layer in _load(root / "overlay-layers/layers.json")}
    chain: list[str] = []
    layer = entry.get("layer", "")
    while layer:
        chain.append(layer)
        layer = by_id[layer].get("parent", "")
    document = json.loads(_big_data(root, entry["id"], f"sha256:{entry['id']}"))
    return Image(
        id=f"sha256:{entry['id']}",
        reference=str(reference),
        layers=tuple(str(root / "overlay" / one / "diff") for one in chain),
        config=config_of(document),
        digest=entry.get("digest", ""),
        size_bytes=sum(by_id[one].get("diff-size", 0) for one in chain),
    )


def archive_sources(path: Path) -> list[tuple[str, str]]:
    """What an archive holds: (skopeo source, name or ""), found by its contents.

    Raises ImageError for something that is no image archive.
    """
    if path.is_dir():
        if (path / "oci-layout").exists():
            return _oci_sources(f"oci:{path}", (path / "index.json").read_bytes())
        raise ImageError("ErrImagePull", f"{path} is a directory without an oci-layout file")
    try:
        with tarfile.open(path) as archive:
            names = set(archive.getnames())
            if "manifest.json" in names:
                return _docker_sources(path, _member(archive, "manifest.json"))
            if "index.json" in names:
                return _oci_sources(f"oci-archive:{path}", _member(archive, "index.json"))
    except tarfile.TarError as error:
        raise ImageError("ErrImagePull", f"{path} is no tar archive: {error}") from error
    raise ImageError("ErrImagePull", f"{path} holds neither a Docker archive nor an OCI layout")


def _docker_sources(path: Path, manifest: bytes) -> list[tuple[str, str]]:
    found = []
    for index, one in enumerate(json.loads(manifest)):
        tags = one.get("RepoTags") or [""]
        found += [(f"docker-archive:{path}:@{index}", tag) for tag in tags]
    return found


def _oci_sources(source: str, index: bytes) -> list[tuple[str, str]]:
    found = []
    for one in json.loads(index).get("manifests", ()):
        notes = one.get("annotations") or {}
        short = notes.get("org.opencontainers.image.ref.name", "")
        name = notes.get("io.containerd.image.name") or (
            short if "/" in short or ":" in short else ""
        )
        found.append((f"{source}:{short}" if short else source, name))
    return found


def _member(archive: Any, name: str) -> bytes:
    file = archive.extractfile(name)
    return bytes(file.read()) if file else b"[]"


def _pullable(reference: Reference) -> str:
    # skopeo refuses a tag together with a digest; the digest decides
    if reference.digest:
        return f"{reference.name}@{reference.digest}"
    return str(reference)


@contextlib.contextmanager
def _authfile(registry: str, auth: Credentials | None) -> Iterator[list[str]]:
    """skopeo's options for credentials; they stay off the command line, where anybody could read them."""
    if auth is None:
        yield []
        return
    token = base64.b64encode(":".join(auth).encode()).decode()
    with tempfile.NamedTemporaryFile("w", prefix="todoku-auth-") as file:
        json.dump({"auths": {registry: {"auth": token}}}, file)
        file.flush()
        yield ["--authfile", file.name]


async def _skopeo(*arguments: str) -> str:
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "skopeo",
        "--insecure-policy",
        *arguments,
    ]
    environment = dict(os.environ, LC_ALL="C", TMPDIR=os.environ.get("TMPDIR", "/var/tmp"))
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, error = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise ImageError("ErrImagePull", _short(error.decode(errors="replace")))
    return out.decode()


def _short(text: str) -> str:
    """The message of skopeo's last fatal log line."""
    last = text.strip().splitlines()[-1] if text.strip() else "skopeo failed without a word"
    _, found, message = last.partition('msg="')
    return message.rstrip('"').replace('\\"', '"') if found else last


def _big_data(root: Path, image: str, key: str) -> bytes:
    # containers-storage names such files by "=" and the key in base64 unless the key is a plain word
    folder = root / "overlay-images" / image
    return (folder / f"={base64.b64encode(key.encode()).decode()}").read_bytes()


def _load(path: Path) -> list[Json]:
    try:
        return list(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return []
