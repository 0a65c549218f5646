"""/livez, /readyz, /healthz, /metrics, /version as kube-apiserver answers them."""

import re
from pathlib import Path

import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.health import Health, Probes


def health(**wrong):
    def probe(name):
        return lambda: wrong.get(name, "")

    return Health(Probes(*(probe(name) for name in ("store", "cache", "started", "stopping"))))


def page(path, made=None, *, excluded=(), verbose=False):
    found = (made or health()).page(path, excluded=excluded, verbose=verbose)
    return found and (found.code, found.text)


PAGES = {
    "well": ("/livez", {}, (), (200, "ok")),
    "one check": ("/livez/ping", {}, (), (200, "ok")),
    "a hook": ("/readyz/poststarthook/rbac/bootstrap-roles", {}, (), (200, "ok")),
    "no such check": ("/livez/nothing", {}, (), None),
    "no check of this page": ("/livez/shutdown", {}, (), None),
    "one that fails": (
        "/readyz/etcd",
        {"store": "disk gone"},
        (),
        (500, "internal server error: disk gone\n"),
    ),
    "excluded": ("/readyz", {"stopping": "yes"}, ["shutdown"], (200, "ok")),
}


@pytest.mark.parametrize(("path", "wrong", "excluded", "answer"), PAGES.values(), ids=list(PAGES))
def test_a_health_page(path, wrong, excluded, answer):
    assert page(path, health(**wrong), excluded=excluded) == answer


def test_verbose_names_every_check():
    _, text = page("/readyz", verbose=True)
    lines = text.splitlines()
    assert lines[:3] == ["[+]ping ok", "[+]log ok", "[+]etcd ok"]
    assert "[+]poststarthook/priority-and-fairness-config-consumer ok" in lines
    assert lines[-2:] == ["[+]shutdown ok", "readyz check passed"]
    assert text.endswith("passed\n")


def test_a_failure_is_told_without_its_reason():
    code, text = page("/readyz", health(stopping="going down"), excluded=["ping", "b", "a"])
    assert code == 500
    lines = text.splitlines()
    assert lines[0] == "[+]ping excluded: ok"
    assert lines[-3:] == [
        "[-]shutdown failed: reason withheld",
        'warn: some health checks cannot be excluded: no matches for "a","b"',
        "readyz check failed",
    ]
    assert "going down" not in text


async def test_health_over_the_wire(api):
    response, data = await api.raw("GET", "/livez?verbose")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert data.endswith(b"livez check passed\n")
    response, data = await api.raw("GET", "/readyz?verbose&exclude=etcd&exclude=log")
    assert b"[+]etcd excluded: ok\n" in data
    assert b"[+]log excluded: ok\n" in data


PERMITTED = {
    ("", "/livez"): 200,
    ("", "/livez/ping"): 403,
    ("", "/metrics"): 403,
    ("system:monitoring", "/metrics"): 200,
    ("system:monitoring", "/metrics/slis"): 200,
    ("system:monitoring", "/livez/ping"): 200,
    ("system:monitoring", "/debug/api_priority_and_fairness/dump_queues"): 403,
}


@pytest.mark.parametrize(("who", "code"), PERMITTED.items(), ids=lambda value: str(value))
async def test_rbac_guards(api, who, code):
    group, path = who
    headers = {"Impersonate-User": "someone"}
    if group:
        headers["Impersonate-Group"] = group
    response, _ = await api.raw("GET", path, headers=headers)
    assert response.status == code


async def test_metrics_count_what_happened():
    async with running_api() as api:
        path = "/api/v1/namespaces/default/configmaps"
        await api.request("POST", path, {"metadata": {"name": "a"}})
        await api.request("POST", f"{path}?dryRun=All", {"metadata": {"name": "b"}})
        await api.request("GET", f"{path}/a")
        await api.request("GET", f"{path}/absent")
        await api.request("GET", "/api/v1/configmaps")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}
        await api.request(
            "PATCH", f"{path}/a?fieldManager=m", body, content_type="application/apply-patch+yaml"
        )
        async with api.watch(f"{path}?watch=1&fieldSelector=metadata.name%3Da") as events:
            await anext(events)
            response, data = await api.raw("GET", "/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = data.decode().splitlines()
    about = 'group="",version="v1",resource="configmaps",subresource="",scope'
    for line in (
        f'apiserver_request_total{{verb="POST",dry_run="",{about}="namespace",component="apiserver",code="201"}} 1',
        f'apiserver_request_total{{verb="POST",dry_run="All",{about}="namespace",component="apiserver",code="201"}} 1',
        f'apiserver_request_total{{verb="GET",dry_run="",{about}="namespace",component="apiserver",code="404"}} 1',
        f'apiserver_request_total{{verb="LIST",dry_run="",{about}="cluster",component="apiserver",code="200"}} 1',
        f'apiserver_request_total{{verb="APPLY",dry_run="",{about}="namespace",component="apiserver",code="200"}} 1',
        f'apiserver_longrunning_requests{{verb="WATCH",{about}="namespace",component="apiserver"}} 1',
        f'apiserver_response_sizes_count{{verb="LIST",{about}="cluster",component="apiserver"}} 1',
        'apiserver_watch_events_total{group="",version="v1",resource="configmaps"} 1',
        'apiserver_current_inflight_requests{request_kind="readOnly"} 1',
        'etcd_request_duration_seconds_count{operation="update",type="configmaps"} 1',
        'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245',
    ):
        assert line in lines
    for start in (
        'apiserver_storage_objects{resource="flowschemas.flowcontrol.apiserver.k8s.io"} 13',
        'apiserver_request_duration_seconds_bucket{verb="GET",dry_run="",' + about + '="namespace",component="apiserver",le="0.005"} ',
        "process_cpu_seconds_total ",
        "process_start_time_seconds 1",
        'kubernetes_build_info{compiler="cpython",git_version="v1.36.',
    ):  # fmt: skip
        assert any(line.startswith(start) for line in lines), start


async def test_what_is_not_served_leaves_no_metric(api):
    for path in (
        "/api/v1/namespaces/default/inventeds",
        "/apis/no.such.group/v1/inventeds?watch=1",
        "/api/v1/namespaces/default/pods/x/invented",
        "/invented",
    ):
        await api.request("GET", path)
    await api.request("MKCOL", "/api/v1/pods")
    _, data = await api.raw("GET", "/metrics")
    assert b"invented" not in data
    assert b'verb="other",dry_run="",group="",version="v1",resource="pods"' in data


async def test_slis_tell_each_check(api):
    _, data = await api.raw("GET", "/metrics/slis")
    assert b'kubernetes_healthcheck{name="etcd",type="readyz"} 1\n' in data


async def test_every_metric_is_documented(api):
    readme = (Path(__file__).parents[2] / "src/todoku/apiserver/README.md").read_text()
    _, data = await api.raw("GET", "/metrics")
    families = re.findall(r"^# TYPE (\S+) ", data.decode(), re.MULTILINE)
    assert len(families) == len(set(families)) > 30
    assert [name for name in families if f"`{name}`" not in readme] == []
