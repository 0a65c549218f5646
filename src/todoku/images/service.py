"""Where an image comes from: the store, then its registry, then a recipe; or another order.

`ensure` is the whole room in one story; the other operations are what `todoku image` offers.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from todoku.aio import log as logs
from todoku.api.images import Image, ImageError, Reference, parse
from todoku.images import layers, system
from todoku.images.packages import Package, Packages, unpack
from todoku.images.recipes import RECIPES, Layer, Recipe, find
from todoku.images.skopeo import Credentials, Skopeo, archive_sources
from todoku.images.store import Store, mounted_layers

log = logs.get(__name__)

Progress = Callable[[str], None]
ORDER = ("registry", "recipe")


@dataclass(frozen=True, slots=True)
class Config:
    """Where the caches lie and where images may come from.

    `order` is what is tried after the store; leave `registry` out to stay offline.  `recipe_first` and
    `registry_first` are normalised names that overrule it (and a recipe's own `first`).
    """

    root: Path = Path("/var/cache/todoku/images")
    packages: Path = Path("/var/cache/todoku/packages")
    order: tuple[str, ...] = ORDER
    recipe_first: frozenset[str] = frozenset()
    registry_first: frozenset[str] = frozenset()
    insecure_registries: tuple[str, ...] = ()
    registry_timeout_seconds: float = 2.0
    unreachable_for_seconds: float = 60.0


class ImageStore:
    """The image service without its socket."""

    def __init__(self, config: Config, recipes: Sequence[Recipe] = RECIPES) -> None:
        self.config = config
        self._recipes = recipes
        self._store = Store(config.root)
        self._packages = Packages(config.packages)
        self._skopeo = Skopeo(self._store, insecure=config.insecure_registries)
        self._busy: dict[str, asyncio.Lock] = {}
        self._unreachable: dict[str, float] = {}  # registry -> when asked, monotonic
        self._fingerprints: dict[str, str] = {}  # by part of the system image
        self._store.sweep()

    async def ensure(
        self,
        text: str,
        policy: str,
        *,
        auth: Credentials | None = None,
        progress: Progress = log.info,
    ) -> Image:
        """Return the image, bringing it here if `policy` asks for it.  Raises ImageError."""
        reference = parse(text)
        lock = self._busy.setdefault(str(reference), asyncio.Lock())
        async with lock:  # several pods of one lab ask at once; flock below is for other labs
            return await self._ensure(reference, policy, auth, progress)

    async def list(self) -> Sequence[Image]:
        return await asyncio.to_thread(self._store.list)

    async def pull(
        self, text: str, *, auth: Credentials | None = None, progress: Progress = log.info
    ) -> Image:
        """Bring the image here anew, from wherever the order says."""
        reference = parse(text)
        return await self._obtain(reference, auth, progress)

    async def load(
        self, path: Path, *, name: str = "", progress: Progress = log.info
    ) -> Sequence[Image]:
        """Take the images of a Docker or OCI archive, or of an OCI layout; `name` for one without."""
        loaded = []
        for source, given in await asyncio.to_thread(archive_sources, path):
            if not (name or given):
                raise ImageError("InvalidImageName", f"{path} names no image; give one")
            reference = parse(name or given)
            progress(f"loading {reference}")
            await self._skopeo.load(source, reference)
            loaded.append(await self._adopt(reference, origin="archive"))
        return loaded

    async def remove(self, text: str) -> None:
        """Forget a name; its layers go with `prune`, when nothing uses them."""
        reference = parse(text)
        if await asyncio.to_thread(self._store.find, str(reference)) is None:
            raise ImageError("NotFound", f"no image {reference} in the store")
        await asyncio.to_thread(self._store.forget, str(reference))

    async def prune(self, *, everything: bool = False) -> int:
        """Free what no name (with `everything`: no running container) needs; the bytes freed."""
        return await asyncio.to_thread(self._prune, everything)

    async def _ensure(
        self, reference: Reference, policy: str, auth: Credentials | None, progress: Progress
    ) -> Image:
        present = await asyncio.to_thread(self._present, reference)
        if policy == "Never" and present is None:
            problem = f'Container image "{reference}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", problem)
        if present and (policy != "Always" or present.origin != "registry"):
            return present  # a recipe's or an archive's image is this machine's own: nowhere to ask
        if present and not await self._changed(reference, present, auth):
            return replace(present, pulled=True)
        return await self._obtain(reference, auth, progress)

    async def _obtain(
        self, reference: Reference, auth: Credentials | None, progress: Progress
    ) -> Image:
        started = time.monotonic()
        recipe = find(reference, self._recipes)
        problems: list[ImageError] = []
        for source in self._sources(reference, recipe):
            try:
                if source == "registry":
                    image = await self._pull(reference, auth, progress)
                elif recipe is None:
                    continue
                else:
                    image = await asyncio.to_thread(self._assemble, reference, recipe, progress)
                return replace(image, pulled=True, seconds=time.monotonic() - started)
            except ImageError as error:
                progress(error.message)
                problems.append(error)
        raise _refusal(reference, problems)

    def _sources(self, reference: Reference, recipe: Recipe | None) -> tuple[str, ...]:
        name = str(reference)
        if reference.registry == "todoku.internal":
            return ("recipe",)
        if name in self.config.registry_first:
            return ORDER
        if name in self.config.recipe_first or (recipe and recipe.first):
            return ("recipe", *(one for one in self.config.order if one != "recipe"))
        return self.config.order

    async def _pull(
        self, reference: Reference, auth: Credentials | None, progress: Progress
    ) -> Image:
        await self._reach(reference.registry)
        progress(f"pulling {reference}")
        await self._skopeo.pull(reference, auth)
        return await self._adopt(reference, origin="registry")

    async def _adopt(self, reference: Reference, *, origin: str) -> Image:
        image = await asyncio.to_thread(self._skopeo.find, reference)
        if image is None:
            raise ImageError("ImageInspectError", f"skopeo stored {reference}, but it is not there")
        image = replace(image, origin=origin)
        await asyncio.to_thread(self._store.put, image)
        return image

    async def _changed(
        self, reference: Reference, present: Image, auth: Credentials | None
    ) -> bool:
        """Whether the registry has something else under the name; one that is silent changes nothing."""
        try:
            await self._reach(reference.registry)
            return await self._skopeo.digest(reference, auth) != present.digest
        except ImageError as error:
            log.warning(
                "Registry not asked, the image at hand serves",
                image=str(reference),
                why=error.message,
            )
            return False  # fmt: skip

    async def _reach(self, registry: str) -> None:
        """Raise ImageError unless the registry answers anything at all in time."""
        asked = self._unreachable.get(registry)
        if asked is not None and time.monotonic() - asked < self.config.unreachable_for_seconds:
            raise ImageError("RegistryUnavailable", f"registry {registry} is not in reach")
        host = "registry-1.docker.io" if registry == "docker.io" else registry
        scheme = "http" if registry in self.config.insecure_registries else "https"
        timeout = aiohttp.ClientTimeout(total=self.config.registry_timeout_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.get(f"{scheme}://{host}/v2/", ssl=scheme == "http"),
            ):
                self._unreachable.pop(registry, None)
        except aiohttp.ClientSSLError:
            pass  # it is there; let skopeo say what is wrong
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._unreachable[registry] = time.monotonic()
            waited = f"{self.config.registry_timeout_seconds:g} s"
            why = str(error) or f"no answer within {waited}"
            problem = f"registry {registry} is not in reach: {why}"
            raise ImageError("RegistryUnavailable", problem) from error

    def _assemble(self, reference: Reference, recipe: Recipe, progress: Progress) -> Image:
        built = [self._layer(layer, progress) for layer in recipe.layers]
        diff_ids = [digest for digest, _ in built]
        about = f"{recipe.about} (recipe of Todoku)"
        document = layers.config_document(recipe.config, diff_ids, about)
        image = Image(
            id=f"sha256:{hashlib.sha256(document).hexdigest()}",
            reference=str(reference),
            layers=tuple(str(self._store.layer(digest)) for digest in reversed(diff_ids)),
            config=recipe.config,
            size_bytes=sum(size for _, size in built),
            origin="recipe",
        )
        self._store.put(image)
        return image

    def _layer(self, layer: Layer, progress: Progress) -> tuple[str, int]:
        """Build a layer, or find the one that equal inputs gave before; its diff id and size in bytes."""
        with self._store.locked(f"layer {layer.packages} {layer.system}"):
            inputs, packages = self._inputs(layer)
            known = self._store.built(inputs)
            if known:
                return known
            with self._store.staging() as scratch:
                tree = scratch / "tree"
                tree.mkdir()
                if layer.system:
                    progress(f"assembling the system image: {layer.system}")
                    system.build(tree, layer.system)
                else:
                    size = sum(package.size_bytes for package in packages)
                    progress(
                        f"fetching {len(packages)} packages ({size / 1e6:.1f} MB) for {layer.packages[0]}"
                    )
                    files = self._packages.fetch(packages)
                    progress(f"unpacking {len(packages)} packages for {layer.packages[0]}")
                    unpack(files, tree)
                layers.finish(tree, layer)
                digest, size = layers.diff_id(tree)
                self._store.commit_layer(tree, digest)
            self._store.remember(inputs, digest, size)
            return digest, size

    def _inputs(self, layer: Layer) -> tuple[str, Sequence[Package]]:
        """What a layer is made of, as one hash, and the packages among it."""
        if layer.system:
            return self._fingerprint(layer), []
        packages = self._packages.resolve(layer.packages, layer.without)
        files = "\n".join(package.file for package in packages)
        return hashlib.sha256(f"{layer!r}\n{files}".encode()).hexdigest(), packages

    def _fingerprint(self, layer: Layer) -> str:
        if layer.system not in self._fingerprints:
            self._fingerprints[layer.system] = system.fingerprint(layer.system)
        return hashlib.sha256(f"{layer!r}\n{self._fingerprints[layer.system]}".encode()).hexdigest()

    def _present(self, reference: Reference) -> Image | None:
        image = self._store.find(str(reference))
        return None if image is None or self._outdated(reference, image) else image

    def _outdated(self, reference: Reference, image: Image) -> bool:
        """Whether a system image was made of other code than this process runs."""
        recipe = find(reference, self._recipes)
        if image.origin != "recipe" or recipe is None or not recipe.layers[0].system:
            return False
        built = (self._store.built(self._fingerprint(layer)) for layer in recipe.layers)
        layers = {str(self._store.layer(one[0])) if one else "" for one in built}
        return layers != set(image.layers)

    def _prune(self, everything: bool) -> int:
        in_use = mounted_layers()
        if everything:
            for image in self._store.list():
                if not in_use & set(image.layers):
                    self._store.forget(image.reference)
        self._store.sweep()
        freed = 0
        for path in list(self._store.unused_layers()):
            freed += _size(path)
            self._store.discard_layer(path)
        if everything:
            freed += self._packages.clear()
        return freed


def _refusal(reference: Reference, problems: Sequence[ImageError]) -> ImageError:
    """One error for all that was tried; the first problem decides its reason."""
    if not problems:
        problem = f'no recipe is called "{reference}", and the order allows no registry'
        return ImageError("ErrImagePull", problem)
    texts = dict.fromkeys(error.message for error in problems)
    return ImageError("ErrImagePull", "; ".join(texts))


def _size(tree: Path) -> int:
    found = (Path(folder, name).lstat() for folder, _, names in os.walk(tree) for name in names)
    return sum(status.st_size for status in found if status.st_nlink == 1)
