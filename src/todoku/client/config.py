"""Where the API server is and who asks: explicit, from a kubeconfig, or from inside a pod."""

from __future__ import annotations

import base64
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from todoku.client.credentials import ConfigError

__all__ = ["ClientConfig", "ConfigError"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFETIME_SECONDS = 60.0  # how long a token file's content is believed, as in client-go


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """`server` is `https://host:port` (or http, for tests); certificates and keys are PEM bytes.

    `token` is sent as given, `token_file` is read again every minute.  Without `ca` the system's authorities count;
    `insecure` verifies nothing.  `server_name` is what the certificate must be for, if not the host of `server`.
    `namespace` is the context's, for callers that default to it.
    """

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    server_name: str = ""
    insecure: bool = False
    namespace: str = "default"
    user_agent: str = "todoku"
    timeout_seconds: float = 30.0
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_kubeconfig(cls, path: str | Path, *, context: str = "", **more: Any) -> ClientConfig:
        """Read one context (the current one unless named) of a kubeconfig file.

        `more` are further fields of this class.  Raises ConfigError, or OSError if a file cannot be read.
        """
        from todoku.client.kubeconfig import read  # YAML is not needed inside pods

        return cls(**(read(Path(path), context=context) | more))

    @classmethod
    def in_cluster(cls, *, folder: Path = SERVICE_ACCOUNT, **more: Any) -> ClientConfig:
        """The configuration of a pod: its service account's files and the kubernetes Service's address."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise ConfigError("not in a pod: KUBERNETES_SERVICE_HOST is not set")
        shown = f"[{host}]" if ":" in host else host
        namespace = (folder / "namespace").read_text().strip()
        return cls(
            server=f"https://{shown}:{port}",
            ca=(folder / "ca.crt").read_bytes(),
            token_file=str(folder / "token"),
            namespace=namespace,
            **more,
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS side of this configuration; None for plain http."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        context.set_alpn_protocols(["http/1.1"])
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            with _in_memory(self.certificate) as cert, _in_memory(self.key) as key:
                context.load_cert_chain(cert, key)
        return context

    def authorization(self) -> Callable[[], str]:
        """A function that gives the current Authorization header's value, "" for none."""
        if self.username:
            basic = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return lambda: f"Basic {basic}"
        if self.token_file:
            return TokenFile(self.token_file)
        bearer = f"Bearer {self.token}" if self.token else ""
        return lambda: bearer


class TokenFile:
    """A bearer token in a file that somebody else renews."""

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._header = ""

    def __call__(self) -> str:
        now = self._monotonic()
        if now - self._read_at >= TOKEN_LIFETIME_SECONDS:
            self._header = f"Bearer {Path(self._path).read_text().strip()}"
            self._read_at = now
        return self._header

    def expire(self) -> None:
        """Read the file again at the next use (after a 401)."""
        self._read_at = float("-inf")


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path whose file holds `content` in memory only: OpenSSL loads keys from paths alone."""
    descriptor = os.memfd_create("todoku-pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
