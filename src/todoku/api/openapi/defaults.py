"""Defaults that version 3 tells of built-in fields and version 2 does not (`+default` markers of k8s.io/api).

Only those that are no zero values: these tell clients nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api.meta import Object

_CORE = "io.k8s.api.core.v1"
_RBD = {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}
_SCALE_IO = {"storageMode": "ThinProvisioned", "fsType": "xfs"}

_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    f"{_CORE}.AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
    },
    f"{_CORE}.ISCSIPersistentVolumeSource": {"iscsiInterface": "default"},
    f"{_CORE}.ISCSIVolumeSource": {"iscsiInterface": "default"},
    f"{_CORE}.RBDPersistentVolumeSource": _RBD,
    f"{_CORE}.RBDVolumeSource": _RBD,
    f"{_CORE}.ScaleIOPersistentVolumeSource": _SCALE_IO,
    f"{_CORE}.ScaleIOVolumeSource": _SCALE_IO,
}


def with_defaults(name: str, schema: Object) -> Object:
    """A definition in the form of version 3, with its defaults."""
    wanted = _DEFAULTS.get(name)
    if wanted is None:
        return schema
    properties = dict(schema["properties"])
    for field, value in wanted.items():
        properties[field] = {**properties[field], "default": value}
    return {**schema, "properties": properties}
