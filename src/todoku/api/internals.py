"""How kube-apiserver's internal types print in messages: JSON of the Go struct.

Internal structs have no JSON names, so that every field prints, under its Go name and in the order of the struct.
A field is (Go name, wire name, kind); kinds are `""`, `0` and `false` for values that print when they are absent, `null`
for pointers, lists and maps, and the name of a struct of `STRUCTS` (after `*` behind a pointer, after `[]` as a list).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from todoku.api import internal_pods
from todoku.api.errors import NULL, Rendered, go_json
from todoku.api.internal_pods import Fields
from todoku.api.meta import Object

STRUCTS: Mapping[str, Fields] = {
    **internal_pods.STRUCTS,
    "RoleRef": (("APIGroup", "apiGroup", '""'), ("Kind", "kind", '""'), ("Name", "name", '""')),
    "NonResourceAttributes": (("Path", "path", '""'), ("Verb", "verb", '""')),
    "DeploymentStrategy": (
        ("Type", "type", '""'),
        ("RollingUpdate", "rollingUpdate", "*RollingUpdateDeployment"),
    ),
    "RollingUpdateDeployment": (
        ("MaxUnavailable", "maxUnavailable", "0"),
        ("MaxSurge", "maxSurge", "0"),
    ),
    "StatefulSetUpdateStrategy": (
        ("Type", "type", '""'),
        ("RollingUpdate", "rollingUpdate", "*RollingUpdateStatefulSetStrategy"),
    ),
    "RollingUpdateStatefulSetStrategy": (
        ("Partition", "partition", "0"),
        ("MaxUnavailable", "maxUnavailable", "null"),
    ),
    "PodDisruptionBudgetSpec": (
        ("MinAvailable", "minAvailable", "null"),
        ("Selector", "selector", "null"),
        ("MaxUnavailable", "maxUnavailable", "null"),
        ("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", "null"),
    ),
    "ServiceCIDRSpec": (("CIDRs", "cidrs", "null"),),
    "ParentReference": (
        ("Group", "group", '""'),
        ("Resource", "resource", '""'),
        ("Namespace", "namespace", '""'),
        ("Name", "name", '""'),
    ),
    "FlowDistinguisherMethod": (("Type", "type", '""'),),
    "FlowSchemaSpec": (
        ("PriorityLevelConfiguration", "priorityLevelConfiguration", "PriorityLevelConfigurationReference"),
        ("MatchingPrecedence", "matchingPrecedence", "0"),
        ("DistinguisherMethod", "distinguisherMethod", "*FlowDistinguisherMethod"),
        ("Rules", "rules", "[]PolicyRulesWithSubjects"),
    ),
    "PriorityLevelConfigurationReference": (("Name", "name", '""'),),
    "PolicyRulesWithSubjects": (
        ("Subjects", "subjects", "[]FlowSubject"),
        ("ResourceRules", "resourceRules", "[]ResourcePolicyRule"),
        ("NonResourceRules", "nonResourceRules", "[]NonResourcePolicyRule"),
    ),
    "FlowSubject": (
        ("Kind", "kind", '""'),
        ("User", "user", "*NamedSubject"),
        ("Group", "group", "*NamedSubject"),
        ("ServiceAccount", "serviceAccount", "*ServiceAccountSubject"),
    ),
    "NamedSubject": (("Name", "name", '""'),),
    "ServiceAccountSubject": (("Namespace", "namespace", '""'), ("Name", "name", '""')),
    "ResourcePolicyRule": (
        ("Verbs", "verbs", "null"),
        ("APIGroups", "apiGroups", "null"),
        ("Resources", "resources", "null"),
        ("ClusterScope", "clusterScope", "false"),
        ("Namespaces", "namespaces", "null"),
    ),
    "NonResourcePolicyRule": (
        ("Verbs", "verbs", "null"),
        ("NonResourceURLs", "nonResourceURLs", "null"),
    ),
    "PriorityLevelConfigurationSpec": (
        ("Type", "type", '""'),
        ("Limited", "limited", "*LimitedPriorityLevelConfiguration"),
        ("Exempt", "exempt", "*ExemptPriorityLevelConfiguration"),
    ),
    "LimitedPriorityLevelConfiguration": (
        ("NominalConcurrencyShares", "nominalConcurrencyShares", "0"),
        ("LimitResponse", "limitResponse", "LimitResponse"),
        ("LendablePercent", "lendablePercent", "null"),
        ("BorrowingLimitPercent", "borrowingLimitPercent", "null"),
    ),
    "ExemptPriorityLevelConfiguration": (
        ("NominalConcurrencyShares", "nominalConcurrencyShares", "null"),
        ("LendablePercent", "lendablePercent", "null"),
    ),
    "LimitResponse": (("Type", "type", '""'), ("Queuing", "queuing", "*QueuingConfiguration")),
    "QueuingConfiguration": (
        ("Queues", "queues", "0"),
        ("HandSize", "handSize", "0"),
        ("QueueLengthLimit", "queueLengthLimit", "0"),
    ),
    "PodFailurePolicy": (("Rules", "rules", "[]PodFailurePolicyRule"),),
    "PodFailurePolicyRule": (
        ("Action", "action", '""'),
        ("OnExitCodes", "onExitCodes", "*PodFailurePolicyOnExitCodesRequirement"),
        ("OnPodConditions", "onPodConditions", "[]PodFailurePolicyOnPodConditionsPattern"),
    ),
    "PodFailurePolicyOnExitCodesRequirement": (
        ("ContainerName", "containerName", "null"),
        ("Operator", "operator", '""'),
        ("Values", "values", "null"),
    ),
    "PodFailurePolicyOnPodConditionsPattern": (("Type", "type", '""'), ("Status", "status", '""')),
    "SuccessPolicy": (("Rules", "rules", "[]SuccessPolicyRule"),),
    "SuccessPolicyRule": (
        ("SucceededIndexes", "succeededIndexes", "null"),
        ("SucceededCount", "succeededCount", "null"),
    ),
    "UncountedTerminatedPods": (
        ("Succeeded", "succeeded", "null"),
        ("Failed", "failed", "null"),
    ),
    "HorizontalPodAutoscalerBehavior": (
        ("ScaleUp", "scaleUp", "*HPAScalingRules"),
        ("ScaleDown", "scaleDown", "*HPAScalingRules"),
    ),
    "HPAScalingRules": (
        ("StabilizationWindowSeconds", "stabilizationWindowSeconds", "null"),
        ("SelectPolicy", "selectPolicy", "null"),
        ("Policies", "policies", "[]HPAScalingPolicy"),
        ("Tolerance", "tolerance", "null"),
    ),
    "HPAScalingPolicy": (
        ("Type", "type", '""'),
        ("Value", "value", "0"),
        ("PeriodSeconds", "periodSeconds", "0"),
    ),
    "VolumeAttachmentSpec": (
        ("Attacher", "attacher", '""'),
        ("Source", "source", "VolumeAttachmentSource"),
        ("NodeName", "nodeName", '""'),
    ),
    "VolumeAttachmentSource": (
        ("PersistentVolumeName", "persistentVolumeName", "null"),
        ("InlineVolumeSpec", "inlineVolumeSpec", "null"),
    ),
    "CSINodeDriver": (
        ("Name", "name", '""'),
        ("NodeID", "nodeID", '""'),
        ("TopologyKeys", "topologyKeys", "null"),
        ("Allocatable", "allocatable", "*VolumeNodeResources"),
    ),
    "VolumeNodeResources": (("Count", "count", "null"),),
    "DeviceAttribute": (
        ("IntValue", "int", "null"),
        ("BoolValue", "bool", "null"),
        ("StringValue", "string", "null"),
        ("VersionValue", "version", "null"),
    ),
    "ResourceClaimSpec": (("Devices", "devices", "DeviceClaim"),),
    "ResourceClaimTemplateSpec": (("Spec", "spec", "ResourceClaimSpec"),),
    "DeviceClaim": (
        ("Requests", "requests", "[]DeviceRequest"),
        ("Constraints", "constraints", "[]DeviceConstraint"),
        ("Config", "config", "[]DeviceClaimConfiguration"),
    ),
    "DeviceRequest": (
        ("Name", "name", '""'),
        ("Exactly", "exactly", "*ExactDeviceRequest"),
        ("FirstAvailable", "firstAvailable", "[]DeviceSubRequest"),
    ),
    "ExactDeviceRequest": (
        ("DeviceClassName", "deviceClassName", '""'),
        ("Selectors", "selectors", "[]DeviceSelector"),
        ("AllocationMode", "allocationMode", '""'),
        ("Count", "count", "0"),
        ("AdminAccess", "adminAccess", "null"),
        ("Tolerations", "tolerations", "[]DeviceToleration"),
        ("Capacity", "capacity", "*CapacityRequirements"),
    ),
    "DeviceSubRequest": (
        ("Name", "name", '""'),
        ("DeviceClassName", "deviceClassName", '""'),
        ("Selectors", "selectors", "[]DeviceSelector"),
        ("AllocationMode", "allocationMode", '""'),
        ("Count", "count", "0"),
        ("Tolerations", "tolerations", "[]DeviceToleration"),
        ("Capacity", "capacity", "*CapacityRequirements"),
    ),
    "CapacityRequirements": (("Requests", "requests", "null"),),
    "DeviceSelector": (("CEL", "cel", "*CELDeviceSelector"),),
    "CELDeviceSelector": (("Expression", "expression", '""'),),
    "DeviceToleration": (
        ("Key", "key", '""'),
        ("Operator", "operator", '""'),
        ("Value", "value", '""'),
        ("Effect", "effect", '""'),
        ("TolerationSeconds", "tolerationSeconds", "null"),
    ),
    "DeviceConstraint": (
        ("Requests", "requests", "null"),
        ("MatchAttribute", "matchAttribute", "null"),
        ("DistinctAttribute", "distinctAttribute", "null"),
    ),
    "DeviceClaimConfiguration": (
        ("Requests", "requests", "null"),
        ("Opaque", "opaque", "*OpaqueDeviceConfiguration"),
    ),
    "SecurityContext": (
        ("Capabilities", "capabilities", "*Capabilities"),
        ("Privileged", "privileged", "null"),
        ("SELinuxOptions", "seLinuxOptions", "*SELinuxOptions"),
        ("WindowsOptions", "windowsOptions", "*WindowsSecurityContextOptions"),
        ("RunAsUser", "runAsUser", "null"),
        ("RunAsGroup", "runAsGroup", "null"),
        ("RunAsNonRoot", "runAsNonRoot", "null"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", "null"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation", "null"),
        ("ProcMount", "procMount", "null"),
        ("SeccompProfile", "seccompProfile", "*SeccompProfile"),
        ("AppArmorProfile", "appArmorProfile", "*SeccompProfile"),
    ),
    "Capabilities": (("Add", "add", "null"), ("Drop", "drop", "null")),
    "SELinuxOptions": (
        ("User", "user", '""'),
        ("Role", "role", '""'),
        ("Type", "type", '""'),
        ("Level", "level", '""'),
    ),
    "WindowsSecurityContextOptions": (
        ("GMSACredentialSpecName", "gmsaCredentialSpecName", "null"),
        ("GMSACredentialSpec", "gmsaCredentialSpec", "null"),
        ("RunAsUserName", "runAsUserName", "null"),
        ("HostProcess", "hostProcess", "null"),
    ),
    "SeccompProfile": (("Type", "type", '""'), ("LocalhostProfile", "localhostProfile", "null")),
    "PodResourceClaim": (
        ("Name", "name", '""'),
        ("ResourceClaimName", "resourceClaimName", "null"),
        ("ResourceClaimTemplateName", "resourceClaimTemplateName", "null"),
    ),
    "ContainerPort": (
        ("Name", "name", '""'),
        ("HostPort", "hostPort", "0"),
        ("ContainerPort", "containerPort", "0"),
        ("Protocol", "protocol", '""'),
        ("HostIP", "hostIP", '""'),
    ),
    "ServicePort": (
        ("Name", "name", '""'),
        ("Protocol", "protocol", '""'),
        ("AppProtocol", "appProtocol", "null"),
        ("Port", "port", "0"),
        ("TargetPort", "targetPort", "0"),
        ("NodePort", "nodePort", "0"),
    ),
    "PodIP": (("IP", "ip", '""'),),
    "NodeSelectorTerm": (
        ("MatchExpressions", "matchExpressions", "[]NodeSelectorRequirement"),
        ("MatchFields", "matchFields", "[]NodeSelectorRequirement"),
    ),
    "NodeSelectorRequirement": (
        ("Key", "key", '""'),
        ("Operator", "operator", '""'),
        ("Values", "values", "null"),
    ),
    "VolumeNodeAffinity": (("Required", "required", "*NodeSelector"),),
    "NodeSelector": (("NodeSelectorTerms", "nodeSelectorTerms", "[]NodeSelectorTerm"),),
    "Taint": (
        ("Key", "key", '""'),
        ("Value", "value", '""'),
        ("Effect", "effect", '""'),
        ("TimeAdded", "timeAdded", "null"),
    ),
    "NodeAddress": (("Type", "type", '""'), ("Address", "address", '""')),
    "NodeConfigSource": (("ConfigMap", "configMap", "*ConfigMapNodeConfigSource"),),
    "ConfigMapNodeConfigSource": (
        ("Namespace", "namespace", '""'),
        ("Name", "name", '""'),
        ("UID", "uid", '""'),
        ("ResourceVersion", "resourceVersion", '""'),
        ("KubeletConfigKey", "kubeletConfigKey", '""'),
    ),
    "ScopeSelector": (
        ("MatchExpressions", "matchExpressions", "[]ScopedResourceSelectorRequirement"),
    ),
    "ScopedResourceSelectorRequirement": (
        ("ScopeName", "scopeName", '""'),
        ("Operator", "operator", '""'),
        ("Values", "values", "null"),
    ),
    "OpaqueDeviceConfiguration": (
        ("Driver", "driver", '""'),
        ("Parameters", "parameters", "null"),
    ),
}  # fmt: skip


def rendered(value: Any, struct: str) -> Rendered:
    """A wire object as its internal type prints; absent stands for a nil pointer."""
    return Rendered('"null"') if value is None else Rendered(_struct(value, struct))


def rendered_template(template: Object) -> Rendered:
    """A PodTemplateSpec as its internal type prints."""
    spec = rendered_pod_spec(template.get("spec") or {}).text
    metadata = [
        f"{go_json(field)}:{go_json(value)}"
        for field, value in internal_pods.template_metadata(template).items()
    ]
    return Rendered("{" + ",".join([*metadata, f'"Spec":{spec}']) + "}")


def rendered_pod_spec(spec: Object) -> Rendered:
    """A PodSpec as its internal type prints."""
    return rendered(internal_pods.internal_spec(spec), "PodSpec")


def rendered_list(values: Sequence[Any], struct: str) -> Rendered:
    """A list of wire objects as their internal types print."""
    return Rendered("[" + ",".join(_struct(one, struct) for one in values) + "]")


def or_null(value: Any) -> Any:
    """A map or list for a message: absent ones print `null`, not `"null"`."""
    return NULL if value is None else value


# Kinds that say what prints for an absent value; a Quantity of nothing is a text.
_PLAIN = ('""', "0", "false", "null", '"0"')


def _struct(value: Mapping[str, Any], struct: str) -> str:
    cells = [
        f"{json.dumps(name)}:{_field(value.get(wire), kind)}"
        for name, wire, kind in STRUCTS[struct]
    ]
    return "{" + ",".join(cells) + "}"


def _field(value: Any, kind: str) -> str:
    if kind in _PLAIN:
        return kind if value is None else go_json(value)
    if kind.startswith("[]"):
        if value is None:
            return "null"
        return "[" + ",".join(_struct(one, kind[2:]) for one in value) + "]"
    if kind.startswith("*"):
        return "null" if value is None else _struct(value, kind[1:])
    return _struct(value or {}, kind)
