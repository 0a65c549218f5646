"""What survives a restart of the kubelet: one file per pod with its sandbox and its containers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from todoku.aio import log as logs
from todoku.kubelet.records import Container, Delay, PodRecord, Sandbox

log = logs.get(__name__)


class _Saved(msgspec.Struct):
    """The file's contents; `pod` has only what finding and naming it needs."""

    pod: dict[str, Any]
    sandbox: Sandbox | None
    containers: dict[str, list[Container]]
    delays: dict[str, Delay]
    sandbox_attempts: int
    allocated: dict[str, dict[str, Any]] = {}


class PodStore:
    """Files `FOLDER/pods/UID/state.json`.  Reads and writes take well under a millisecond."""

    def __init__(self, folder: Path) -> None:
        self._pods = folder / "pods"
        self._pods.mkdir(parents=True, exist_ok=True)

    def save(self, record: PodRecord) -> None:
        metadata = record.pod["metadata"]
        pod = {
            "metadata": {key: metadata[key] for key in ("namespace", "name", "uid")},
            "spec": {"containers": [], **_kept(record.spec)},
        }
        saved = _Saved(
            pod, record.sandbox, record.containers, record.delays, record.sandbox_attempts,
            record.allocated,
        )  # fmt: skip
        path = self._pods / record.uid / "state.json"
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".tmp")
        partial.write_bytes(msgspec.json.encode(saved))
        os.replace(partial, path)

    def load(self) -> list[PodRecord]:
        """Every pod that ran here when the kubelet stopped."""
        found = []
        for folder in self._pods.iterdir():
            try:
                saved = msgspec.json.decode((folder / "state.json").read_bytes(), type=_Saved)
            except FileNotFoundError:
                continue
            except msgspec.DecodeError:
                log.warning("Unreadable pod state ignored", path=str(folder))
                continue
            record = PodRecord(saved.pod, saved.sandbox, saved.containers, delays=saved.delays)
            record.sandbox_attempts = saved.sandbox_attempts
            record.allocated = saved.allocated
            found.append(record)
        return found

    def folders(self) -> list[str]:
        """The uids that have a folder, with or without state."""
        return [path.name for path in self._pods.iterdir()]


def _kept(spec: dict[str, Any]) -> dict[str, Any]:
    names = ("containers", "initContainers", "ephemeralContainers", "terminationGracePeriodSeconds", "restartPolicy",
             "hostNetwork", "hostPID", "shareProcessNamespace", "nodeName")  # fmt: skip
    return {name: spec[name] for name in names if name in spec}
