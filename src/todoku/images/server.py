"""The image service's socket: HTTP over a unix socket, one JSON value per line in answers that take time.

POST /ensure {"reference", "policy", "auth"?}     lines {"progress": text}…, then {"image": …} or {"error": …}
POST /pull   {"reference", "auth"?}               likewise
POST /load   {"path", "name"?}                    likewise, ending in {"images": […]}
GET  /images                                      {"images": […]}
POST /remove {"reference"}                        {"removed": …} or {"error": …}
POST /prune  {"everything"?}                      {"freedBytes": n}
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from todoku.aio import log as logs
from todoku.api.images import ImageError
from todoku.images.service import ImageStore, Progress
from todoku.images.skopeo import Credentials

log = logs.get(__name__)

Json = dict[str, Any]
Work = Callable[[Json, Progress], Awaitable[Json]]


class Server:
    """Serves an `ImageStore` on a unix socket, as an async context manager."""

    def __init__(self, images: ImageStore, socket: Path) -> None:
        self._images = images
        self._socket = socket
        routes = {"/ensure": self._ensure, "/pull": self._pull, "/load": self._load,
                  "/remove": self._remove, "/prune": self._prune}  # fmt: skip
        app = web.Application()
        app.router.add_get("/images", self._list)
        for path, work in routes.items():
            app.router.add_post(path, _streamed(work))
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        self._socket.unlink(missing_ok=True)
        await web.UnixSite(self._runner, str(self._socket)).start()
        self._socket.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _list(self, _: web.Request) -> web.Response:
        return web.Response(body=_encode({"images": await self._images.list()}))

    async def _ensure(self, body: Json, progress: Progress) -> Json:
        image = await self._images.ensure(
            body["reference"], body["policy"], auth=_auth(body), progress=progress
        )
        return {"image": image}

    async def _pull(self, body: Json, progress: Progress) -> Json:
        image = await self._images.pull(body["reference"], auth=_auth(body), progress=progress)
        return {"image": image}

    async def _load(self, body: Json, progress: Progress) -> Json:
        path = Path(body["path"])
        return {
            "images": await self._images.load(path, name=body.get("name", ""), progress=progress)
        }

    async def _remove(self, body: Json, progress: Progress) -> Json:
        await self._images.remove(body["reference"])
        return {"removed": body["reference"]}

    async def _prune(self, body: Json, progress: Progress) -> Json:
        return {"freedBytes": await self._images.prune(everything=body.get("everything", False))}


def _streamed(work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        response = web.StreamResponse()
        await response.prepare(request)
        lines: asyncio.Queue[Json | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def progress(text: str) -> None:  # from a worker thread, mostly
            log.info("Progress", image=body.get("reference", ""), what=text)
            loop.call_soon_threadsafe(lines.put_nowait, {"progress": text})

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_finish(work, body, progress, lines), name="image-work")
            while (line := await lines.get()) is not None:
                await response.write(_encode(line) + b"\n")
        with contextlib.suppress(ConnectionError):  # the client has what it wanted, and is gone
            await response.write_eof()
        return response

    return handle


async def _finish(
    work: Work, body: Json, progress: Progress, lines: asyncio.Queue[Json | None]
) -> None:
    try:
        lines.put_nowait(await work(body, progress))
    except ImageError as error:
        lines.put_nowait({"error": {"reason": error.reason, "message": error.message}})
    except OSError as error:
        log.exception("Image request failed", **body)
        lines.put_nowait({"error": {"reason": "ErrImagePull", "message": str(error)}})
    finally:
        lines.put_nowait(None)


def _auth(body: Json) -> Credentials | None:
    given = body.get("auth")
    return (given["username"], given["password"]) if given else None


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
