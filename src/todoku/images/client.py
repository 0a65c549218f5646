"""The image service's client: what node agents and the command line hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec

from todoku.api.images import Image, ImageError

Json = dict[str, Any]
_WAITS_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)


class Credentials(Protocol):
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...


class Images:
    """Speaks to the image service on a unix socket; satisfies `kubelet.images.ImageService`.

    Use as an async context manager, or call `close`.  `progress` is called with a line of text whenever the
    service has something to tell about long work.
    """

    def __init__(
        self, socket: str | Path, *, progress: Callable[[str], None] | None = None
    ) -> None:
        self._socket = str(socket)
        self._progress = progress
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Images:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ensure(
        self, reference: str, policy: str, *, auth: Credentials | None = None
    ) -> Image:
        """Return the image, bringing it here first if `policy` says so.  Raises ImageError."""
        body = {"reference": reference, "policy": policy, **_auth(auth)}
        return _image((await self._post("/ensure", body))["image"])

    async def pull(self, reference: str, *, auth: Credentials | None = None) -> Image:
        """Bring the image here anew, whatever the store has.  Raises ImageError."""
        answer = await self._post("/pull", {"reference": reference, **_auth(auth)})
        return _image(answer["image"])

    async def load(self, path: Path, *, name: str = "") -> Sequence[Image]:
        """Take the images of an archive on the service's machine; `path` is absolute.  Raises ImageError."""
        answer = await self._post("/load", {"path": str(path), "name": name})
        return [_image(one) for one in answer["images"]]

    async def remove(self, reference: str) -> None:
        """Forget a name.  Raises ImageError("NotFound")."""
        await self._post("/remove", {"reference": reference})

    async def prune(self, *, everything: bool = False) -> int:
        """Free what nothing needs; the bytes freed."""
        return int((await self._post("/prune", {"everything": everything}))["freedBytes"])

    async def list(self) -> list[Image]:
        try:
            async with self._open().get("http://images/images") as response:
                answer = msgspec.json.decode(await response.read())
        except aiohttp.ClientError as error:
            raise ImageError(
                "ImageInspectError", f"no answer from the image service: {error}"
            ) from error
        return [_image(one) for one in answer["images"]]

    async def _post(self, path: str, body: Json) -> Json:
        """Ask; a service that restarts meanwhile is asked again, for every request may be repeated."""
        for wait_seconds in (*_WAITS_SECONDS, None):
            try:
                answer = await self._ask(path, body)
                break
            except aiohttp.ClientError as error:
                if wait_seconds is None:
                    problem = f"the image service at {self._socket} does not answer: {error}"
                    raise ImageError("ErrImagePull", problem) from error
                await asyncio.sleep(wait_seconds)
        if "error" in answer:
            raise ImageError(**answer["error"])
        return answer

    async def _ask(self, path: str, body: Json) -> Json:
        """The last line of the answer; the others are progress.  Raises ClientError for half an answer."""
        async with self._open().post(
            f"http://images{path}", data=msgspec.json.encode(body)
        ) as response:
            async for line in response.content:
                answer: Json = msgspec.json.decode(line)
                if "progress" not in answer:
                    await response.read()
                    return answer
                if self._progress is not None:
                    self._progress(answer["progress"])
        raise aiohttp.ClientPayloadError("it stopped in the middle of its answer")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._socket, limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, read_bufsize=2**20
            )
        return self._session  # fmt: skip


def _auth(auth: Credentials | None) -> Json:
    if auth is None:
        return {}
    return {"auth": {"username": auth.username, "password": auth.password}}


def _image(value: Any) -> Image:
    return msgspec.convert(value, Image)
