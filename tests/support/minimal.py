"""A minimal valid object of every kind that is stored, by dotted name: what a test fills in that needs one."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from todoku.api.meta import Object, copy
from todoku.api.resource import Resource

_POD = {"containers": [{"name": "c", "image": "i"}]}
_JOB = {"template": {"spec": _POD | {"restartPolicy": "Never"}}}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_SELECTOR = {"matchLabels": {"a": "b"}}
_WORKLOAD = {"selector": _SELECTOR, "template": _TEMPLATE}
_RULE = {"apiGroups": ["x"], "apiVersions": ["v1"], "resources": ["y"], "operations": ["CREATE"]}
_MATCH = {"resourceRules": [_RULE]}
_CLAIM = {"accessModes": ["ReadWriteOnce"]}
_DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "x"}}]}}
_RBAC = "rbac.authorization.k8s.io"
_ROLE = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "view"}
_VERSION = {"name": "v1", "served": True, "storage": True}
_SCHEMA = {"schema": {"openAPIV3Schema": {"type": "object"}}}


def _request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


_OBJECTS: dict[str, dict[str, Any]] = {
    "configmaps": {"data": {"a": "1"}},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
    "events": {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "x"}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    "namespaces": {},
    "nodes": {},
    "persistentvolumeclaims": {
        "spec": _CLAIM | {"resources": {"requests": {"storage": "1Gi"}}},
    },
    "persistentvolumes": {
        "spec": _CLAIM | {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp"}},
    },
    "pods": {"spec": _POD},
    "podtemplates": {"template": _TEMPLATE},
    "replicationcontrollers": {"spec": {"selector": {"a": "b"}, "template": _TEMPLATE}},
    "resourcequotas": {"spec": {"hard": {"pods": "100"}}},
    "secrets": {"data": {"a": "YQ=="}},
    "serviceaccounts": {},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "mutatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {
            "matchConstraints": _MATCH,
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": "Object{}"},
                }
            ],
            "reinvocationPolicy": "Never",
        }
    },
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": {"spec": {"policyName": "x"}},
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": {},
    "validatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {"matchConstraints": _MATCH, "validations": [{"expression": "true"}]}
    },
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": {
        "spec": {"policyName": "x", "validationActions": ["Deny"]}
    },
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {},
    "customresourcedefinitions.apiextensions.k8s.io": {
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [_VERSION | _SCHEMA],
        },
    },
    "apiservices.apiregistration.k8s.io": {
        "metadata": {"name": "v1.other.example.com"},
        "spec": {
            "group": "other.example.com",
            "version": "v1",
            "groupPriorityMinimum": 10,
            "versionPriority": 10,
            "service": {"name": "a", "namespace": "b"},
        },
    },
    "controllerrevisions.apps": {"revision": 1, "data": {"a": 1}},
    "daemonsets.apps": {"spec": _WORKLOAD},
    "deployments.apps": {"spec": _WORKLOAD},
    "replicasets.apps": {"spec": _WORKLOAD},
    "statefulsets.apps": {"spec": _WORKLOAD},
    "horizontalpodautoscalers.autoscaling": {
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"},
        }
    },
    "cronjobs.batch": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": _JOB}}},
    "jobs.batch": {"spec": _JOB},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {
            "signerName": "example.com/x",
            "usages": ["digital signature"],
            "request": _request(),
        }
    },
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "a"}},
    "endpointslices.discovery.k8s.io": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.1.1"]}],
    },
    "events.events.k8s.io": {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "a",
        "reason": "r",
        "regarding": {"kind": "Pod", "name": "x", "namespace": "default"},
        "reportingController": "example.com/x",
        "reportingInstance": "i",
        "type": "Normal",
    },
    "flowschemas.flowcontrol.apiserver.k8s.io": {
        "spec": {
            "priorityLevelConfiguration": {"name": "global-default"},
            "matchingPrecedence": 9000,
        }
    },
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
        }
    },
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/x"}},
    "ingresses.networking.k8s.io": {
        "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}
    },
    "ipaddresses.networking.k8s.io": {
        "metadata": {"name": "192.168.3.4"},
        "spec": {"parentRef": {"resource": "services", "name": "x", "namespace": "y"}},
    },
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}}},
    "servicecidrs.networking.k8s.io": {"spec": {"cidrs": ["10.200.0.0/16"]}},
    "runtimeclasses.node.k8s.io": {"handler": "h"},
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": 1, "selector": _SELECTOR}},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": _ROLE},
    "clusterroles.rbac.authorization.k8s.io": {"rules": []},
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": _ROLE},
    "roles.rbac.authorization.k8s.io": {"rules": []},
    "deviceclasses.resource.k8s.io": {"spec": {}},
    "resourceclaims.resource.k8s.io": {"spec": _DEVICES},
    "resourceclaimtemplates.resource.k8s.io": {"spec": {"spec": _DEVICES}},
    "resourceslices.resource.k8s.io": {
        "spec": {
            "driver": "example.com",
            "nodeName": "n",
            "pool": {"name": "p", "resourceSliceCount": 1},
        }
    },
    "priorityclasses.scheduling.k8s.io": {"value": 5},
    "csidrivers.storage.k8s.io": {"spec": {}},
    "csinodes.storage.k8s.io": {"spec": {"drivers": []}},
    "csistoragecapacities.storage.k8s.io": {"storageClassName": "x"},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/x"},
    "volumeattachments.storage.k8s.io": {
        "spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "p"}}
    },
    "volumeattributesclasses.storage.k8s.io": {"driverName": "d", "parameters": {"a": "b"}},
}


def minimal(resource: Resource, name: str = "minimal") -> Object:
    """A fresh object of the resource's kind; some kinds choose their own name."""
    obj: Object = copy(_OBJECTS[resource.name])
    obj["metadata"] = {"name": name} | obj.get("metadata", {})
    return obj | {"apiVersion": resource.api_version, "kind": resource.kind}
