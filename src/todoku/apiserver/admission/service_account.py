"""ServiceAccount: every pod gets an identity, its token as a projected volume, and the account's pull secrets.

Source: docs, Configure Service Accounts for Pods; the volume's layout is the kubelet's contract with client
libraries (`/var/run/secrets/kubernetes.io/serviceaccount/{token,ca.crt,namespace}`).
"""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api import names
from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.apiserver.admission.base import (
    Plugin,
    creates,
    is_mirror_pod,
    new_object,
    new_spec,
    refusal,
)
from todoku.apiserver.config import Attributes, Objects
from todoku.apiserver.tokens import EXTENDABLE_SECONDS

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
_ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccount(Plugin):
    name = "ServiceAccount"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, "pods") or is_mirror_pod(new_object(attributes)):
            return
        spec = new_spec(attributes)
        name = spec.get("serviceAccountName") or "default"
        # the deprecated alias follows
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self._account(attributes, name)
        if _automounts(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(one) for one in account["imagePullSecrets"]]

    async def validate(self, attributes: Attributes) -> None:
        if not creates(attributes, "pods"):
            return
        pod = new_object(attributes)
        if is_mirror_pod(pod):
            _refuse_identity(attributes, new_spec(attributes))
            return
        account = self._account(
            attributes, new_spec(attributes).get("serviceAccountName") or "default"
        )
        if (account["metadata"].get("annotations") or {}).get(_ENFORCE_SECRETS) == "true":
            self._check_secrets(attributes, new_spec(attributes), account)

    def _account(self, attributes: Attributes, name: str) -> Object:
        account = self._objects.get("serviceaccounts", name, attributes.namespace)
        if account is None:
            raise self._missing(attributes, name)
        return account

    def _missing(self, attributes: Attributes, name: str) -> ApiError:
        return refusal(
            attributes,
            f"error looking up service account {attributes.namespace}/{name}: "
            f'serviceaccount "{name}" not found',
        )

    def _check_secrets(self, attributes: Attributes, spec: Object, account: Object) -> None:
        allowed = {one.get("name") for one in account.get("secrets") or ()}
        for volume in spec.get("volumes") or ():
            secret = (volume.get("secret") or {}).get("secretName")
            if secret and secret not in allowed:
                raise refusal(
                    attributes,
                    f'volume with secret.secretName="{secret}" is not allowed because service '
                    f"account {account['metadata']['name']} does not reference that secret",
                )


def _refuse_identity(attributes: Attributes, spec: Object) -> None:
    if spec.get("serviceAccountName"):
        raise refusal(attributes, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            raise refusal(attributes, "a mirror pod may not reference secrets")
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any(source.get("serviceAccountToken") for source in sources):
            text = "a mirror pod may not use ServiceAccountToken volume projections"
            raise refusal(attributes, text)


def _automounts(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    """Mount a token volume into every container that has nothing at the path yet."""
    existing = [
        one["name"]
        for one in spec.get("volumes") or ()
        if one.get("name", "").startswith(VOLUME_PREFIX)
    ]
    volume = existing[0] if existing else VOLUME_PREFIX + names.random_suffix()
    mounted = False
    for container in _containers(spec):
        mounts = container.setdefault("volumeMounts", [])
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        mounts.append({"name": volume, "readOnly": True, "mountPath": MOUNT_PATH})
        mounted = True
    if mounted and not existing:
        spec.setdefault("volumes", []).append(_token_volume(volume))


def _token_volume(name: str) -> Object:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": EXTENDABLE_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
            ],
            "defaultMode": 0o644,
        },
    }  # fmt: skip


def _containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()
