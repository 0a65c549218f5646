"""Internal types as refusals print them."""

from __future__ import annotations

import json

from todoku.api import schemas
from todoku.api.internal_pods import STRUCTS
from todoku.api.internals import rendered_template

TEMPLATE = {
    "metadata": {"labels": {"b": "2", "a": "1"}, "name": ""},
    "spec": {
        "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "restartPolicy": "Never",
        "dnsPolicy": "ClusterFirst",
        "hostNetwork": True,
        "securityContext": {"runAsUser": 26},
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 50, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}
                ]
            }
        },
        "schedulerName": "default-scheduler",
    },
}  # fmt: skip


def test_a_template_prints_its_metadata_beside_its_spec():
    printed = rendered_template(TEMPLATE).text
    assert printed.startswith(
        '{"labels":{"a":"1","b":"2"},"Spec":{"Volumes":[{"Name":"v","HostPath":null,'
    )
    assert (
        '"SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,'
        '"HostUsers":null,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":26,"RunAsGroup":null,'
        '"RunAsNonRoot":null,"SupplementalGroups":null,"SupplementalGroupsPolicy":null,"FSGroup":null,'
        '"FSGroupChangePolicy":null,"Sysctls":null,"SeccompProfile":null,"AppArmorProfile":null,'
        '"SELinuxChangePolicy":null},"ImagePullSecrets":null,"Hostname":"","Subdomain":"",'
        '"SetHostnameAsFQDN":null,"Affinity":{"NodeAffinity":{"RequiredDuringSchedulingIgnoredDuringExecution":'
        'null,"PreferredDuringSchedulingIgnoredDuringExecution":[{"Weight":50,"Preference":{"MatchExpressions":'
        '[{"Key":"k","Operator":"Exists","Values":null}],"MatchFields":null}}]},"PodAffinity":null,'
        '"PodAntiAffinity":null},"SchedulerName":"default-scheduler","Tolerations":null'
    ) in printed
    assert '"EmptyDir":{"Medium":"","SizeLimit":null}' in printed
    assert '"Resources":{"Limits":{"cpu":"1"},"Requests":null,"Claims":null}' in printed


def test_every_field_of_the_wire_types_prints():
    printed = json.loads(rendered_template(TEMPLATE).text)["Spec"]
    moved = {
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "hostUsers",
        "serviceAccount",
    }
    for name, shown in (("PodSpec", printed), ("Container", printed["Containers"][0])):
        wire = {field for _, field, _ in STRUCTS[name]}
        known = set(schemas.definition(f"io.k8s.api.core.v1.{name}")["properties"])
        assert known - moved == wire
        assert len(shown) == len(wire)
