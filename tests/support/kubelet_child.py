"""A kubelet in a process of its own, inside the namespaces of a throw-away node.

python -m tests.support.kubelet_child CONFIG.json      (started by `node.py`)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import uvloop

from todoku.aio import log as logs
from todoku.client import Client, ClientConfig
from todoku.images import Images
from todoku.kubelet import Kubelet, KubeletConfig, PodAddresses, PodRef, Timings
from todoku.linux.links import Links

GATEWAY = "10.99.0.1"


class PointToPoint:
    """A pod network for tests: a veth pair and a host route per pod."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    async def attach(self, pod: PodRef, netns: str) -> PodAddresses:
        if pod.uid not in self._addresses:
            used = set(self._addresses.values())
            self._addresses[pod.uid] = next(
                ip for n in range(2, 250) if (ip := f"10.99.0.{n}") not in used
            )
        address = self._addresses[pod.uid]
        name = f"v{pod.uid[:8]}"
        with Links() as here, Links(netns) as there:
            if here.find(name) is None:
                here.add_veth(name, "eth0", peer_netns=netns)
                here.add_address(name, f"{GATEWAY}/32")
                here.up(name)
                there.add_address("eth0", f"{address}/32")
                there.up("eth0")
                there.set_route(f"{GATEWAY}/32", device="eth0")
                there.set_route("0.0.0.0/0", via=GATEWAY, device="eth0")
                here.set_route(f"{address}/32", device=name)
        return PodAddresses((address,))

    async def detach(self, pod: PodRef, netns: str) -> None:
        self._addresses.pop(pod.uid, None)
        with Links() as here, contextlib.suppress(OSError):
            here.delete(f"v{pod.uid[:8]}")


async def serve(settings: dict) -> None:
    paths = {name: Path(settings[name]) for name in ("root_dir", "host_root", "run_dir")}
    config = KubeletConfig(
        node_name=settings["node_name"],
        node_ips=("127.0.0.1",),
        own_mounts=True,
        timings=Timings(**settings["timings"]),
        **paths,
        **settings["more"],
    )
    async with (
        Client(ClientConfig.from_kubeconfig(settings["kubeconfig"])) as client,
        Images(settings["images"]) as images,
    ):
        kubelet = Kubelet(config, client, images, PointToPoint())
        task = asyncio.ensure_future(kubelet.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main() -> None:
    logs.configure("info")
    settings = json.loads(Path(sys.argv[1]).read_text())
    with Links() as links:
        links.up("lo")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    main()
