"""What the default roles of a fresh cluster allow, as data.

Rules are written `rule(verbs, group, resources)`, each a string of words.  Source: the default roles of
Kubernetes v1.36 (docs: Using RBAC Authorization, Default roles and role bindings).
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object

_GROUP = "rbac.authorization.k8s.io"
READ = "get list watch"
WRITE = "create delete deletecollection patch update"
READ_WRITE = f"{WRITE} {READ}"
EVENTS = ("create patch update", " events.k8s.io", "events")


def rule(verbs: str, groups: str, resources: str, names: str = "") -> Object:
    """A resource rule; a group list starting with a blank includes the core group."""
    group_list = ([""] if groups == "" or groups.startswith(" ") else []) + groups.split()
    body: Object = {
        "verbs": verbs.split(),
        "apiGroups": group_list,
        "resources": resources.split(),
    }
    if names:
        body["resourceNames"] = names.split()
    return body


def paths(verbs: str, urls: str) -> Object:
    return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}


def node_rules() -> list[Object]:
    """What the Node authorizer lets a node do, apart from what its pods refer to."""
    return [
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        rule(READ, "", "services"),
        rule(f"create {READ}", "", "nodes"),
        rule("patch update", "", "nodes nodes/status"),
        rule("create patch update", " events.k8s.io", "events"),
        rule(READ, "", "pods"),
        rule("create delete", "", "pods"),
        rule("patch update", "", "pods/status"),
        rule("create", "", "pods/eviction"),
        rule("get list watch", "", "configmaps secrets"),
        rule("get", "", "persistentvolumeclaims persistentvolumes"),
        rule("get", "", "endpoints"),
        rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule("create get update patch delete", "coordination.k8s.io", "leases"),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule("create", "", "serviceaccounts/token"),
        rule("get update patch", "", "persistentvolumeclaims/status"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule("create delete get patch update", "storage.k8s.io", "csinodes"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("get", "resource.k8s.io", "resourceclaims"),
        rule("deletecollection list watch create delete get update patch", "resource.k8s.io", "resourceslices"),
        rule(READ, "certificates.k8s.io", "clustertrustbundles"),
        # proxy and pod network run in the same agent
        rule("list watch", "discovery.k8s.io", "endpointslices"),
        rule("list watch", "networking.k8s.io", "servicecidrs networkpolicies"),
        rule(READ, "", "namespaces"),
    ]  # fmt: skip


# Aggregated into `admin` and `edit`.
ADMIN = [
    rule(READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    rule("impersonate", "", "serviceaccounts"),
    rule(WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    rule("create", "", "pods/eviction"),
    rule(WRITE, "", "configmaps events persistentvolumeclaims replicationcontrollers"
         " replicationcontrollers/scale secrets serviceaccounts services services/proxy"),
    rule("create", "", "serviceaccounts/token"),
    rule(WRITE, "apps", "daemonsets deployments deployments/rollback deployments/scale replicasets"
         " replicasets/scale statefulsets statefulsets/scale"),
    rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(WRITE, "batch", "cronjobs jobs"),
    rule(WRITE, "extensions", "daemonsets deployments deployments/rollback deployments/scale ingresses"
         " networkpolicies replicasets replicasets/scale replicationcontrollers/scale"),
    rule(WRITE, "policy", "poddisruptionbudgets"),
    rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    rule(WRITE, "coordination.k8s.io", "leases"),
    rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
]  # fmt: skip
# Into `view` too.
VIEW = [
    rule(READ, "", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods"
         " replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"),
    rule(READ, "", "bindings events limitranges namespaces/status pods/log pods/status"
         " replicationcontrollers/status resourcequotas resourcequotas/status"),
    rule(READ, "", "namespaces"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(READ, "apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale"
         " deployments/status replicasets replicasets/scale replicasets/status statefulsets"
         " statefulsets/scale statefulsets/status"),
    rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    rule(READ, "extensions", "daemonsets daemonsets/status deployments deployments/scale deployments/status"
         " ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status"
         " replicationcontrollers/scale"),
    rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    rule(READ, "coordination.k8s.io", "leases"),
    rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
]  # fmt: skip
# Into `admin` only.
TO_ADMIN = [
    rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    rule(READ_WRITE, _GROUP, "rolebindings roles"),
]

# system:controller:NAME in a namespace: (name, namespace, rules).
NAMESPACED: Sequence[tuple[str, str, Sequence[Object]]] = (
    ("bootstrap-signer", "kube-system", [rule(READ, "", "secrets")]),
    ("cloud-provider", "kube-system", [rule("create get list watch", "", "configmaps")]),
    ("token-cleaner", "kube-system", [rule("delete get list watch", "", "secrets"), rule(*EVENTS)]),
    ("bootstrap-signer", "kube-public",
     [rule(READ, "", "configmaps"), rule("update", "", "configmaps", "cluster-info"), rule(*EVENTS)]),
)  # fmt: skip

# system:controller:NAME; all may write events too.
CONTROLLERS: dict[str, Sequence[Object]] = {
    "attachdetach-controller": [
        rule("list watch", "", "persistentvolumeclaims persistentvolumes"),
        rule("get list watch", "", "nodes pods"),
        rule("patch update", "", "nodes/status"),
        rule("create delete get list watch patch", "storage.k8s.io", "volumeattachments"),
        rule(READ, "storage.k8s.io", "csidrivers csinodes"),
    ],
    "clusterrole-aggregation-controller": [
        rule("escalate get list patch update watch", _GROUP, "clusterroles")
    ],
    "cronjob-controller": [
        rule("get list update watch", "batch", "cronjobs"),
        rule("create delete get list patch update watch", "batch", "jobs"),
        rule("update", "batch", "cronjobs/finalizers cronjobs/status"),
        rule("delete list", "", "pods"),
    ],
    "daemon-set-controller": [
        rule(READ, "apps", "daemonsets"),
        rule("update", "apps", "daemonsets/finalizers daemonsets/status"),
        rule("list watch", "", "nodes"),
        rule("create delete list patch watch", "", "pods"),
        rule("create", "", "pods/binding"),
        rule("create delete get list patch update watch", "apps", "controllerrevisions"),
    ],
    "deployment-controller": [
        rule("get list update watch", "apps", "deployments"),
        rule("update", "apps", "deployments/finalizers deployments/status"),
        rule("create delete get list patch update watch", "apps", "replicasets"),
        rule("get list update watch", "", "pods"),
    ],
    "device-taint-eviction-controller": [
        rule("delete get list watch", "", "pods"),
        rule("patch update", "", "pods/status"),
        rule(READ, "resource.k8s.io", "deviceclasses devicetaintrules resourceclaims resourceslices"),
        rule("patch update", "resource.k8s.io", "devicetaintrules/status"),
    ],
    "disruption-controller": [
        rule(READ, "apps", "deployments replicasets statefulsets"),
        rule(READ, "", "replicationcontrollers pods"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        rule("patch update", "", "pods/status"),
        rule("get", "*", "*/scale"),
    ],
    "endpoint-controller": [
        rule(READ, "", "pods services"),
        rule("create delete get list update", "", "endpoints"),
        rule("create", "", "endpoints/restricted"),
    ],
    "endpointslice-controller": [
        rule(READ, "", "nodes pods services"),
        rule("update", "", "services/finalizers"),
        rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
        rule("create", "discovery.k8s.io", "endpointslices/restricted"),
    ],
    "endpointslicemirroring-controller": [
        rule(READ, "", "endpoints services"),
        rule("update", "", "services/finalizers endpoints/finalizers"),
        rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
        rule("create", "discovery.k8s.io", "endpointslices/restricted"),
    ],
    "ephemeral-volume-controller": [
        rule(READ, "", "pods"),
        rule("update", "", "pods/finalizers"),
        rule("create get list watch", "", "persistentvolumeclaims"),
    ],
    "expand-controller": [
        rule("get list patch update watch", "", "persistentvolumes"),
        rule("patch update", "", "persistentvolumeclaims/status"),
        rule(READ, "", "persistentvolumeclaims"),
    ],
    "generic-garbage-collector": [rule("delete get list patch update watch", "*", "*")],
    "horizontal-pod-autoscaler": [
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list", "", "pods"),
        rule("get list", "metrics.k8s.io custom.metrics.k8s.io external.metrics.k8s.io", "*"),
    ],
    "job-controller": [
        rule("get list patch update watch", "batch", "jobs"),
        rule("update", "batch", "jobs/finalizers jobs/status"),
        rule("create delete list patch watch", "", "pods"),
    ],
    "legacy-service-account-token-cleaner": [
        rule("get", "", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
        rule("delete patch", "", "secrets"),
    ],
    "namespace-controller": [
        rule("delete get list watch", "", "namespaces"),
        rule("update", "", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list", "*", "*"),
    ],
    "node-controller": [
        rule("delete get list patch update watch", "", "nodes"),
        rule("patch update", "", "nodes/status"),
        rule("delete get list watch", "", "pods"),
        rule("patch update", "", "pods/status"),
        rule(READ, "coordination.k8s.io", "leases"),
    ],
    "persistent-volume-binder": [
        rule("create delete get list update watch patch", "", "persistentvolumes"),
        rule("update patch", "", "persistentvolumes/status persistentvolumeclaims/status"),
        rule("get list update watch", "", "persistentvolumeclaims"),
        rule("create delete get list watch", "", "pods endpoints services"),
        rule("get list", "", "secrets nodes"),
        rule(READ, "storage.k8s.io", "storageclasses"),
    ],
    "pod-garbage-collector": [
        rule("delete list watch", "", "pods"),
        rule("get list", "", "nodes"),
        rule("patch update", "", "pods/status"),
    ],
    "pv-protection-controller": [rule("get list update watch", "", "persistentvolumes")],
    "pvc-protection-controller": [
        rule("get list update watch", "", "persistentvolumeclaims"),
        rule(READ, "", "pods"),
    ],
    "replicaset-controller": [
        rule("get list update watch", "apps", "replicasets"),
        rule("update", "apps", "replicasets/finalizers replicasets/status"),
        rule("create delete list patch watch", "", "pods"),
    ],
    "replication-controller": [
        rule("get list update watch", "", "replicationcontrollers"),
        rule("update", "", "replicationcontrollers/finalizers replicationcontrollers/status"),
        rule("create delete list patch watch", "", "pods"),
    ],
    "resource-claim-controller": [
        rule(READ, "", "pods"),
        rule("update", "", "pods/finalizers"),
        rule("create delete get list watch", "resource.k8s.io", "resourceclaims"),
        rule("patch update", "resource.k8s.io", "resourceclaims/status"),
        rule("patch update", "resource.k8s.io", "resourceclaims/binding"),
        rule("patch update", "", "pods/status"),
        rule(READ, "resource.k8s.io", "resourceclaimtemplates"),
    ],
    "resourcequota-controller": [
        rule("list watch", "*", "*"),
        rule("update", "", "resourcequotas/status"),
    ],
    "route-controller": [rule("list watch", "", "nodes"), rule("patch", "", "nodes/status")],
    "root-ca-cert-publisher": [rule("create update", "", "configmaps")],
    "selinux-warning-controller": [
        rule(READ, "", "persistentvolumeclaims persistentvolumes pods"),
        rule(READ, "storage.k8s.io", "csidrivers"),
    ],
    "service-account-controller": [rule("create", "", "serviceaccounts")],
    "service-controller": [
        rule(READ, "", "services"),
        rule("patch update", "", "services/status"),
        rule("list watch", "", "nodes"),
    ],
    "service-cidrs-controller": [
        rule("get list patch update watch", "networking.k8s.io", "servicecidrs"),
        rule("patch update", "networking.k8s.io", "servicecidrs/finalizers servicecidrs/status"),
        rule("get list watch", "networking.k8s.io", "ipaddresses"),
    ],
    "statefulset-controller": [
        rule("list watch", "", "pods"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "apps", "statefulsets/finalizers statefulsets/status"),
        rule("create delete get patch update", "", "pods"),
        rule("create delete get list patch update watch", "apps", "controllerrevisions"),
        rule("create delete get list watch update", "", "persistentvolumeclaims"),
    ],
    "ttl-after-finished-controller": [rule("delete get list watch", "batch", "jobs")],
    "ttl-controller": [rule("list patch update watch", "", "nodes")],
    "validatingadmissionpolicy-status-controller": [
        rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule("get patch update", "admissionregistration.k8s.io",
             "validatingadmissionpolicies/status"),
    ],
    "volumeattributesclass-protection-controller": [
        rule(READ, "", "persistentvolumeclaims"),
        rule(READ, "", "persistentvolumes"),
        rule("get list update watch", "storage.k8s.io", "volumeattributesclasses"),
    ],
    "certificate-controller": [
        rule("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule("update", "certificates.k8s.io",
             "certificatesigningrequests/approval certificatesigningrequests/status"),
        rule("approve sign", "certificates.k8s.io", "signers"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
}  # fmt: skip

SYSTEM: dict[str, Sequence[Object]] = {
    "cluster-admin": [rule("*", "*", "*"), paths("*", "*")],
    "system:discovery": [
        paths("get", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/")
    ],
    "system:public-info-viewer": [paths("get", "/healthz /livez /readyz /version /version/")],
    "system:monitoring": [
        paths("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")
    ],
    "system:basic-user": [
        rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ],
    "system:service-account-issuer-discovery": [
        paths("get", "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/")
    ],
    "system:auth-delegator": [
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:kube-aggregator": [rule(READ, "", "endpoints services")],
    "system:kubelet-api-admin": [
        rule("get list watch", "", "nodes"),
        rule("proxy", "", "nodes"),
        rule("*", "", "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/spec nodes/stats"),
    ],
    "system:heapster": [
        rule(READ, "", "events namespaces nodes pods"),
        rule(READ, "apps", "deployments"),
    ],
    "system:node": node_rules(),
    "system:node-bootstrapper": [
        rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests")
    ],
    "system:node-problem-detector": [rule("get", "", "nodes"), rule("patch", "", "nodes/status"), rule(*EVENTS)],
    "system:node-proxier": [
        rule("list watch", "", "endpoints services"),
        rule(READ, "", "nodes"),
        rule(*EVENTS),
        rule("list watch", "discovery.k8s.io", "endpointslices"),
        rule("list watch", "networking.k8s.io", "servicecidrs"),
    ],
    "system:kube-dns": [rule("list watch", "", "endpoints services")],
    "system:coredns": [
        rule("list watch", "", "endpoints services pods namespaces"),
        rule("list watch", "discovery.k8s.io", "endpointslices"),
        rule("get", "", "nodes"),
    ],
    "system:persistent-volume-provisioner": [
        rule("create delete get list watch", "", "persistentvolumes"),
        rule("get list update watch", "", "persistentvolumeclaims"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("watch", "", "events"),
        rule(*EVENTS),
    ],
    "system:kube-controller-manager": [
        rule(*EVENTS),
        rule("create", "coordination.k8s.io", "leases"),
        rule("get update", "coordination.k8s.io", "leases", "kube-controller-manager"),
        rule("create", "", "secrets serviceaccounts"),
        rule("delete", "", "secrets"),
        rule("get", "", "configmaps namespaces secrets serviceaccounts"),
        rule("update", "", "secrets serviceaccounts"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule("list watch", "*", "*"),
        rule("create", "", "serviceaccounts/token"),
    ],
    "system:kube-scheduler": [
        rule(*EVENTS),
        rule("create", "coordination.k8s.io", "leases"),
        rule("get update list watch", "coordination.k8s.io", "leases", "kube-scheduler"),
        rule(READ, "", "nodes"),
        rule("delete get list watch", "", "pods"),
        rule("create", "", "bindings pods/binding"),
        rule("patch update", "", "pods/status"),
        rule(READ, "", "replicationcontrollers services namespaces"),
        rule(READ, "apps", "replicasets statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "", "persistentvolumeclaims persistentvolumes"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule(READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments"),
        rule(READ, "resource.k8s.io", "deviceclasses resourceclaims resourceslices"),
        rule("patch update", "resource.k8s.io", "resourceclaims/status"),
        rule("patch update", "resource.k8s.io", "resourceclaims/binding"),
    ],
    "system:volume-scheduler": [
        rule("get list patch update watch", "", "persistentvolumes"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("get list patch update watch", "", "persistentvolumeclaims"),
    ],
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": [
        rule("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")
    ],
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": [
        rule("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")
    ],
    "system:certificates.k8s.io:kube-apiserver-client-approver": [
        rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client")
    ],
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": [
        rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet")
    ],
    "system:certificates.k8s.io:kubelet-serving-approver": [
        rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving")
    ],
    "system:certificates.k8s.io:legacy-unknown-approver": [
        rule("approve", "certificates.k8s.io", "signers", "kubernetes.io/legacy-unknown")
    ],
}  # fmt: skip
