"""The columns of every built-in kind's table, as pkg/printers and its fellows define them.

`Name` is a string; `:integer` and the like give another type, `=name` a format, `+` marks what only `-o wide` shows.
"""

import pytest

from todoku.api.resources import registry
from todoku.api.tables import columns_of, definition

_PLAIN = "Name=name Created_At:date"
_BARE = "Name=name Age"
_BINDING = "Name=name Role Age Users+ Groups+ ServiceAccounts+"
_REPLICAS = (
    "Name=name Desired:integer Current:integer Ready:integer Age Containers+ Images+ Selector+"
)
_POLICY_BINDING = "Name=name PolicyName ParamRef Age"
_EVENT = "Last_Seen Type Reason Object Subobject+ Source+ Message First_Seen+ Count+ Name+=name"
_AUTOSCALER = "Name=name Reference Targets MinPods MaxPods Replicas Age"

COLUMNS = {
    "apiservices.apiregistration.k8s.io": "Name=name Service Available Age",
    "certificatesigningrequests.certificates.k8s.io": "Name=name Age SignerName Requestor RequestedDuration Condition",
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterroles.rbac.authorization.k8s.io": _PLAIN,
    "componentstatuses": "Name=name Status Message Error",
    "configmaps": "Name=name Data Age",
    "controllerrevisions.apps": "Name=name Controller Revision Age",
    "cronjobs.batch": "Name=name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age Containers+ Images+ Selector+",
    "csidrivers.storage.k8s.io": (
        "Name=name AttachRequired:boolean PodInfoOnMount:boolean StorageCapacity:boolean TokenRequests"
        " RequiresRepublish:boolean Modes Age"
    ),
    "csinodes.storage.k8s.io": "Name=name Drivers:integer Age",
    "csistoragecapacities.storage.k8s.io": "Name=name StorageClassName Capacity",
    "customresourcedefinitions.apiextensions.k8s.io": _PLAIN,
    "daemonsets.apps": (
        "Name=name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer Node_Selector"
        " Age Containers+ Images+ Selector+"
    ),
    "deployments.apps": "Name=name Ready Up-to-date Available Age Containers+ Images+ Selector+",
    "deviceclasses.resource.k8s.io": _BARE,
    "endpoints": "Name=name Endpoints Age",
    "endpointslices.discovery.k8s.io": "Name=name AddressType Ports Endpoints Age",
    "events": _EVENT,
    "events.events.k8s.io": _EVENT,
    "flowschemas.flowcontrol.apiserver.k8s.io": "Name=name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL",
    "horizontalpodautoscalers.autoscaling": _AUTOSCALER,
    "ingressclasses.networking.k8s.io": "Name=name Controller Parameters Age",
    "ingresses.networking.k8s.io": "Name=name Class Hosts Address Ports Age",
    "ipaddresses.networking.k8s.io": "Name=name ParentRef",
    "jobs.batch": "Name=name Status Completions Duration Age Containers+ Images+ Selector+",
    "leases.coordination.k8s.io": "Name=name Holder Age",
    "limitranges": _PLAIN,
    "mutatingadmissionpolicies.admissionregistration.k8s.io": "Name=name Mutations:integer ParamKind Age",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": _POLICY_BINDING,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": "Name=name Webhooks:integer Age",
    "namespaces": "Name=name Status Age",
    "networkpolicies.networking.k8s.io": "Name=name Pod-Selector Age",
    "nodes": "Name=name Status Roles Age Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ Container-Runtime+",
    "persistentvolumeclaims": (
        "Name=name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age VolumeMode+"
    ),
    "persistentvolumes": (
        "Name=name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age"
        " VolumeMode+"
    ),
    "poddisruptionbudgets.policy": "Name=name Min_Available Max_Unavailable Allowed_Disruptions:integer Age",
    "pods": "Name=name Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+",
    "podtemplates": "Name=name Containers Images Pod_Labels",
    "priorityclasses.scheduling.k8s.io": "Name=name Value:integer Global-Default:boolean Age PreemptionPolicy",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": (
        "Name=name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age"
    ),
    "replicasets.apps": _REPLICAS,
    "replicationcontrollers": _REPLICAS,
    "resourceclaims.resource.k8s.io": "Name=name State Age",
    "resourceclaimtemplates.resource.k8s.io": _BARE,
    "resourcequotas": "Name=name Request Limit Age",
    "resourceslices.resource.k8s.io": "Name=name Node Driver Pool Age",
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "roles.rbac.authorization.k8s.io": _PLAIN,
    "runtimeclasses.node.k8s.io": "Name=name Handler Age",
    "secrets": "Name=name Type Data Age",
    "serviceaccounts": "Name=name Secrets Age",
    "servicecidrs.networking.k8s.io": "Name=name CIDRs Age",
    "services": "Name=name Type Cluster-IP External-IP Port(s) Age Selector+",
    "statefulsets.apps": "Name=name Ready Age Containers+ Images+",
    "storageclasses.storage.k8s.io": "Name=name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
    "validatingadmissionpolicies.admissionregistration.k8s.io": "Name=name Validations:integer ParamKind Age",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": _POLICY_BINDING,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": "Name=name Webhooks:integer Age",
    "volumeattachments.storage.k8s.io": "Name=name Attacher=name PV Node Attached:boolean Age",
    "volumeattributesclasses.storage.k8s.io": "Name=name DriverName Age",
}  # fmt: skip

LISTED = [one for one in registry() if "list" in one.verbs]


def _written(column):
    shown = definition(column)
    kind = "" if shown["type"] == "string" else f":{shown['type']}"
    form = f"={shown['format']}" if shown["format"] else ""
    return shown["name"].replace(" ", "_") + kind + "+" * shown["priority"] + form


@pytest.mark.parametrize(
    "resource", LISTED, ids=lambda one: f"{one.group}/{one.version}/{one.plural}"
)
def test_columns(resource):
    name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    columns, _ = columns_of(resource)
    assert " ".join(_written(one) for one in columns) == COLUMNS[name]


@pytest.mark.parametrize(
    "resource", LISTED, ids=lambda one: f"{one.group}/{one.version}/{one.plural}"
)
def test_columns_are_described(resource):
    columns, _ = columns_of(resource)
    # The real server describes RuntimeClass' handler with a field that metadata does not have.
    blank = {one.name for one in columns if not definition(one)["description"]}
    assert blank <= {"Handler"}


def test_a_column_that_shows_a_field_has_the_fields_documentation():
    [shown] = [definition(one) for one in registry().find("services").columns if one.name == "Type"]
    assert shown["description"].startswith("type determines how the Service is exposed.")
