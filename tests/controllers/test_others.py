"""Budgets, quotas, volumes, roles, certificates, and pods that nobody else removes."""

from __future__ import annotations

import asyncio
import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.certificates import authority
from tests.support.cluster import running_cluster, template, workload
from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.controllers import Config
from todoku.controllers.disruption import Expected, expected
from todoku.controllers.disruption import status as budget_status
from todoku.controllers.pod_gc import plan as gc_plan
from todoku.controllers.resource_quota import counted_resources, recount
from todoku.controllers.runner import ALL, enabled
from todoku.controllers.service_cidr import orphans
from todoku.controllers.token_cleanup import outlived
from todoku.controllers.volume_binder import choose, waiting

# -- which controllers run


def test_controllers_are_chosen_by_name():
    assert [kind.name for kind in enabled(("deployment", "job"))] == ["deployment", "job"]
    assert "job" not in {kind.name for kind in enabled(("*", "-job"))}
    assert len(enabled(Config().controllers)) == len(ALL)
    with pytest.raises(ValueError, match="nonsense: no such controller"):
        enabled(("nonsense",))


def test_every_controller_has_a_name_of_its_own():
    assert len({kind.name for kind in ALL}) == len(ALL)


# -- disruption budgets


def budget(**spec: object) -> Object:
    return {"metadata": {"name": "b", "namespace": "lab", "generation": 1}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "scale", "matching", "wanted"),
    [
        ({"minAvailable": 2}, None, 3, Expected(3, 2)),
        ({"minAvailable": "50%"}, 5, 5, Expected(5, 3)),
        ({"maxUnavailable": 1}, 5, 4, Expected(5, 4)),
        ({"maxUnavailable": "30%"}, 5, 5, Expected(5, 3)),
        ({"maxUnavailable": 1}, None, 3, Expected(0, 0)),
    ],
)
def test_how_many_pods_a_budget_expects(spec, scale, matching, wanted):
    assert expected(budget(**spec), scale, matching) == wanted


def ready_pod(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_an_eviction_under_way_counts_until_it_is_seen_or_forgotten():
    one = budget(minAvailable=1) | {"status": {"disruptedPods": {"a": times.text(1000)}}}
    pods = [ready_pod("a"), ready_pod("b")]
    soon, again = budget_status(one, pods, Expected(2, 1), now=1010)
    assert (soon["currentHealthy"], soon["disruptionsAllowed"], again) == (1, 0, 110)
    later, _ = budget_status(one, pods, Expected(2, 1), now=1200)
    assert (later["disruptionsAllowed"], "disruptedPods" in later) == (1, False)


async def test_a_budget_follows_its_pods_and_blocks_evictions():
    async with running_cluster(
        nodes=("w1",), names=("disruption", "deployment", "replicaset")
    ) as cluster:
        await cluster.client.create(
            "poddisruptionbudgets.policy",
            {
                "metadata": {"name": "b", "namespace": "lab"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            },
        )
        await cluster.client.create("deployments.apps", workload("web", replicas=1))

        def allowed(count: int) -> bool:
            status = (cluster.get("poddisruptionbudgets.policy", "b") or {}).get("status") or {}
            return (
                status.get("currentHealthy", 0) >= 1 and status.get("disruptionsAllowed") == count
            )

        await cluster.until(lambda: allowed(0))
        name = cluster.pods()[0]["metadata"]["name"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": "lab"},
        }
        with pytest.raises(errors.TooManyRequests):
            await cluster.client.create("pods", eviction, subresource="eviction")
        await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"replicas": 2}})
        await cluster.until(lambda: allowed(1))
        cluster.kubelets.keep_terminating = True
        await cluster.client.create("pods", eviction, subresource="eviction")
        evicted = await cluster.client.get("pods", name, "lab")
        why = next(c for c in evicted["status"]["conditions"] if c["type"] == "DisruptionTarget")
        assert (why["status"], why["reason"]) == ("True", "EvictionByEvictionAPI")
        assert (why["message"], why["observedGeneration"]) == ("Eviction API: evicting", 1)
        assert evicted["metadata"]["deletionTimestamp"]
        eviction["metadata"]["name"] = "another"
        path = f"/api/v1/namespaces/lab/pods/{name}/eviction"
        assert (await cluster.api.request("POST", path, eviction))[0] == 400


async def test_a_budget_says_why_it_cannot_be_worked_out():
    async with running_cluster(nodes=("w1",), names=("disruption", "daemonset")) as cluster:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        for name, more in (("empty", {"matchLabels": {"app": "none"}}), ("b", spec["selector"])):
            meta = {"name": name, "namespace": "lab"}
            body = {"metadata": meta, "spec": spec | {"selector": more}}
            await cluster.client.create("poddisruptionbudgets.policy", body)
        daemons = workload("web")
        del daemons["spec"]["replicas"]
        await cluster.client.create("daemonsets.apps", daemons)

        def why() -> str:
            found = (cluster.get("poddisruptionbudgets.policy", "b") or {}).get("status") or {}
            return "".join(f"{c['reason']}: {c['message']}" for c in found.get("conditions") or ())

        text = "daemonsets.apps does not implement the scale subresource"
        await cluster.until(lambda: why() == f"SyncFailed: {text}")
        failed = f"Failed to calculate the number of expected pods: {text}"

        async def told() -> bool:
            wanted = {
                f"CalculateExpectedPodCountFailed: {failed}",
                "NoPods: No matching pods found",
            }
            return wanted <= set(await cluster.events())

        await cluster.eventually(told)


# -- quotas


def test_quotas_are_recounted_over_what_they_limit():
    quota = {"spec": {"hard": {"pods": "5", "requests.cpu": "2", "count/widgets.example.com": "1"}}}
    pod = {"metadata": {}, "spec": {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}}
    assert "widgets.example.com" in counted_resources(quota["spec"]["hard"])
    found = recount(quota, {"pods": [pod, pod], "widgets.example.com": [{"metadata": {}}]})
    assert found["used"] == {"pods": "2", "requests.cpu": "1", "count/widgets.example.com": "1"}


async def test_a_quota_is_given_back_what_is_deleted():
    async with running_cluster(names=("resourcequota",), schedule=False) as cluster:
        quota = {
            "metadata": {"name": "q", "namespace": "lab"},
            "spec": {"hard": {"configmaps": "5", "services": "2"}},
        }
        await cluster.client.create("resourcequotas", quota)

        def used() -> Object:
            return ((cluster.get("resourcequotas", "q") or {}).get("status") or {}).get(
                "used"
            ) or {}

        await cluster.until(lambda: used() == {"configmaps": "0", "services": "0"})
        for name in ("a", "b"):
            await cluster.client.create(
                "configmaps", {"metadata": {"name": name, "namespace": "lab"}}
            )
        await cluster.until(lambda: used().get("configmaps") == "2")
        # A status that somebody writes stands until there is something to count.
        found = await cluster.client.get("resourcequotas", "q", "lab")
        found["status"]["hard"]["services"] = "7"
        await cluster.client.update("resourcequotas", found, subresource="status")
        await asyncio.sleep(0.1)
        found = await cluster.client.get("resourcequotas", "q", "lab")
        assert found["status"]["hard"]["services"] == "7"
        await cluster.client.delete("configmaps", "a", "lab")
        await cluster.until(lambda: used().get("configmaps") == "1")
        found = await cluster.client.get("resourcequotas", "q", "lab")
        assert found["status"]["hard"]["services"] == "2"


async def test_a_quota_holds_while_it_is_recounted_and_charged_at_once():
    async with running_cluster(names=("resourcequota",), schedule=False) as cluster:
        meta = {"name": "q", "namespace": "lab"}
        limits = {"metadata": meta, "spec": {"hard": {"count/secrets": "8"}}}
        await cluster.client.create("resourcequotas", limits)

        def used() -> str | None:
            found = (cluster.get("resourcequotas", "q") or {}).get("status") or {}
            return (found.get("used") or {}).get("count/secrets")

        async def churn(number: int) -> int:
            made = 0
            for turn in range(6):
                name = f"s-{number}-{turn}"
                try:
                    await cluster.client.create(
                        "secrets", {"metadata": {"name": name, "namespace": "lab"}}
                    )
                except errors.Forbidden:
                    continue
                made += 1
                assert len((await cluster.client.list("secrets", "lab")).items) <= 8
                await cluster.client.delete("secrets", name, "lab")
            return made

        await cluster.until(lambda: used() == "0")
        done = await asyncio.gather(*(churn(number) for number in range(16)))
        assert sum(done) >= 8
        await cluster.until(lambda: used() == "0")


# -- pods that nobody else removes


def lost(name: str, *, node: str = "", phase: str = "Running", deleting: bool = False) -> Object:
    meta: Object = {"name": name, "creationTimestamp": name}
    if deleting:
        meta["deletionTimestamp"] = "x"
    return {
        "metadata": meta,
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase},
    }


def test_pods_on_lost_nodes_finished_and_unplaced_ones_go():
    pods = [
        lost("1", node="gone"), lost("2", node="here"), lost("3", deleting=True), lost("4", node="away"),
        lost("5", node="here", phase="Succeeded"), lost("6", node="here", phase="Failed"),
    ]  # fmt: skip
    found = gc_plan(pods, {"here": {"spec": {}}}, kept=1, long_gone={"gone"})
    assert [(p["metadata"]["name"], why) for p, why in found] == [
        ("5", "terminated"),
        ("1", "orphaned"),
        ("3", "unscheduled"),
    ]


# -- volumes


def volume(name: str, size: str, **spec: object) -> Object:
    base: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}
    return {"metadata": {"name": name}, "spec": base | spec, "status": {"phase": "Available"}}


def claim(size: str, **spec: object) -> Object:
    base: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "c", "namespace": "lab", "uid": "u"}, "spec": base | spec}


@pytest.mark.parametrize(
    ("one", "volumes", "name"),
    [
        pytest.param(claim("1Gi"), [volume("big", "5Gi"), volume("fit", "2Gi"), volume("small", "500Mi")], "fit", id="smallest that fits"),
        pytest.param(claim("1Gi", storageClassName="fast"), [volume("slow", "2Gi")], None, id="of its class only"),
        pytest.param(claim("1Gi", accessModes=["ReadWriteMany"]), [volume("v", "2Gi")], None, id="with its access modes"),
        pytest.param(
            claim("1Gi"), [volume("other", "1Gi", claimRef={"namespace": "x", "name": "y"}), volume("v", "2Gi")], "v", id="not another's"
        ),
        pytest.param(
            claim("1Gi"), [volume("any", "1Gi"), volume("kept", "9Gi", claimRef={"namespace": "lab", "name": "c"})], "kept", id="the one kept for it"
        ),
        pytest.param(claim("1Gi", volumeName="named"), [volume("named", "9Gi"), volume("v", "1Gi")], "named", id="the one it names"),
    ],
)  # fmt: skip
def test_a_claim_takes(one, volumes, name):
    found = choose(one, volumes)
    assert (found["metadata"]["name"] if found else None) == name


@pytest.mark.parametrize(
    ("class_name", "class_", "reason", "words"),
    [
        ("", None, "FailedBinding", "no storage class is set"),
        ("gone", None, "ProvisioningFailed", 'storageclass.storage.k8s.io "gone" not found'),
        ("far", {"provisioner": "x.io/p"}, "ExternalProvisioning", "external provisioner 'x.io/p'"),
        (
            "hand", {"provisioner": "kubernetes.io/no-provisioner"},
            "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (
            "late", {"provisioner": "x.io/p", "volumeBindingMode": "WaitForFirstConsumer"},
            "WaitForFirstConsumer", "waiting for first consumer",
        ),
    ],
)  # fmt: skip
def test_a_claim_says_what_it_waits_for(class_name, class_, reason, words):
    _, found, text = waiting(claim("1Gi", storageClassName=class_name), class_)
    assert found == reason and words in text


async def test_a_claim_that_no_volume_fits_has_an_event():
    async with running_cluster(nodes=("w1",), names=("persistentvolume-binder",)) as cluster:
        wanted = claim("1Gi", storageClassName="")
        del wanted["metadata"]["uid"]
        await cluster.client.create("persistentvolumeclaims", wanted)

        async def told() -> bool:
            return any(one.startswith("FailedBinding: ") for one in await cluster.events())

        await cluster.eventually(told)


async def test_claims_bind_are_protected_while_used_and_release_their_volume():
    names = (
        "persistentvolume-binder",
        "persistentvolumeclaim-protection",
        "persistentvolume-protection",
    )
    async with running_cluster(nodes=("w1",), names=names) as cluster:
        spec = {
            "capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        await cluster.client.create("persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
        wanted = claim("1Gi", storageClassName="")
        del wanted["metadata"]["uid"]
        await cluster.client.create("persistentvolumeclaims", wanted)
        await cluster.until(
            lambda: (
                ((cluster.get("persistentvolumeclaims", "c") or {}).get("status") or {}).get(
                    "phase"
                )
                == "Bound"
            )
        )
        assert cluster.get("persistentvolumeclaims", "c")["status"]["capacity"] == {
            "storage": "2Gi"
        }
        pod = template(
            {"app": "x"}, volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]
        )
        pod["metadata"] |= {"name": "user", "namespace": "lab"}
        await cluster.client.create("pods", pod)
        await cluster.until(
            lambda: (cluster.get("pods", "user") or {"spec": {}})["spec"].get("nodeName")
        )
        await cluster.client.delete("persistentvolumeclaims", "c", "lab")
        await cluster.until(
            lambda: cluster.get("persistentvolumeclaims", "c")["metadata"].get("deletionTimestamp")
        )
        await cluster.client.delete("pods", "user", "lab")
        await cluster.gone("persistentvolumeclaims", "c")
        volumes = cluster.informers.informer("persistentvolumes")
        await cluster.until(lambda: volumes.get(Key("", "v"))["status"]["phase"] == "Released")
        await cluster.client.delete("persistentvolumes", "v")
        await cluster.gone("persistentvolumes", "v", "")


# -- roles, tokens, address ranges


async def test_roles_made_of_others_follow_them():
    async with running_cluster(names=("clusterrole-aggregation",), schedule=False) as cluster:
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        part = {"metadata": {"name": "part", "labels": {"into": "whole"}}, "rules": [rule]}
        whole = {
            "metadata": {"name": "whole"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"into": "whole"}}]},
            "rules": [],
        }
        await cluster.client.create("clusterroles.rbac.authorization.k8s.io", whole)
        await cluster.client.create("clusterroles.rbac.authorization.k8s.io", part)

        def rules() -> list[Object]:
            return (cluster.get("clusterroles.rbac.authorization.k8s.io", "whole", "") or {}).get(
                "rules"
            ) or []

        await cluster.until(lambda: rules() == [rule])
        await cluster.client.delete("clusterroles.rbac.authorization.k8s.io", "part")
        await cluster.until(lambda: rules() == [])


def test_a_token_outlives_its_account_only_by_mistake():
    notes = {"kubernetes.io/service-account.name": "a", "kubernetes.io/service-account.uid": "u1"}
    secret = {"type": "kubernetes.io/service-account-token", "metadata": {"annotations": notes}}
    assert outlived(secret, None) and outlived(secret, {"metadata": {"uid": "u2"}})
    assert not outlived(secret, {"metadata": {"uid": "u1"}}) and not outlived(
        {"metadata": {}}, None
    )


def test_an_address_range_holds_the_addresses_no_other_covers():
    one, other = (
        {"metadata": {}, "spec": {"cidrs": ["10.0.0.0/24"]}},
        {"metadata": {}, "spec": {"cidrs": ["10.0.0.0/25"]}},
    )
    assert orphans(one, [other], ["10.0.0.5", "10.0.0.200", "10.1.0.1"]) == ["10.0.0.200"]


# -- certificates


async def test_an_approved_request_is_signed():
    ca = authority().pair
    settings = {"signing_ca_cert": ca.certificate, "signing_ca_key": ca.key}
    async with running_cluster(names=("certificatesigningrequest",), schedule=False) as cluster:
        await cluster.restart_controllers(names=("certificatesigningrequest",), **settings)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        )
        pem = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
        spec = {
            "request": pem,
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        }
        resource = "certificatesigningrequests.certificates.k8s.io"
        made = await cluster.client.create(resource, {"metadata": {"name": "jane"}, "spec": spec})
        condition = {"type": "Approved", "status": "True", "reason": "ByTest", "message": "m"}
        await cluster.client.update(
            resource, made | {"status": {"conditions": [condition]}}, subresource="approval"
        )

        async def issued() -> str:
            found = await cluster.client.get(resource, "jane")
            return str((found.get("status") or {}).get("certificate") or "")

        certificate = x509.load_pem_x509_certificate(
            base64.b64decode(await cluster.eventually(issued))
        )
        assert certificate.subject == name
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime.total_seconds() == 3600 + 300
