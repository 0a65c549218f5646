"""The admission plugins, in the order upstream runs them (pkg/kubeapiserver/options AllOrderedPlugins)."""

from __future__ import annotations

from todoku.apiserver.admission import webhooks
from todoku.apiserver.admission.certificates import CertificateRequests
from todoku.apiserver.admission.conditions import Expressions
from todoku.apiserver.admission.devices import DeviceAccess
from todoku.apiserver.admission.escalation import RbacEscalation
from todoku.apiserver.admission.figures import Figures
from todoku.apiserver.admission.hooks import Caller
from todoku.apiserver.admission.lifecycle import NamespaceLifecycle
from todoku.apiserver.admission.limits import LimitRanger
from todoku.apiserver.admission.mutations import MutatingPolicies
from todoku.apiserver.admission.nodes import (
    NodeRestriction,
    PodTopologyLabels,
    TaintNodesByCondition,
)
from todoku.apiserver.admission.pod_security import PodSecurity
from todoku.apiserver.admission.pods import DefaultTolerationSeconds, Priority, RuntimeClass
from todoku.apiserver.admission.policies import Policies
from todoku.apiserver.admission.policy_params import PolicyParams
from todoku.apiserver.admission.quota import ResourceQuota
from todoku.apiserver.admission.resizes import PodResizeValidator
from todoku.apiserver.admission.service_account import ServiceAccount
from todoku.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from todoku.apiserver.admission.validating import ValidatingPolicies
from todoku.apiserver.admission.webhooks import Hooks, MutatingWebhooks, ValidatingWebhooks
from todoku.apiserver.config import AdmissionPlugin, Authorizer, Objects
from todoku.apiserver.outbound import Outbound


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
        PodTopologyLabels(objects),
        PodResizeValidator(objects),
    ]


def dynamic(
    objects: Objects, outbound: Outbound, authorizer: Authorizer, figures: Figures
) -> list[AdmissionPlugin]:
    """The plugins that users configure; `authorizer` answers their expressions."""
    expressions = Expressions(authorizer)
    caller = Caller(outbound, figures)
    changing = Policies(objects, "MutatingAdmission")
    judging = Policies(objects, "ValidatingAdmission")
    return [
        MutatingPolicies(objects, changing, expressions),
        MutatingWebhooks(Hooks(objects, webhooks.MUTATING, expressions), caller),
        ValidatingPolicies(objects, judging, expressions),
        ValidatingWebhooks(Hooks(objects, webhooks.VALIDATING, expressions), caller),
    ]


__all__ = [
    "CertificateRequests",
    "DeviceAccess",
    "Figures",
    "PolicyParams",
    "RbacEscalation",
    "ResourceQuota",
    "builtin",
    "dynamic",
]
