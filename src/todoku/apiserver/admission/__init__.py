"""The admission plugins, in the order upstream runs them (pkg/kubeapiserver/options AllOrderedPlugins)."""

from __future__ import annotations

from todoku.apiserver.admission.escalation import RbacEscalation
from todoku.apiserver.admission.lifecycle import NamespaceLifecycle
from todoku.apiserver.admission.limits import LimitRanger
from todoku.apiserver.admission.nodes import NodeRestriction, TaintNodesByCondition
from todoku.apiserver.admission.pod_security import PodSecurity
from todoku.apiserver.admission.pods import DefaultTolerationSeconds, Priority, RuntimeClass
from todoku.apiserver.admission.quota import ResourceQuota
from todoku.apiserver.admission.service_account import ServiceAccount
from todoku.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from todoku.apiserver.config import AdmissionPlugin, Objects


def builtin(objects: Objects) -> list[AdmissionPlugin]:
    """The plugins that run before the webhooks."""
    return [
        NamespaceLifecycle(objects),
        LimitRanger(objects),
        ServiceAccount(objects),
        NodeRestriction(objects),
        TaintNodesByCondition(),
        PodSecurity(objects),
        Priority(objects),
        DefaultTolerationSeconds(),
        DefaultStorageClass(objects),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(objects),
        RuntimeClass(objects),
        DefaultIngressClass(objects),
    ]


__all__ = ["RbacEscalation", "ResourceQuota", "builtin"]
