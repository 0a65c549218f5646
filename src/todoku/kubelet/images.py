"""Images as the kubelet needs them; room `images` implements it and `lab` hands it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from todoku.api.images import Image


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of a registry, from an image pull secret."""

    username: str
    password: str


class ImageService(Protocol):
    async def ensure(
        self, reference: str, policy: str, *, auth: Credentials | None = None
    ) -> Image:
        """Return the image, bringing it here first if `policy` (Always, IfNotPresent, Never) says so.

        Raises todoku.api.images.ImageError.  Waits as long as a pull or a recipe takes; cancelling is safe.
        """
        ...

    async def list(self) -> list[Image]: ...
