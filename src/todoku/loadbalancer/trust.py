"""Keeps the webhooks trusted: certificate in its Secret, caBundle where the API server looks.

It follows the Secret, the webhook configuration and the BGPPeer CRD, so that applying the manifest again (which
empties them) heals within moments.  `ready` is set once the pod's own Secret volume shows the certificate.
"""

import asyncio
import base64
import ssl
from collections.abc import Callable
from pathlib import Path

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api.meta import Key, Object, copy
from todoku.client import Client, Informer, InformerFactory
from todoku.loadbalancer import certificates

log = logs.get(__name__)

WEBHOOKS = "validatingwebhookconfigurations.admissionregistration.k8s.io"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
WEBHOOK_NAME = "metallb-webhook-configuration"
CONVERTED = "bgppeers.metallb.io"
_LOOK_EVERY_SECONDS = 0.25
_LOOK_AGAIN_SECONDS = 5.0
_CHECK_EVERY_SECONDS = 12 * 3600.0
_TRUST = Key("", "trust")


class Trust:
    """See the module.  `context` is the webhook server's; `run` works until cancelled."""

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        *,
        secret: Key,
        service: str,
        folder: Path,
        context: ssl.SSLContext,
    ) -> None:
        self._client, self._secret, self._folder, self._context = client, secret, folder, context
        self._names = [f"{service}.{secret.namespace}.svc", f"{service}.{secret.namespace}"]
        self._queue: WorkQueue[Key] = WorkQueue("trust")
        self._checked: dict[str, str] = {}
        self._bundle = ""
        self.ready = asyncio.Event()
        self._informers = (
            informers.informer("secrets", namespace=secret.namespace, fields=_named(secret.name)),
            informers.informer(WEBHOOKS, fields=_named(WEBHOOK_NAME)),
            informers.informer(DEFINITIONS, fields=_named(CONVERTED)),
        )
        for informer in self._informers:
            informer.subscribe(lambda _: self._queue.add(_TRUST))

    async def run(self) -> None:
        for informer in self._informers:
            await informer.synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._queue.run(self._reconcile), name="trust-queue")
            tasks.create_task(self._check_now_and_then(), name="trust-expiry")
            tasks.create_task(self._follow_volume(), name="trust-volume")

    async def _check_now_and_then(self) -> None:
        while True:
            self._checked = {}
            self._queue.add(_TRUST)
            await asyncio.sleep(_CHECK_EVERY_SECONDS)

    async def _reconcile(self, _: Key) -> None:
        secrets, webhooks, definitions = self._informers
        secret = secrets.get(self._secret)
        if secret is None:
            raise RuntimeError(f"Secret {self._secret} is missing: apply MetalLB's manifest again")
        data = certificates.decoded(secret)
        if not data or data != self._checked:
            made = await certificates.renewed(data, self._names)
            if made != {name: data.get(name) for name in certificates.FIELDS}:
                changed = secret | {"data": certificates.encoded(made)}
                await self._client.update("secrets", changed)
                log.info("Webhook certificate made", secret=self._secret)
                return  # the informer brings us back with what the server has
            self._checked = data
        self._bundle = base64.b64encode(data["ca.crt"].encode()).decode()
        await self._put(webhooks, Key("", WEBHOOK_NAME), with_webhook_bundle)
        await self._put(definitions, Key("", CONVERTED), with_conversion_bundle)

    async def _put(
        self, informer: Informer, key: Key, changed: Callable[[Object, str], Object]
    ) -> None:
        present = informer.get(key)
        if present is None:
            log.warning("Nothing to put the caBundle into", resource=informer.resource, name=key)
            return
        wanted = changed(present, self._bundle)
        if wanted != present:
            await self._client.update(informer.resource, wanted)
            log.info("caBundle written", resource=informer.resource, name=key)

    async def _follow_volume(self) -> None:
        """Load the pair from the Secret volume whenever that shows a new one that is also the Secret's."""
        loaded = ""
        while True:
            shown = _read(
                self._folder / "tls.crt"
            )  # a Secret volume is memory: no need of a thread
            if shown and shown != loaded and shown == self._checked.get("tls.crt"):
                try:
                    self._context.load_cert_chain(
                        self._folder / "tls.crt", self._folder / "tls.key"
                    )
                except ssl.SSLError as problem:  # half of an update: the next look has both
                    log.warning("Certificate not loaded yet", problem=problem)
                else:
                    loaded = shown
                    log.info("Webhook certificate loaded", folder=self._folder)
                    self.ready.set()
            waits = _LOOK_AGAIN_SECONDS if loaded == self._checked.get("tls.crt") else None
            await asyncio.sleep(waits or _LOOK_EVERY_SECONDS)


def with_webhook_bundle(configuration: Object, bundle: str) -> Object:
    """The ValidatingWebhookConfiguration with `bundle` (base64) in every webhook."""
    changed: Object = copy(configuration)
    for webhook in changed.get("webhooks") or ():
        webhook.setdefault("clientConfig", {})["caBundle"] = bundle
    return changed


def with_conversion_bundle(definition: Object, bundle: str) -> Object:
    """The CRD with `bundle` (base64) in its conversion webhook, if it has one."""
    conversion = (definition.get("spec") or {}).get("conversion") or {}
    if conversion.get("strategy") != "Webhook":
        return definition
    changed: Object = copy(definition)
    webhook = changed["spec"]["conversion"].setdefault("webhook", {})
    webhook.setdefault("clientConfig", {})["caBundle"] = bundle
    return changed


def _named(name: str) -> str:
    return f"metadata.name={name}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
