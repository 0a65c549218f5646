"""The API server: on the LAN in the control-plane node, and on a port of the real machine for kubectl."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from todoku.apiserver.config import Config
from todoku.apiserver.process import tune
from todoku.apiserver.server import ApiServer
from todoku.lab.children.running import run


def main(config: dict[str, Any]) -> None:
    run(_serve(config))


async def _serve(config: dict[str, Any]) -> None:
    sockets = [socket.socket(fileno=number) for number in config["sockets"].values()]
    try:
        async with ApiServer(_settings(config, sockets)) as server:
            tune()
            await server.wait()
    finally:
        for one in sockets:
            one.close()


def _settings(config: dict[str, Any], sockets: list[socket.socket]) -> Config:
    pki = Path(config["pki"])
    Path(config["store"]).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Config(
        sockets=sockets,
        store=config["store"],
        cert_file=str(pki / "apiserver.crt"),
        key_file=str(pki / "apiserver.key"),
        client_ca_file=str(pki / "ca.crt"),
        service_account_key_file=str(pki / "sa.key"),
        service_account_public_file=str(pki / "sa.pub"),
        kubelet_ca_file=str(pki / "ca.crt"),
        kubelet_client_cert_file=str(pki / "apiserver-kubelet-client.crt"),
        kubelet_client_key_file=str(pki / "apiserver-kubelet-client.key"),
        requestheader_ca_file=str(pki / "front-proxy-ca.crt"),
        proxy_client_cert_file=str(pki / "front-proxy-client.crt"),
        proxy_client_key_file=str(pki / "front-proxy-client.key"),
        service_cidrs=(config["service_cidr"],),
        advertise_address=config["advertise_address"],
    )
