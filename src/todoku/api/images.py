"""What an image is, to those who name one and those who provide one: references and values, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:.]+\](?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

DEFAULT_REGISTRY = "docker.io"


class ImageError(Exception):
    """Why an image could not be had, as a kubelet reports it.

    `reason` is a container waiting reason: `ErrImagePull`, `InvalidImageName`, `ErrImageNeverPull`,
    `ImageInspectError`, `RegistryUnavailable`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised image name: `httpd` is `docker.io/library/httpd:latest`."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"


def parse(text: str) -> Reference:
    """Normalise an image name as container tools do (github.com/distribution/reference).

    Raises ImageError("InvalidImageName") for a name that no registry can hold.
    """
    rest, _, digest = text.partition("@")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    name = f"{head}{slash}{last}"
    registry, repository = _split_registry(name)
    valid = (
        _NAME.fullmatch(repository)
        and _HOST.fullmatch(registry)
        and (not colon or _TAG.fullmatch(tag))
        and ("@" not in text or _DIGEST.fullmatch(digest))
    )
    if not valid:
        problem = f'couldn\'t parse image name "{text}": invalid reference format'
        raise ImageError("InvalidImageName", problem)
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, repository, tag, digest)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        repository = name if slash else f"library/{name}"
        return DEFAULT_REGISTRY, repository
    if first == "index.docker.io":
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The parts of the OCI image configuration that decide how a container starts."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is present on this machine.

    `id` is `sha256:` and the digest of its configuration; `layers` are directories for overlayfs, topmost
    first; `origin` says how it came here: `registry`, `recipe` or `archive`; `pulled` whether this call
    brought it (False: it was already present); `seconds` how long that took.
    """

    id: str
    reference: str
    layers: tuple[str, ...]
    config: ImageConfig = ImageConfig()
    digest: str = ""
    size_bytes: int = 0
    origin: str = "registry"
    pulled: bool = False
    seconds: float = 0.0
