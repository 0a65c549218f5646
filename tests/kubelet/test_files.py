import os

import pytest

from todoku.kubelet.environment import ConfigError, Facts
from todoku.kubelet.files import hostname, hosts, resolv_conf
from todoku.kubelet.images import Credentials
from todoku.kubelet.logs import render, rotate, tail_offset
from todoku.kubelet.payload import File, Missing, TokenWanted, payload, references
from todoku.kubelet.probes import Schedule, Tally, Target, Verdict, http_request
from todoku.kubelet.pullsecrets import credentials
from todoku.kubelet.statuses import changes
from todoku.kubelet.streaming import LogOptions
from todoku.kubelet.volumes import write_atomically


def pod(**spec):
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"},
        "spec": {"containers": [], **spec},
    }


@pytest.mark.parametrize(("spec", "expected"), [
    ({}, "web-1"), ({"hostname": "h"}, "h"), ({"hostNetwork": True}, "node"),
    ({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True}, "h.s.shop.svc"),
])  # fmt: skip
def test_host_names(spec, expected):
    assert hostname(pod(**spec), "node") == expected


def test_the_hosts_file_names_the_pod_and_its_aliases():
    text = hosts(pod(subdomain="s", hostAliases=[{"ip": "9.9.9.9", "hostnames": ["x"]}]), ("10.0.0.5",),
                 cluster_domain="cluster.local")  # fmt: skip
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.5\tweb-1.s.shop.svc.cluster.local\tweb-1\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n9.9.9.9\tx\n")


NODE = "search lan\nnameserver 1.1.1.1\noptions timeout:1\n"
CLUSTER = "search shop.svc.c.l svc.c.l c.l lan\nnameserver 10.96.0.10\noptions ndots:5\n"


@pytest.mark.parametrize(("spec", "expected"), [
    ({}, CLUSTER),
    ({"dnsPolicy": "Default"}, NODE),
    ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, NODE),
    ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTER),
    ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["2.2.2.2"]}}, "nameserver 2.2.2.2\n"),
    ({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}], "searches": ["x"]}},
     "search shop.svc.c.l svc.c.l c.l lan x\nnameserver 10.96.0.10\noptions ndots:1 edns0\n"),
])  # fmt: skip
def test_name_servers_by_policy(spec, expected):
    assert (
        resolv_conf(pod(**spec), node_text=NODE, cluster_dns=("10.96.0.10",), cluster_domain="c.l")
        == expected
    )


FACTS = Facts(
    pod=pod(),
    config_map_bytes={"m": {"a": b"1", "b": b"2"}, "gone": None},
    secrets={"s": {"k": b"v"}},
)


@pytest.mark.parametrize(("volume", "expected"), [
    ({"configMap": {"name": "m"}}, {"a": File(b"1"), "b": File(b"2")}),
    ({"configMap": {"name": "m", "defaultMode": 0o400, "items": [{"key": "a", "path": "x/y"}]}}, {"x/y": File(b"1", 0o400)}),
    ({"configMap": {"name": "gone", "optional": True}}, {}),
    ({"secret": {"secretName": "s"}}, {"k": File(b"v")}),
    ({"projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "m", "items": [{"key": "b", "path": "k"}]}}]}},
     {"k": File(b"2")}),
    ({"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}, {"n": File(b"web-1")}),
    ({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}, {"token": File(b"T")}),
])  # fmt: skip
def test_what_lies_in_a_volume(volume, expected):
    assert payload({"name": "v", **volume}, FACTS, {TokenWanted("token"): "T"}) == expected


@pytest.mark.parametrize(("volume", "problem"), [
    ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
    ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
    ({"configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}}, "references non-existent configmap key: z"),
])  # fmt: skip
def test_what_may_still_come_is_waited_for(volume, problem):
    with pytest.raises(Missing, match=problem):
        payload({"name": "v", **volume}, FACTS, {})


def test_a_path_cannot_leave_its_volume():
    with pytest.raises(ConfigError, match="leaves its volume"):
        payload(
            {"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "../x"}]}},
            FACTS,
            {},
        )


def test_objects_that_volumes_show():
    volumes = [{"name": "a", "configMap": {"name": "m"}}, {"name": "b", "secret": {"secretName": "s"}},
               {"name": "c", "projected": {"sources": [{"secret": {"name": "t"}}]}}]  # fmt: skip
    assert references(volumes) == ({"m"}, {"s", "t"})


def test_files_change_all_at_once(tmp_path):
    assert write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o400)})
    first = (tmp_path / "..data").readlink()
    assert not write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o400)})
    assert write_atomically(tmp_path, {"a": File(b"3")})
    assert (tmp_path / "a").read_text() == "3" and not (tmp_path / "d").exists()
    assert (tmp_path / "..data").readlink() != first and not (tmp_path / first).exists()
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["..data", str((tmp_path / "..data").readlink()), "a"]
    )


@pytest.mark.parametrize(("line", "options", "expected"), [
    (b"2026-01-01T00:00:00Z stdout F hello", LogOptions(), b"hello\n"),
    (b"2026-01-01T00:00:00Z stdout P hel", LogOptions(), b"hel"),
    (b"2026-01-01T00:00:00Z stderr F e", LogOptions(stream="Stdout"), None),
    (b"2026-01-01T00:00:00Z stdout F h", LogOptions(timestamps=True), b"2026-01-01T00:00:00Z h\n"),
    (b"2026-01-01T00:00:00.1+00:00 stdout F h", LogOptions(timestamps=True), b"2026-01-01T00:00:00.1Z h\n"),
    (b"2026-01-01T00:00:00Z stdout F h", LogOptions(since=4e9), None),
    (b"garbage", LogOptions(), None),
])  # fmt: skip
def test_a_log_line_as_its_reader_sees_it(line, options, expected):
    assert render(line, options) == expected


@pytest.mark.parametrize(
    ("lines", "rest"), [(0, ""), (1, "c\n"), (2, "b\nc\n"), (3, "a\nb\nc\n"), (9, "a\nb\nc\n")]
)
def test_the_last_lines_are_found_from_the_end(tmp_path, lines, rest):
    path = tmp_path / "log"
    path.write_text("a\nb\nc\n")
    assert path.read_text()[tail_offset(path, lines) :] == rest


def test_a_grown_log_is_renamed_and_old_ones_go(tmp_path):
    path = tmp_path / "0.log"
    for stamp in "1234":
        path.write_text("x" * 20)
        assert rotate(path, limit_bytes=10, files=3, stamp=stamp)
    path.write_text("x")
    assert not rotate(path, limit_bytes=10, files=3, stamp="9")
    assert sorted(os.listdir(tmp_path)) == ["0.log", "0.log.3", "0.log.4"]


S, F = Verdict.SUCCESS, Verdict.FAILURE


@pytest.mark.parametrize(("start", "schedule", "seen", "settled"), [
    (F, Schedule(), [S], [S]),
    (S, Schedule(failure_threshold=3), [F, F, F, S], [S, S, F, S]),
    (S, Schedule(failure_threshold=2), [F, S, F, F], [S, S, S, F]),
    (F, Schedule(success_threshold=2), [S, F, S, S], [F, F, F, S]),
], ids=["at once", "third failure", "broken row", "two successes"])  # fmt: skip
def test_a_probe_changes_its_mind_after_its_threshold(start, schedule, seen, settled):
    tally, found = Tally(schedule, start), []
    for verdict in seen:
        tally.add(verdict)
        found.append(tally.settled)
    assert found == settled


@pytest.mark.parametrize(("get", "url"), [
    ({"port": 8080}, "http://10.0.0.5:8080/"),
    ({"port": "web", "path": "/x?y=1"}, "http://10.0.0.5:80/x?y=1"),
    ({"port": 1, "scheme": "HTTPS", "host": "h", "path": "p"}, "https://h:1/p"),
])  # fmt: skip
def test_where_an_http_probe_goes(get, url):
    assert http_request(get, Target("10.0.0.5", {"web": 80}, None))[0] == url


SECRET = {
    ".dockerconfigjson": b'{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}, "reg.example/a": {"username": "x", "password": "y"}}}'
}


@pytest.mark.parametrize(("image", "expected"), [
    ("busybox", Credentials("u", "p")), ("reg.example/a/b", Credentials("x", "y")), ("reg.example/c", None),
])  # fmt: skip
def test_pull_secrets_fit_by_registry_and_path(image, expected):
    assert credentials(image, [SECRET]) == expected


def test_a_status_is_written_as_its_differences():
    assert changes({"phase": "Pending", "podIP": "1", "x": 1}, {"phase": "Running"}) == {
        "phase": "Running",
        "podIP": None,
    }
