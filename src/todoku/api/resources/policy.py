"""PodDisruptionBudget (policy/v1), LimitRange (core/v1), PriorityClass, RuntimeClass, Lease, CSR."""

from __future__ import annotations

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import (
    AGE,
    CREATED_AT,
    NAME,
    clear_status,
    keep_all_but_status,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.resources.workloads import above_hundred_percent, int_or_percent_problems
from todoku.api.selectors import selector_problems
from todoku.api.tables import created
from todoku.api.times import age

_SPEC = Path("spec")


def _validate_budget(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    minimum, maximum = spec.get("minAvailable"), spec.get("maxUnavailable")
    if minimum is not None and maximum is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        problems.append(invalid(_SPEC, spec, text))
    for field in ("minAvailable", "maxUnavailable"):
        if spec.get(field) is not None:
            problems += int_or_percent_problems(spec[field], _SPEC / field)
            problems += above_hundred_percent(spec[field], _SPEC / field)
    problems += selector_problems(spec.get("selector"), _SPEC / "selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    supported = ("AlwaysAllow", "IfHealthyBudget")
    if policy is not None and policy not in supported:
        problems.append(not_supported(_SPEC / "unhealthyPodEvictionPolicy", policy, supported))
    return problems


def _shown(value: object) -> object:
    return "N/A" if value is None else str(value)


DISRUPTION_BUDGET = Rules(
    strategy=Strategy(
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_budget,
    ),
    columns=(
        NAME,
        Column(
            name="Min Available", description="The minimum number of pods that must be available."
        ),
        Column(
            name="Max Unavailable",
            description="The maximum number of pods that may be unavailable.",
        ),
        Column(
            name="Allowed Disruptions",
            type="integer",
            description="Calculated number of pods that may be disrupted at this time.",
        ),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        _shown((obj.get("spec") or {}).get("minAvailable")),
        _shown((obj.get("spec") or {}).get("maxUnavailable")),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        created(obj),
    ],
)


def _canonical_map(amounts: Object | None) -> None:
    if amounts:
        for name, amount in amounts.items():
            if quantities.is_quantity(amount):
                amounts[name] = quantities.canonical(amount)


def _default_limits(obj: Object) -> None:
    for limit in (obj.get("spec") or {}).get("limits") or ():
        for field in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"):
            _canonical_map(limit.get(field))
        if limit.get("type") == "Container":
            _default_container_limits(limit)


def _default_container_limits(limit: Object) -> None:
    default = dict(limit.get("default") or {})
    for name, amount in (limit.get("max") or {}).items():
        default.setdefault(name, amount)
    asked = dict(limit.get("defaultRequest") or {})
    for source in (default, limit.get("min") or {}):
        for name, amount in source.items():
            asked.setdefault(name, amount)
    for field, value in (("default", default), ("defaultRequest", asked)):
        if value:
            limit[field] = value


def _validate_limits(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    kinds: set[str] = set()
    for index, limit in enumerate((new.get("spec") or {}).get("limits") or ()):
        at, kind = _SPEC / "limits" / index, limit.get("type") or ""
        if not kind:
            problems.append(required(at / "type"))
        if kind in kinds:
            problems.append(
                FieldError(at / "type", "FieldValueDuplicate", f'Duplicate value: "{kind}"')
            )
        kinds.add(kind)
        problems += _limit_problems(limit, kind, at)
    return problems


def _amounts(
    limit: Object, field: str, at: Path
) -> tuple[dict[str, quantities.Quantity], list[FieldError]]:
    found: dict[str, quantities.Quantity] = {}
    problems: list[FieldError] = []
    for name, amount in (limit.get(field) or {}).items():
        try:
            found[name] = quantities.parse(amount)
        except quantities.QuantityError as error:
            problems.append(invalid((at / field).key(name), amount, str(error)))
    return found, problems


_ORDER = (
    ("min", "max", "min"),
    ("min", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest"),
    ("min", "default", "default"),
    ("default", "max", "default"),
)
_PHRASES = {
    ("min", "max"): "min value {0} is greater than max value {1}",
    ("min", "defaultRequest"): "min value {0} is greater than default request value {1}",
    ("defaultRequest", "max"): "default request value {0} is greater than max value {1}",
    (
        "defaultRequest",
        "default",
    ): "default request value {0} is greater than default limit value {1}",
    ("min", "default"): "min value {0} is greater than default value {1}",
    ("default", "max"): "default value {0} is greater than max value {1}",
}


def _limit_problems(limit: Object, kind: str, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    amounts: dict[str, dict[str, quantities.Quantity]] = {}
    for field in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"):
        amounts[field], more = _amounts(limit, field, at)
        problems += more
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if limit.get(field):
                text = "may not be specified when `type` is 'Pod'"
                problems.append(forbidden(at / field, text))
    if (
        kind == "PersistentVolumeClaim"
        and "storage" not in amounts["min"]
        and "storage" not in amounts["max"]
    ):
        text = "either minimum or maximum storage value is required, but neither was provided"
        problems.append(required(at / "limits", text))
    for low, high, blamed in _ORDER:
        for name, amount in amounts[low].items():
            other = amounts[high].get(name)
            if other is not None and amount > other:
                text = _PHRASES[low, high].format(amount, other)
                problems.append(invalid((at / blamed).key(name), str(amounts[blamed][name]), text))
    return problems


LIMIT_RANGE = Rules(
    strategy=Strategy(
        default=_default_limits, validate=_validate_limits, has_status=False, has_generation=False
    ),
    columns=(NAME, CREATED_AT),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj["metadata"].get("creationTimestamp") or "<unknown>",
    ],
)

_HIGHEST_USER = 1_000_000_000


def _default_priority(obj: Object) -> None:
    if obj.get("preemptionPolicy") is None:
        obj["preemptionPolicy"] = "PreemptLowerPriority"
    obj.setdefault("value", 0)


def _validate_priority(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    name, value = new["metadata"].get("name", ""), new.get("value") or 0
    if name.startswith("system-"):
        known = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
        if known.get(name) != value:
            text = (
                "priority class names with 'system-' prefix are reserved for system use only."
                " error: must be one of the known system priority classes"
            )
            problems.append(forbidden(Path("metadata") / "name", text))
    elif value > _HIGHEST_USER:
        text = f"maximum allowed value of a user defined priority is {_HIGHEST_USER}"
        problems.append(forbidden(Path("value"), text))
    policy = new.get("preemptionPolicy")
    if policy not in ("Never", "PreemptLowerPriority"):
        problems.append(
            not_supported(Path("preemptionPolicy"), policy, ("Never", "PreemptLowerPriority"))
        )
    if old is not None:
        if value != (old.get("value") or 0):
            problems.append(forbidden(Path("value"), "may not be changed in an update."))
        problems += validation.immutable(
            policy, old.get("preemptionPolicy"), Path("preemptionPolicy")
        )
    return problems


PRIORITY_CLASS = Rules(
    strategy=Strategy(default=_default_priority, validate=_validate_priority, has_status=False),
    columns=(
        NAME,
        Column(name="Value", type="integer", documents="scheduling.v1.PriorityClass.value"),
        Column(
            name="Global-Default",
            type="boolean",
            documents="scheduling.v1.PriorityClass.globalDefault",
        ),
        AGE,
        Column(name="PreemptionPolicy", documents="scheduling.v1.PriorityClass.preemptionPolicy"),
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        created(obj),
        obj.get("preemptionPolicy", ""),
    ],
)


def _validate_runtime(new: Object, old: Object | None) -> list[FieldError]:
    handler = new.get("handler") or ""
    problems = [
        invalid(Path("handler"), handler, text) for text in validation.dns1123_label(handler)
    ]
    if old is not None:
        problems += validation.immutable(handler, old.get("handler"), Path("handler"))
    return problems


RUNTIME_CLASS = Rules(
    strategy=Strategy(validate=_validate_runtime, has_status=False, has_generation=False),
    columns=(NAME, Column(name="Handler"), AGE),
    row=lambda obj: [obj["metadata"]["name"], obj.get("handler", ""), created(obj)],
)


def _validate_lease(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        problems.append(invalid(_SPEC / "leaseDurationSeconds", seconds, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        text = "must be greater than or equal to 0"
        problems.append(invalid(_SPEC / "leaseTransitions", transitions, text))
    if spec.get("holderIdentity") == "":
        problems.append(invalid(_SPEC / "holderIdentity", "", "must not be empty"))
    return problems


LEASE = Rules(
    strategy=Strategy(
        validate=_validate_lease,
        has_status=False,
        has_generation=False,
        allow_create_on_update=True,
        allow_unconditional_update=False,
    ),
    columns=(
        NAME,
        Column(name="Holder", documents="coordination.v1.LeaseSpec.holderIdentity"),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        (obj.get("spec") or {}).get("holderIdentity", ""),
        created(obj),
    ],
)


def _prepare_csr(obj: Object) -> None:
    obj["status"] = {}


def _note_requestor(obj: Object, user: Object) -> None:
    """Whose certificate is asked for is whoever asks, whatever the object said."""
    spec = obj.setdefault("spec", {})
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec.update(user)


def _keep_csr(new: Object, old: Object) -> None:
    new["spec"] = old.get("spec") or {}
    keep_status(new, old)


def _validate_csr(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    if not spec.get("request"):
        problems.append(
            invalid(_SPEC / "request", "", "PEM block type must be CERTIFICATE REQUEST")
        )
    if not spec.get("usages"):
        problems.append(required(_SPEC / "usages", "usages must be provided"))
    signer = spec.get("signerName") or ""
    if not signer:
        problems.append(required(_SPEC / "signerName"))
    elif "/" not in signer:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        problems.append(invalid(_SPEC / "signerName", signer, text))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        problems.append(invalid(_SPEC / "expirationSeconds", seconds, text))
    return problems


def _csr_state(obj: Object) -> str:
    status = obj.get("status") or {}
    kinds = [one.get("type") for one in status.get("conditions") or ()]
    shown = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        shown += ",Failed"
    return shown + (",Issued" if status.get("certificate") else "")


def _csr_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds")

    return [
        obj["metadata"]["name"],
        created(obj),
        spec.get("signerName") or "<none>",
        spec.get("username", ""),
        age(seconds) if seconds else "<none>",
        _csr_state(obj),
    ]


CERTIFICATE_SIGNING_REQUEST = Rules(
    strategy=Strategy(
        prepare_create=_prepare_csr,
        note_creator=_note_requestor,
        prepare_update=_keep_csr,
        prepare_status=keep_all_but_status,
        validate=_validate_csr,
        selectable_fields=lambda obj: {
            "spec.signerName": (obj.get("spec") or {}).get("signerName", "")
        },
        selectable_field_names=("spec.signerName",),
        has_generation=False,
    ),
    columns=(
        NAME,
        AGE,
        Column(
            name="SignerName", documents="certificates.v1.CertificateSigningRequestSpec.signerName"
        ),
        Column(name="Requestor", documents="certificates.v1.CertificateSigningRequestSpec.request"),
        Column(
            name="RequestedDuration",
            documents="certificates.v1.CertificateSigningRequestSpec.expirationSeconds",
        ),
        Column(
            name="Condition", documents="certificates.v1.CertificateSigningRequestStatus.conditions"
        ),
    ),
    row=_csr_row,
)
