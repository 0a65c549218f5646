"""Defaults of a PodSpec, in place (pkg/apis/core/v1 defaults)."""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.api.podspec.resources import aggregate, is_huge

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
DEFAULT_MODE = 0o644
# Sources of projected volumes whose feature gates (ClusterTrustBundleProjection, PodCertificateRequest) are off.
GATED_PROJECTIONS = ("clusterTrustBundle", "podCertificate")


def containers_of(spec: Object) -> Iterator[Object]:
    """All containers: init, main, ephemeral."""
    for field in CONTAINER_LISTS:
        for container in spec.get(field) or ():
            if isinstance(container, dict):
                yield container


def default_template(template: Object) -> None:
    """Defaults of a PodTemplateSpec."""
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


_SPEC_DEFAULTS = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}


def default_pod_spec(spec: Object) -> None:
    """What Pods and templates share; Pods add `default_pod_only`."""
    for field, value in _SPEC_DEFAULTS.items():
        if not spec.get(field):
            spec[field] = value
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    spec.pop("schedulingGroup", None)  # feature gate GenericWorkload
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    _default_service_account(spec)
    for container in containers_of(spec):
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    if spec.get("resources"):
        _canonical_resources(spec["resources"])
    for key, amount in (spec.get("overhead") or {}).items():
        spec["overhead"][key] = _canonical_resource(amount)


def default_pod_only(spec: Object) -> None:
    """What only Pods get: requests from limits, amounts of the pod as a whole, service links, host ports."""
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            _requests_from_limits(container.get("resources") or {})
            if spec.get("hostNetwork"):
                _default_host_ports(container)
    if spec.get("resources"):
        _default_pod_resources(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True


def _default_pod_resources(spec: Object) -> None:
    """What the pod states for itself is completed from its containers (KEP-2837)."""
    resources = spec["resources"]
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    if not requests and not limits:
        return
    for name, amount in aggregate(spec, "limits").items():
        if is_huge(name) and name not in requests:
            limits.setdefault(name, str(amount))
    if limits:
        for name, amount in aggregate(spec, "requests").items():
            if name in ("cpu", "memory"):
                requests.setdefault(name, str(amount))
        for name, amount in limits.items():
            if name in ("cpu", "memory") or is_huge(name):
                requests.setdefault(name, amount)
    for field, amounts in (("limits", limits), ("requests", requests)):
        if amounts:
            resources[field] = amounts


def _default_service_account(spec: Object) -> None:
    """`serviceAccount` is the old name of `serviceAccountName`; both are always shown."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _default_host_ports(container: Object) -> None:
    for port in container.get("ports") or ():
        if not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort", 0)


def _requests_from_limits(resources: Object) -> None:
    limits = resources.get("limits") or {}
    if limits:
        requests = dict(resources.get("requests") or {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)
        resources["requests"] = requests


def pull_policy(image: str) -> str:
    """`Always` for `latest` (or no tag and no digest), else `IfNotPresent`."""
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    return "Always" if tag == "latest" or (not tag and not digest) else "IfNotPresent"


def _default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    if container.get("resources") is None:
        container["resources"] = {}
    _canonical_resources(container["resources"])
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe):
            _default_probe(container[probe])
    lifecycle = container.get("lifecycle")
    if lifecycle:
        lifecycle.pop(
            "stopSignal", None
        )  # without the feature gate ContainerStopSignals there is none
        for hook in lifecycle.values():
            if isinstance(hook, dict):
                _default_handler(hook)
    for variable in container.get("env") or ():
        _default_variable(variable)


def _canonical_resources(resources: Object) -> None:
    for field in ("limits", "requests"):
        amounts = resources.get(field)
        if isinstance(amounts, dict):
            for name, amount in amounts.items():
                amounts[name] = _canonical_resource(amount)


def _canonical_resource(amount: object) -> object:
    """The canonical text of a resource's amount; what is no quantity stays for validation to name."""
    try:
        return quantities.canonical_milli(amount)  # type: ignore[arg-type]
    except quantities.QuantityError:
        return amount


def _canonical(amount: object) -> object:
    """The canonical text; what is no quantity stays for validation to name."""
    try:
        return quantities.canonical(amount)  # type: ignore[arg-type]
    except quantities.QuantityError:
        return amount


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    _default_handler(probe)


def _default_handler(handler: Object) -> None:
    http = handler.get("httpGet")
    if http is not None:
        if not http.get("path"):
            http["path"] = "/"
        if not http.get("scheme"):
            http["scheme"] = "HTTP"
    grpc = handler.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _default_variable(variable: Object) -> None:
    source = variable.get("valueFrom") or {}
    _default_field_ref(source)
    reference = source.get("resourceFieldRef")
    if reference is not None:
        reference["divisor"] = _canonical(reference.get("divisor", "0"))


def _default_field_ref(holder: Object) -> None:
    reference = holder.get("fieldRef")
    if reference is not None and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"


def _default_volume(volume: Object) -> None:
    if not any(value is not None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}
        return
    for field in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(field)
        if source is not None and source.get("defaultMode") is None:
            source["defaultMode"] = DEFAULT_MODE
    _default_files(volume.get("downwardAPI") or {})
    for source in (volume.get("projected") or {}).get("sources") or ():
        for gated in GATED_PROJECTIONS:
            source.pop(gated, None)
        _default_files(source.get("downwardAPI") or {})
        token = source.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
    default_volume_source(volume)


def _default_files(source: Object) -> None:
    for item in source.get("items") or ():
        _default_variable({"valueFrom": item})


# volume source -> field -> default
_VOLUME_DEFAULTS: dict[str, dict[str, object]] = {
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "readOnly": False,
        "kind": "Shared",
    },
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_volume_source(volume: Object) -> None:
    """Of a pod's volume, or of what a PersistentVolume says where it is."""
    for source, fields in _VOLUME_DEFAULTS.items():
        if volume.get(source) is not None:
            for field, value in fields.items():
                if volume[source].get(field) is None:
                    volume[source][field] = value
    empty = volume.get("emptyDir")
    if empty and empty.get("sizeLimit") is not None:
        empty["sizeLimit"] = _canonical(empty["sizeLimit"])
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim:
        wanted = claim.setdefault("spec", {})
        wanted.setdefault("volumeMode", "Filesystem")
        _canonical_resources(wanted.get("resources") or {})
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference") or "")
