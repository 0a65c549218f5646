"""What both processes are started with: MetalLB's flags and environment (v0.14.9)."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from todoku.client import ClientConfig

_LEVELS = {"all": "debug", "debug": "debug", "info": "info", "warn": "warning", "error": "error",
           "none": "critical"}  # fmt: skip
_CERT_SERVICE, _WEBHOOK_SECRET = "metallb-webhook-service", "metallb-webhook-cert"
_TLS_VERSIONS = ("VersionTLS12", "VersionTLS13")


@dataclass(frozen=True, slots=True)
class Options:
    """Flags of either process; `lb_class` "" handles Services that name no class."""

    client: ClientConfig
    namespace: str
    port: int = 7472
    host: str | None = None
    log_level: str = "info"
    lb_class: str = ""
    ignore_exclude_label: bool = False
    tls13_only: bool = False
    cert_service: str = _CERT_SERVICE
    webhook_secret: str = _WEBHOOK_SECRET
    webhook_port: int = 9443
    certificates: Path = Path("/tmp/k8s-webhook-server/serving-certs")


def read(component: str, arguments: Sequence[str]) -> Options:
    """Read the command line of `controller` or `speaker`; wrong use ends the process with status 2."""
    given = _parser(component).parse_args(arguments)
    kubeconfig = given.kubeconfig or os.environ.get("KUBECONFIG", "")
    agent = f"metallb-{component}"
    client = (
        ClientConfig.from_kubeconfig(kubeconfig, user_agent=agent)
        if kubeconfig
        else ClientConfig.in_cluster(user_agent=agent)
    )
    return Options(
        client=client,
        namespace=given.namespace or os.environ.get("METALLB_NAMESPACE") or client.namespace,
        port=given.port,
        host=given.host or None,
        log_level=_LEVELS[given.log_level],
        lb_class=given.lb_class,
        ignore_exclude_label=getattr(given, "ignore_exclude_lb", False),
        tls13_only=getattr(given, "tls_min_version", "") == "VersionTLS13",
        cert_service=getattr(given, "cert_service_name", _CERT_SERVICE),
        webhook_secret=getattr(given, "webhook_secret_name", _WEBHOOK_SECRET),
    )


def _parser(component: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"todoku.loadbalancer {component}", allow_abbrev=False,
        description="Todoku's implementation of the MetalLB " + component,
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=7472, help="of the metrics")
    parser.add_argument("--host", default=os.environ.get("METALLB_HOST", ""), help="of the metrics")
    parser.add_argument("--log-level", choices=sorted(_LEVELS), default="info")
    parser.add_argument("--lb-class", default="", help="the loadBalancerClass to handle")
    parser.add_argument("--kubeconfig", default="", help="instead of the pod's service account")
    parser.add_argument("--namespace", default="", help="where MetalLB's resources live")
    if component == "speaker":
        parser.add_argument("--ignore-exclude-lb", action="store_true")
        return parser
    parser.add_argument("--tls-min-version", choices=_TLS_VERSIONS, default=_TLS_VERSIONS[0])
    parser.add_argument("--cert-service-name", default=_CERT_SERVICE)
    parser.add_argument("--webhook-secret-name", default=_WEBHOOK_SECRET)
    return parser
