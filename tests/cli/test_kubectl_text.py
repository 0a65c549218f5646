"""What the small kubectl prints and understands, without a server."""

import pytest

from todoku.api.errors import Invalid, NotFound, Path, invalid
from todoku.cli.kubectl_lib import main
from todoku.cli.kubectl_lib.catalog import Catalog, Kind
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.describe.events import shortened
from todoku.cli.kubectl_lib.describe.generic import spaced
from todoku.cli.kubectl_lib.describe.pod import probe
from todoku.cli.kubectl_lib.exec import status_of
from todoku.cli.kubectl_lib.files import read_objects
from todoku.cli.kubectl_lib.output import as_yaml, by_jsonpath
from todoku.cli.kubectl_lib.refusals import Failed, Usage, worded
from todoku.cli.kubectl_lib.rollout import daemonset_progress, deployment_progress
from todoku.cli.kubectl_lib.tables import render_table
from todoku.cli.kubectl_lib.targets import parse
from todoku.cli.kubectl_lib.wait import condition
from todoku.client.names import Named

KINDS = Catalog(
    [
        Kind(Named("", "v1", "Pod", "pods", True, ("list",)), "pod", ("po",), ("all",)),
        Kind(Named("", "v1", "Service", "services", True, ("list",)), "service", ("svc",), ("all",)),
        Kind(Named("", "v1", "Node", "nodes", False, ("list",)), "node", ("no",)),
        Kind(
            Named("apps", "v1", "Deployment", "deployments", True, ("list",)),
            "deployment",
            ("deploy",),
            ("all",),
        ),
    ]
)  # fmt: skip

TABLE = {
    "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "Node", "priority": 1}],
    "rows": [
        {
            "cells": ["web-1", "1/1", "worker1"],
            "object": {"metadata": {"name": "web-1", "namespace": "a", "labels": {"x": "1"}}},
        },
        {"cells": ["longer-name", None, "worker2"], "object": {"metadata": {"namespace": "b"}}},
    ],
}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(
            {},
            "NAME          READY\nweb-1         1/1\nlonger-name   \n",
            id="columns-are-three-blanks-apart",
        ),
        pytest.param(
            {"wide": True},
            "NAME          READY   NODE\nweb-1         1/1     worker1\nlonger-name           worker2\n",
            id="wide",
        ),
        pytest.param({"headers": False}, "web-1         1/1\nlonger-name   \n", id="no-headers"),
        pytest.param(
            {"namespace": True, "prefix": "pod/"},
            "NAMESPACE   NAME              READY\na           pod/web-1         1/1\n"
            "b           pod/longer-name   \n",
            id="all-namespaces-and-prefix",
        ),
        pytest.param(
            {"labels": True, "headers": False},
            "web-1         1/1   x=1\nlonger-name         <none>\n",
            id="labels",
        ),
    ],
)
def test_a_table(options, text):
    assert render_table(TABLE, **options) == text


def test_a_table_without_rows_is_nothing():
    assert render_table(TABLE | {"rows": []}) == ""


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["pods"], ["pod/"]),
        (["po", "a", "b"], ["pod/a", "pod/b"]),
        (["pod/a", "deploy/b"], ["pod/a", "deployment.apps/b"]),
        (["svc,po"], ["service/", "pod/"]),
        (["deployments.apps", "x"], ["deployment.apps/x"]),
        (["deployments.v1.apps"], ["deployment.apps/"]),
        (["all"], ["pod/", "service/", "deployment.apps/"]),
        (["Pod"], ["pod/"]),
    ],
)
def test_words_for_resources(words, labels):
    assert [one.kind.label(one.name) for one in parse(words, KINDS, "ns")] == labels


def test_a_cluster_scoped_resource_has_no_namespace():
    (target,) = parse(["node", "n1"], KINDS, "ns")
    assert target.namespace == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "you must specify the type of resource"),
        (["gizmos"], 'the server doesn\'t have a resource type "gizmos"'),
        (["pods", "pod/a"], "there is no need to specify a resource type as a separate argument"),
        (["pods.apps"], 'the server doesn\'t have a resource type "pods.apps"'),
    ],
)
def test_words_that_mean_nothing(words, problem):
    with pytest.raises(Usage, match=problem.replace("(", r"\(")):
        parse(words, KINDS, "ns")


def test_refusals_read_as_stock_kubectl_s():
    assert (
        worded(NotFound.of("pods", "web")) == 'Error from server (NotFound): pods "web" not found'
    )
    problems = [
        invalid(
            Path("spec") / "ports" / 0 / "port", 70000, "must be between 1 and 65535, inclusive"
        )
    ]
    assert worded(Invalid.of("Service", "", "web", problems)) == (
        'The Service "web" is invalid: spec.ports[0].port: Invalid value: 70000: '
        "must be between 1 and 65535, inclusive"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"), (3600 * 3, "3h"),
        (3600 * 5 + 120, "5h2m"), (3600 * 30, "30h"), (86400 * 3 + 3600, "3d1h"), (86400 * 10, "10d"),
    ],
)  # fmt: skip
def test_ages(seconds, text):
    assert shortened(seconds) == text


def test_describe_lines_up_neighbours_only():
    document = Document()
    document.field("Name", "web")
    document.mapping("Labels", {"b": "2", "a": "1"})
    document.line("Events:")
    with document.nested():
        document.table([("Type", "Reason"), ("Normal", "Pulled")])
    assert document.text() == (
        "Name:    web\nLabels:  a=1\n         b=2\nEvents:\n  Type    Reason\n  ----    ------\n  Normal  Pulled\n"
    )


def test_field_names_are_spaced_out_as_kubectl_does_it():
    assert [spaced(name) for name in ("autoAssign", "avoidBuggyIPs", "apiVersion")] == [
        "Auto Assign", "Avoid Buggy I Ps", "API Version",
    ]  # fmt: skip


def test_a_probe_in_one_line():
    shown = probe(
        {"httpGet": {"path": "/metrics", "port": "monitoring"}, "initialDelaySeconds": 10}
    )
    assert (
        shown
        == "http-get http://:monitoring/metrics delay=10s timeout=1s period=10s #success=1 #failure=3"
    )


def test_yaml_quotes_what_would_read_as_something_else():
    text = as_yaml(
        {"a": "1", "b": "true", "c": "2026-11-23T10:00:00Z", "d": "plain", "e": ["x"], "f": 1}
    )
    assert text == 'a: "1"\nb: "true"\nc: "2026-11-23T10:00:00Z"\nd: plain\ne:\n- x\nf: 1\n'


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.spec.replicas}", "3"),
        ("{.metadata.name}{'\\n'}", "web\n"),
        ('{.status.conditions[?(@.type=="Ready")].status}', "True"),
        (".metadata.name", "web"),
        ("{.nothing}", ""),
        ("{.metadata.labels}", '{"app":"web"}'),
    ],
)
def test_jsonpath(template, text):
    obj = {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert by_jsonpath(template, obj) == text


READY = {
    "metadata": {"generation": 2},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("asked", "obj", "holds"),
    [
        ("condition=Ready", READY, True),
        ("condition=ready=true", READY, True),
        ("condition=Ready=False", READY, False),
        ("condition=Ready", READY | {"status": READY["status"] | {"observedGeneration": 1}}, False),
        ("condition=Ready", None, False),
        ("delete", None, True),
        ("delete", READY, False),
        ("create", READY, True),
        ("jsonpath={.metadata.generation}=2", READY, True),
        ("jsonpath={.metadata.generation}", READY, True),
        ("jsonpath={.metadata.nothing}", READY, False),
    ],
)
def test_what_wait_waits_for(asked, obj, holds):
    assert condition(asked).holds(obj) is holds


def test_an_unknown_condition_is_refused():
    with pytest.raises(Usage, match="unrecognized condition"):
        condition("sunshine")


def deployment(**status):
    return {
        "metadata": {"name": "web", "generation": 1},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 1} | status,
    }


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"observedGeneration": 0}, "Waiting for deployment spec update to be observed..."),
        ({"updatedReplicas": 1}, "1 out of 3 new replicas have been updated..."),
        ({"updatedReplicas": 3, "replicas": 5}, "2 old replicas are pending termination..."),
        (
            {"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2},
            "2 of 3 updated replicas are available...",
        ),
        (
            {"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3},
            'deployment "web" successfully rolled out',
        ),
    ],
)
def test_the_progress_of_a_rollout(status, text):
    shown, done = deployment_progress(deployment(**status))
    assert text in shown
    assert done is ("successfully" in text)


def test_a_rollout_past_its_deadline_fails():
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    with pytest.raises(Failed, match="exceeded its progress deadline"):
        deployment_progress(deployment(conditions=[late]))


def test_the_progress_of_a_daemon_set():
    obj = deployment(desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=1)
    assert daemonset_progress(obj)[0].endswith("1 of 3 updated pods are available...")


def test_the_status_of_a_command_comes_from_the_error_channel(capsys):
    assert status_of(b'{"status":"Success"}') == 0
    failed = b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}'
    assert status_of(failed) == 7
    assert "command terminated with exit code 7" in capsys.readouterr().err
    with pytest.raises(Failed, match="no such container"):
        status_of(b'{"status":"Failure","message":"no such container"}')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "error parsing"),
        ("", "no objects"),
        ("- a\n", "is not an object"),
        ("kind: Pod\nmetadata: {name: x}\n", "apiVersion not set"),
        ("apiVersion: v1\nkind: Pod\n", "has no metadata.name"),
    ],
)
def test_bad_files_are_refused_before_anything_is_sent(tmp_path, text, problem):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(Usage, match=problem):
        read_objects(str(tmp_path / "x.yaml"))


def test_a_folder_and_a_list_are_taken_apart(tmp_path):
    item = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
    (tmp_path / "b.yaml").write_text(item % "two" + "---\n" + item % "three")
    (tmp_path / "a.json").write_text(
        '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}}]}'
    )
    (tmp_path / "notes.txt").write_text("no object")
    names = [obj["metadata"]["name"] for obj in read_objects(str(tmp_path))]
    assert names == ["one", "two", "three"]


@pytest.mark.parametrize("verb", ["port-forward", "edit", "explain"])
def test_what_is_not_here_is_refused_and_names_stock_kubectl(verb, capsys, tmp_path):
    assert main.run([verb, "x"], kubeconfig=tmp_path / "none") == 1
    assert "install stock kubectl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["get", "pods", "--frobnicate"], "unrecognized arguments"),
        (["frobnicate"], "invalid choice"),
        (["wait", "pods", "--timeout=soon"], "invalid duration"),
    ],
)
def test_wrong_use(arguments, problem, capsys, tmp_path):
    assert main.run(arguments, kubeconfig=tmp_path / "none") == 1
    assert problem in capsys.readouterr().err


def test_several_problems_are_a_list():
    problems = [invalid(Path(name), 0, "must be more") for name in ("a", "b")]
    assert worded(Invalid.of("Deployment", "apps", "web", problems)) == (
        'The Deployment "web" is invalid: \n* a: Invalid value: 0: must be more\n* b: Invalid value: 0: must be more'
    )
