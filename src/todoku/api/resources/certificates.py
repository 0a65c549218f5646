"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from todoku.api.errors import (
    NULL,
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created
from todoku.api.times import age
from todoku.api.validation import dns1123_label, dns1123_subdomain, repeats

_SPEC, _STATUS = Path("spec"), Path("status")
_CONDITIONS = _STATUS / "conditions"
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_DECISIONS = ("Approved", "Denied")
_ONLY_TRUE = (*_DECISIONS, "Failed")
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"


def _note_requestor(obj: Object, user: Object) -> None:
    """Whose certificate is asked for is whoever asks, whatever the object said."""
    spec = obj.setdefault("spec", {})
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec.update(user)


def _prepare_update(new: Object, old: Object) -> None:
    """Nothing but metadata changes."""
    new["spec"] = old.get("spec") or {}
    keep_status(new, old)


def _prepare_status(new: Object, old: Object) -> None:
    """What was decided stays as it was; decisions that were added or left out are problems."""
    keep_all_but_status(new, old)
    found = list((new.get("status") or {}).get("conditions") or ())
    for kind in _DECISIONS:
        before = _of_type((old.get("status") or {}).get("conditions") or (), kind)
        places = [index for index, one in enumerate(found) if one.get("type") == kind]
        if len(before) == len(places):
            for index, one in zip(places, before, strict=True):
                found[index] = one
    if found:
        new["status"]["conditions"] = found


def _of_type(conditions: object, kind: str) -> list[Object]:
    return [one for one in conditions if one.get("type") == kind]  # type: ignore[attr-defined]


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    problems = _request_problems(new, old)
    return problems if old is None else problems + _changes(new, old)


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    return _request_problems(new, old) + _changes(new, old, certificate=True)


def validate_approval(new: Object, old: Object | None) -> list[FieldError]:
    """A write of `/approval`."""
    return _request_problems(new, old) + _changes(new, old or {}, decision=True)


def _request_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    before = (old or {}).get("spec") or {}
    problems = _csr_problems(spec.get("request")) if old is None else []
    usages = spec.get("usages") or ()
    if not usages:
        problems.append(required(_SPEC / "usages"))
    if usages != before.get("usages"):
        problems += [
            not_supported(_SPEC / "usages" / index, one, _USAGES)
            for index, one in enumerate(usages)
            if one not in _USAGES
        ]
        problems += [
            duplicate(_SPEC / "usages" / index, usages[index]) for index in sorted(repeats(usages))
        ]
    problems += _signer(spec.get("signerName") or "", before.get("signerName"))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        problems.append(invalid(_SPEC / "expirationSeconds", seconds, text))
    return problems + _status_problems(new.get("status") or {}, (old or {}).get("status") or {})


def _csr_problems(request: str | None) -> list[FieldError]:
    path, shown = _SPEC / "request", NULL if request is None else request
    try:
        pem = base64.b64decode(request or "")
    except (ValueError, binascii.Error):
        pem = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        return [invalid(path, shown, "PEM block type must be CERTIFICATE REQUEST")]
    from cryptography import x509  # only where requests are made

    try:
        sound = x509.load_pem_x509_csr(pem).is_signature_valid
    except ValueError as error:
        return [invalid(path, shown, f"x509: malformed certificate request: {error}")]
    return [] if sound else [invalid(path, shown, "x509: signature of the request does not verify")]


def _signer(name: str, before: object) -> list[FieldError]:
    """`domain/path` (ValidateSignerName)."""
    path = _SPEC / "signerName"
    if name == _LEGACY_SIGNER:
        if before == name:
            return []
        return [invalid(path, name, "the legacy signerName is not allowed via this API version")]
    if not name:
        return [required(path)]
    segments = name.split("/")
    if len(segments) != 2:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(path, name, text)]
    domain, rest = segments
    problems = [too_long(path, 253)] if len(domain) > 253 else []
    problems += _labels(domain, dns1123_label, path)
    if "." not in domain:
        text = "should be a domain with at least two segments separated by dots"
        problems.append(invalid(path, domain, text))
    problems += _labels(rest, dns1123_subdomain, path)
    return problems + ([too_long(path, 571)] if len(name) > 571 else [])


def _labels(text: str, rule: object, path: Path) -> list[FieldError]:
    """The problems of the first label that has some."""
    for label in text.split("."):
        found = rule(label)  # type: ignore[operator]
        if found:
            return [invalid(path, text, f'validating label "{label}": {one}') for one in found]
    return []


def _status_problems(status: Object, before: Object) -> list[FieldError]:
    conditions = status.get("conditions") or ()
    problems: list[FieldError] = []
    seen: set[str] = set()
    tolerated = {one.get("type") for one in before.get("conditions") or ()} >= set(_DECISIONS)
    for index, one in enumerate(conditions):
        at, kind, state = _CONDITIONS / index, one.get("type") or "", one.get("status") or ""
        if not kind:
            problems.append(required(at / "type"))
        allowed = ("True",) if kind in _ONLY_TRUE else ("False", "True", "Unknown")
        if not state:
            problems.append(required(at / "status"))
        elif state not in allowed:
            problems.append(not_supported(at / "status", state, allowed))
        other = set(_DECISIONS) - {kind}
        if kind in _DECISIONS and not tolerated and other <= seen:
            text = "Approved and Denied conditions are mutually exclusive"
            problems.append(invalid(_CONDITIONS, kind, text))
        if kind in seen:
            problems.append(duplicate(at / "type", kind))
        seen.add(kind)
    certificate = status.get("certificate")
    if certificate and certificate != before.get("certificate"):
        problems += _certificate_problems(certificate)
    return problems


def _certificate_problems(text: str) -> list[FieldError]:
    from cryptography import x509

    path = _STATUS / "certificate"
    try:
        pem = base64.b64decode(text)
        if b"-----BEGIN " not in pem:
            why = "must contain at least one CERTIFICATE PEM block"
            return [invalid(path, "<certificate data>", why)]
        for line in pem.decode(errors="replace").splitlines():
            kind = line.removeprefix("-----BEGIN ").removesuffix("-----")
            if line.startswith("-----BEGIN ") and kind != "CERTIFICATE":
                why = f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
                return [invalid(path, "<certificate data>", why)]
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        return [invalid(path, "<certificate data>", str(error))]
    return []


def _changes(
    new: Object, old: Object, *, certificate: bool = False, decision: bool = False
) -> list[FieldError]:
    """What is decided stays decided; only `/approval` decides, only `/status` signs, and only once."""
    after, before = new.get("status") or {}, old.get("status") or {}
    counts: Mapping[str, tuple[list[Object], list[Object]]] = {
        kind: (
            _of_type(after.get("conditions") or (), kind),
            _of_type(before.get("conditions") or (), kind),
        )
        for kind in _ONLY_TRUE
    }
    problems = [
        forbidden(_CONDITIONS, f'updates may not remove a condition of type "{kind}"')
        for kind, (now, then) in counts.items()
        if len(now) < len(then)
    ]
    for kind in () if decision else _DECISIONS:
        now, then = counts[kind]
        if len(now) > len(then):
            text = f'updates may not add a condition of type "{kind}"'
            problems.append(forbidden(_CONDITIONS, text))
        elif len(now) == len(then) and now != then:
            text = f'updates may not modify a condition of type "{kind}"'
            problems.append(forbidden(_CONDITIONS, text))
    if (after.get("certificate") or "") != (before.get("certificate") or ""):
        if not certificate:
            text = "updates may not set certificate content"
            problems.append(forbidden(_STATUS / "certificate", text))
        elif before.get("certificate"):
            text = "updates may not modify existing certificate content"
            problems.append(forbidden(_STATUS / "certificate", text))
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
        prepare_create=clear_status,
        note_creator=_note_requestor,
        prepare_update=_prepare_update,
        prepare_status=_prepare_status,
        validate=_validate,
        validate_status=_validate_status,
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
