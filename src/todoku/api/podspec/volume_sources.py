"""Validation of what volumes are made of: one function per kind, for pods and PersistentVolumes alike.

Paths are upstream's, also where they are not the field's name (`persistentDisk`, `initiatorname`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.meta import Object
from todoku.api.podspec.paths import backstep_problems, descending_problems

Check = Callable[[Object, Path], list[FieldError]]

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip


def needs(*fields: str) -> Check:
    """A check that only asks for fields."""

    def check(source: Object, path: Path) -> list[FieldError]:
        return [required(path / field) for field in fields if not source.get(field)]

    return check


def _host_path(source: Object, path: Path) -> list[FieldError]:
    where = source.get("path") or ""
    if not where:
        return [required(path / "path")]
    problems = backstep_problems(where, path / "path")
    kind = source.get("type")
    if kind is not None and kind not in HOST_PATH_TYPES:
        problems.append(not_supported(path / "type", kind, HOST_PATH_TYPES))
    return problems


def _git(source: Object, path: Path) -> list[FieldError]:
    problems = needs("repository")(source, path)
    return problems + descending_problems(source.get("directory") or "", path / "directory")


def _disk(field: str) -> Check:
    """A cloud's disk: its name, and a partition of it."""

    def check(source: Object, path: Path) -> list[FieldError]:
        problems = needs(field)(source, path)
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            text = "must be between 1 and 255, inclusive"
            problems.append(invalid(path / "partition", partition, text))
        return problems

    return check


def _nfs(source: Object, path: Path) -> list[FieldError]:
    problems = needs("server", "path")(source, path)
    where = source.get("path") or ""
    if not where.startswith("/"):
        problems.append(invalid(path / "path", where, "must be an absolute path"))
    return problems


_IQN = {
    "iqn": re.compile(r".*iqn\.\d{4}-\d{2}\.([0-9A-Za-z-.]+)(:[^,;*&$|\s]+)"),
    "eui": re.compile(r"eui.[0-9A-Za-z]{16}"),
    "naa": re.compile(r"naa.[0-9A-Za-z]{32}"),
}


def _initiator_problems(name: str, path: Path, unknown: str) -> list[FieldError]:
    form = _IQN.get(name[:3])
    if form is None:
        return [invalid(path, name, unknown)]
    return [] if form.fullmatch(name) else [invalid(path, name, "must be valid format")]


def iscsi(*, volume: str = "", persistent: bool = False) -> Check:
    """iSCSI; `volume` is the volume's name, which shares a limit with the portal."""
    unknown = (
        "must be valid format"
        if persistent
        else "must be valid format starting with iqn, eui, or naa"
    )

    def check(source: Object, path: Path) -> list[FieldError]:
        problems = needs("targetPortal")(source, path)
        name, portal = source.get("initiatorName"), source.get("targetPortal") or ""
        if persistent and name is not None and len(f"{volume}:{portal}") > 64:
            problems.append(invalid(path / "targetportal", portal, ISCSI_TOO_LONG))
        iqn = source.get("iqn") or ""
        problems += (
            _initiator_problems(iqn, path / "iqn", unknown) if iqn else [required(path / "iqn")]
        )
        lun = source.get("lun") or 0
        if not 0 <= lun <= 255:
            problems.append(invalid(path / "lun", lun, "must be between 0 and 255, inclusive"))
        chap = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
        if chap and source.get("secretRef") is None:
            problems.append(required(path / "secretRef"))
        if persistent:
            problems += _secret_name(source, path)
        if name is not None:
            problems += _initiator_problems(name, path / "initiatorname", unknown)
        return problems

    return check


ISCSI_TOO_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters"
    " if iscsi.initiatorName is specified."
)


def _fc(source: Object, path: Path) -> list[FieldError]:
    targets, wwids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    problems: list[FieldError] = []
    if not targets and not wwids:
        text = "must specify either targetWWNs or wwids, but not both"
        problems.append(required(path / "targetWWNs", text))
    if targets and wwids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        problems.append(invalid(path / "targetWWNs", targets, text))
    if targets and lun is None:
        problems.append(required(path / "lun", "lun is required if targetWWNs is specified"))
    elif targets and lun is not None and not 0 <= lun <= 255:
        problems.append(invalid(path / "lun", lun, "must be between 0 and 255, inclusive"))
    return problems


def _flocker(source: Object, path: Path) -> list[FieldError]:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    problems: list[FieldError] = []
    if not name and not uid:
        problems.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uid:
        text = "datasetName and datasetUUID can not be specified simultaneously"
        problems.append(invalid(path, "resource", text))
    if "/" in name:
        problems.append(invalid(path / "datasetName", name, "must not contain '/'"))
    return problems


def _quobyte(source: Object, path: Path) -> list[FieldError]:
    registry, tenant = source.get("registry") or "", source.get("tenant") or ""
    text = "must be a host:port pair or multiple pairs separated by commas"
    problems: list[FieldError] = []
    if not registry:
        problems.append(required(path / "registry", text))
    elif len(tenant) >= 65:
        shown = "must be a UUID and may not exceed a length of 64 characters"
        problems.append(required(path / "tenant", shown))
    else:
        problems += [
            invalid(path / "registry", registry, text)
            for pair in registry.split(",")
            if not re.fullmatch(r"([^:\[\]]*|\[[^\[\]]*\]):[^:\[\]]*", pair)
        ]
    return problems + needs("volume")(source, path)


def _glusterfs_volume(source: Object, path: Path) -> list[FieldError]:
    problems = needs("endpoints", "path")(source, path)
    namespace, at = source.get("endpointsNamespace"), path / "endpointsNamespace"
    if namespace == "":
        text = "if the endpointnamespace is set, it must be a valid namespace name"
        problems.append(invalid(at, namespace, text))
    elif namespace is not None:
        texts = validation.dns1123_label(namespace)
        problems += [invalid(at, namespace, text) for text in texts]
    return problems


def _secret_name(source: Object, path: Path, *fields: str) -> list[FieldError]:
    """The name (and what else) that a reference to a Secret needs, if there is one."""
    reference = source.get("secretRef")
    if reference is None:
        return []
    return needs("name", *fields)(reference, path / "secretRef")


def _cinder(*fields: str) -> Check:
    def check(source: Object, path: Path) -> list[FieldError]:
        return needs("volumeID")(source, path) + _secret_name(source, path, *fields)

    return check


def _flex(source: Object, path: Path) -> list[FieldError]:
    problems = needs("driver")(source, path)
    for key in source.get("options") or ():
        namespace = "." + key.partition("/")[0].lower()
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            text = "kubernetes.io and k8s.io namespaces are reserved"
            problems.append(invalid((path / "options").key(key), key, text))
    return problems


def _azure_file_volume(source: Object, path: Path) -> list[FieldError]:
    problems = needs("secretName", "shareName")(source, path)
    if source.get("secretNamespace") == "":
        problems.append(required(path / "secretNamespace"))
    return problems


_CACHING, _DISK_KINDS = ("None", "ReadOnly", "ReadWrite"), ("Dedicated", "Managed", "Shared")
_MANAGED_URI = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(source: Object, path: Path) -> list[FieldError]:
    problems = needs("diskName", "diskURI")(source, path)
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if caching is not None and caching not in _CACHING:
        problems.append(not_supported(path / "cachingMode", caching, _CACHING))
    if kind is not None and kind not in _DISK_KINDS:
        problems.append(not_supported(path / "kind", kind, _DISK_KINDS))
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        problems.append(not_supported(path / "diskURI", uri, (_MANAGED_URI,)))
    elif kind not in (None, "Managed") and not uri.startswith("https://"):
        problems.append(not_supported(path / "diskURI", uri, (_BLOB_URI,)))
    return problems


def _storage_os(*fields: str) -> Check:
    def check(source: Object, path: Path) -> list[FieldError]:
        name, namespace = source.get("volumeName") or "", source.get("volumeNamespace") or ""
        problems = needs("volumeName")(source, path)
        for field, value in (("volumeName", name), ("volumeNamespace", namespace)):
            if value:
                texts = validation.dns1123_label(value)
                problems += [invalid(path / field, value, text) for text in texts]
        return problems + _secret_name(source, path, *fields)

    return check


def driver_problems(name: str, path: Path) -> list[FieldError]:
    """The name of a CSI driver (ValidateCSIDriverName)."""
    problems = [] if name else [required(path)]
    if len(name) > 63:
        problems.append(too_long(path, 63))
    texts = validation.dns1123_subdomain(name.lower())
    return problems + [invalid(path, name, text) for text in texts]


def _csi(source: Object, path: Path) -> list[FieldError]:
    problems = driver_problems(source.get("driver") or "", path / "driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None:
        name = secret.get("name") or ""
        if not name:
            problems.append(required(path / "nodePublishSecretRef" / "name"))
        else:
            texts = validation.dns1123_subdomain(name)
            problems += [invalid(path / "name", name, text) for text in texts]
    return problems


_CSI_SECRETS = (
    "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
)  # fmt: skip


def _csi_volume(source: Object, path: Path) -> list[FieldError]:
    problems = driver_problems(source.get("driver") or "", path / "driver")
    problems += needs("volumeHandle")(source, path)
    for field in _CSI_SECRETS:
        if source.get(field) is not None:
            problems += _secret_reference(source[field], path / field)
    return problems


def _secret_reference(reference: Object, path: Path) -> list[FieldError]:
    """validatePVSecretReference."""
    problems: list[FieldError] = []
    for field, rule in (
        ("name", validation.dns1123_subdomain),
        ("namespace", validation.dns1123_label),
    ):
        value = reference.get(field) or ""
        if not value:
            problems.append(required(path / field))
        else:
            problems += [invalid(path / field, value, text) for text in rule(value)]
    return problems


def _local(source: Object, path: Path) -> list[FieldError]:
    where = source.get("path") or ""
    return backstep_problems(where, path / "path") if where else [required(path / "path")]


# field -> (check, the name in the check's path, the name in the refusal of a second source)
Sources = Mapping[str, tuple[Check, str, str]]


def _same(field: str, check: Check) -> tuple[str, tuple[Check, str, str]]:
    return field, (check, field, field)


_SCALE_IO = needs("gateway", "system", "volumeName")

# What pods and PersistentVolumes check alike.
COMMON: Sources = dict(
    [
        _same("hostPath", _host_path),
        ("gcePersistentDisk", (_disk("pdName"), "persistentDisk", "gcePersistentDisk")),
        _same("awsElasticBlockStore", _disk("volumeID")),
        _same("nfs", _nfs),
        _same("flocker", _flocker),
        _same("rbd", needs("monitors", "image")),
        ("cephfs", (needs("monitors"), "cephfs", "cephFS")),
        _same("quobyte", _quobyte),
        _same("fc", _fc),
        _same("flexVolume", _flex),
        _same("vsphereVolume", needs("volumePath")),
        _same("photonPersistentDisk", needs("pdID")),
        _same("portworxVolume", needs("volumeID")),
        _same("azureDisk", _azure_disk),
        _same("scaleIO", _SCALE_IO),
    ]
)
POD_ONLY: Sources = dict(
    [
        _same("gitRepo", _git),
        _same("glusterfs", needs("endpoints", "path")),
        _same("cinder", _cinder()),
        _same("azureFile", needs("secretName", "shareName")),
        _same("storageos", _storage_os()),
        _same("csi", _csi),
        _same("persistentVolumeClaim", needs("claimName")),
    ]
)
PERSISTENT_ONLY: Sources = dict(
    [
        _same("glusterfs", _glusterfs_volume),
        _same("cinder", _cinder("namespace")),
        _same("azureFile", _azure_file_volume),
        _same("local", _local),
        _same("storageos", _storage_os("namespace")),
        _same("csi", _csi_volume),
    ]
)
# The order in which upstream looks at a PersistentVolume's sources.
PERSISTENT_ORDER = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte",
    "cephfs", "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk",
    "portworxVolume", "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip


def persistent_source_problems(spec: Object, path: Path, name: str) -> list[FieldError]:
    """Exactly one source of the PersistentVolume `name`."""
    checks = {**COMMON, **PERSISTENT_ONLY}
    checks["iscsi"] = (iscsi(volume=name, persistent=True), "iscsi", "iscsi")
    problems: list[FieldError] = []
    seen = 0
    for field in PERSISTENT_ORDER:
        source = spec.get(field)
        if source is None:
            continue
        check, name_in_path, name_refused = checks[field]
        if seen and field != "flexVolume":
            text = "may not specify more than 1 volume type"
            problems.append(forbidden(path / name_refused, text))
            continue
        problems += check(source, path / name_in_path)
        if field == "local" and spec.get("nodeAffinity") is None:
            text = "Local volume requires node affinity"
            problems.append(required(path / "nodeAffinity", text))
        seen += 1
    if not seen:
        problems.append(required(path, "must specify a volume type"))
    return problems
