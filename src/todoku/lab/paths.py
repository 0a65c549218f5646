"""Where a lab keeps things; the layout is part of docs/architecture.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATE: Final = Path("/var/lib/todoku")
RUN: Final = Path("/run/todoku")
CACHE: Final = Path("/var/cache/todoku")

# Whose kubeconfig: the names of files in `pki` and `kubeconfigs`.
ADMIN: Final = "admin"
CONTROLLER_MANAGER: Final = "controller-manager"
SCHEDULER: Final = "scheduler"


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of one lab."""

    name: str

    @property
    def state(self) -> Path:
        """Survives `stop` and a reboot; 0700."""
        return STATE / self.name

    @property
    def run(self) -> Path:
        """Sockets and process ids; gone after a reboot."""
        return RUN / self.name

    @property
    def lock(self) -> Path:
        return RUN / f"{self.name}.lock"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def run_file(self) -> Path:
        return self.run / "run.json"

    @property
    def lab_file(self) -> Path:
        return self.state / "lab.yaml"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The admin's, for this machine: server https://127.0.0.1:PORT."""
        return self.state / "kubeconfig"

    def component_kubeconfig(self, name: str) -> Path:
        """A component's, for use on the LAN: server https://<control plane>:6443."""
        return self.state / "kubeconfigs" / f"{name}.conf"

    @property
    def store(self) -> Path:
        return self.state / "store" / "todoku.db"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def log(self, child: str) -> Path:
        return self.logs / f"{child}.log"

    def node(self, node: str) -> Path:
        """A machine's root folder."""
        return self.state / "nodes" / node

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def images_socket(self) -> Path:
        return self.run / "images.sock"
