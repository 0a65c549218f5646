"""A node agent: kubelet, pod network and proxy in one process, over the same client and informers.

Nothing here knows that the node is a set of namespaces.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from todoku.client import Client, ClientConfig, InformerFactory
from todoku.images import Images
from todoku.kubelet import KUBERNETES, Kubelet, KubeletConfig, Timings
from todoku.lab.children.running import run
from todoku.network import NetworkConfig, PodNetwork, Wiring
from todoku.proxy import Kernel, Proxy, ProxyConfig


def main(config: dict[str, Any]) -> None:
    run(_run(config))


async def _run(config: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            Client(ClientConfig.from_kubeconfig(config["kubeconfig"], user_agent="kubelet"))
        )
        images = await stack.enter_async_context(Images(config["images_socket"]))
        wiring = stack.enter_context(closing(Wiring()))
        kernel = stack.enter_context(Kernel())
        informers = InformerFactory(client)
        network = PodNetwork(client, informers, _network(config), wiring)
        kubelet = Kubelet(_kubelet(config), client, images, network, informers=informers)
        proxy = Proxy(informers, _proxy(config), kernel)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run(), name="informers")
            tasks.create_task(kubelet.run(), name="kubelet")
            tasks.create_task(network.run(), name="network")
            tasks.create_task(proxy.run(), name="proxy")


def _kubelet(config: dict[str, Any]) -> KubeletConfig:
    root, pki = Path(config["root"]), Path(config["pki"])
    stem = pki / f"kubelet-{config['node']}"
    return KubeletConfig(
        node_name=config["node"],
        node_ips=(config["address"],),
        root_dir=root / "var/lib/kubelet",
        host_root=root,
        run_dir=Path("/run/kubelet"),
        cgroup_parent=config["cgroup"],
        own_mounts=True,
        labels=config["labels"],
        taints=tuple({k: v for k, v in taint.items() if v} for taint in config["taints"]),
        cluster_dns=(config["dns_address"],),
        cluster_domain=config["domain"],
        server_cert=f"{stem}.crt",
        server_key=f"{stem}.key",
        client_ca=str(pki / "ca.crt"),
        timings=KUBERNETES if config["timings"] == "kubernetes" else Timings(),
    )


def _network(config: dict[str, Any]) -> NetworkConfig:
    return NetworkConfig(
        node_name=config["node"],
        node_address=config["address"],
        state=Path(config["root"]) / "var/lib/cni",
        cluster_cidr=config["pod_cidr"],
    )


def _proxy(config: dict[str, Any]) -> ProxyConfig:
    return ProxyConfig(
        node_name=config["node"],
        pod_cidrs=(config["pod_cidr"],),
        service_cidrs=(config["service_cidr"],),
    )
