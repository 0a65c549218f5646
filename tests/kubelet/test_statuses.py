"""Writing pod statuses: the newest only, once; and again when somebody else wrote another truth meanwhile."""

import asyncio
import contextlib
from typing import Any

from todoku.kubelet.statuses import StatusWriter

NOW = "2026-01-01T00:00:00Z"


class Server:
    """Keeps the patches that it was sent."""

    def __init__(self) -> None:
        self.patches: list[dict[str, Any]] = []

    async def patch(self, resource, name, namespace, body, *, subresource):
        self.patches.append(body["status"])


def status(ready: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": NOW}
    return {"phase": "Running", "conditions": [condition]}


def pod(shown: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "default", "uid": "1"}, "status": shown}


@contextlib.asynccontextmanager
async def writing(server: Server):
    writer = StatusWriter(server)  # type: ignore[arg-type]
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_same_status_is_sent_once():
    server = Server()
    async with writing(server) as writer:
        for _ in range(2):
            writer.set(pod({}), status("True"))
            await writer.settled("1")
        writer.set(pod(status("True")), status("True"))
        await writer.settled("1")
    assert server.patches == [status("True")]


async def test_not_ready_by_another_hand_is_corrected_even_within_the_same_second():
    server = Server()
    async with writing(server) as writer:
        writer.set(pod({}), status("True"))
        await writer.settled("1")
        writer.set(pod(status("False")), status("True"))
        await writer.settled("1")
    assert server.patches[1:] == [{"conditions": status("True")["conditions"]}]
