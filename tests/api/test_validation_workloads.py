"""Validation of the kinds of apps and batch: every problem, in order, with kube-apiserver's wording."""

from __future__ import annotations

import pytest

from tests.support.kinds import created, made, updated
from todoku.api.meta import Object, copy
from todoku.api.resources import registry

LABELS = {"app": "web"}
TEMPLATE = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "web", "image": "httpd"}]},
}
JOB_TEMPLATE = {
    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
}
NO_MATCH = "`selector` does not match template `labels`"


def workload(**spec: object) -> Object:
    return {"selector": {"matchLabels": LABELS}, "template": copy(TEMPLATE), **copy(spec)}


def job(**spec: object) -> Object:
    return {"template": copy(JOB_TEMPLATE), **copy(spec)}


def cron(**spec: object) -> Object:
    return {"schedule": "* * * * *", "jobTemplate": {"spec": job()}, **copy(spec)}


@pytest.mark.parametrize(
    ("name", "spec", "problems"),
    [
        ("deployments.apps", workload(), []),
        ("deployments.apps", {"template": TEMPLATE}, [
            "spec.selector: Required value",
            f'spec.template.metadata.labels: Invalid value: {{"app":"web"}}: {NO_MATCH}',
        ]),
        ("deployments.apps", {"selector": {"matchLabels": LABELS}}, [
            f"spec.template.metadata.labels: Invalid value: null: {NO_MATCH}",
            "spec.template.spec.containers: Required value",
        ]),
        ("deployments.apps", workload(selector={"matchExpressions": [{"key": "a", "operator": "Has"}]}), [
            'spec.selector.matchExpressions[0].operator: Invalid value: "Has": not a valid selector operator',
            'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Has"}]}: invalid label selector',
        ]),
        ("deployments.apps", workload(strategy={"type": "Rolling"}), [
            'spec.strategy: Unsupported value: {"Type":"Rolling","RollingUpdate":null}: supported values: "Recreate",'
            ' "RollingUpdate"',
        ]),
        ("deployments.apps", workload(strategy={"type": "Recreate", "rollingUpdate": {}}), [
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ]),
        ("deployments.apps", workload(strategy={"rollingUpdate": {"maxUnavailable": "150%", "maxSurge": "x"}}), [
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string"
            " followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
        ]),
        ("replicasets.apps", workload(replicas=-1, minReadySeconds=-1), [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
        ]),
        ("replicasets.apps", {"selector": {"matchLabels": LABELS}}, [
            f"spec.template.metadata.labels: Invalid value: null: {NO_MATCH}",
            "spec.template.spec.containers: Required value",
        ]),
        ("daemonsets.apps", {"template": TEMPLATE}, [
            f'spec.template.metadata.labels: Invalid value: {{"app":"web"}}: {NO_MATCH}',
        ]),
        ("daemonsets.apps", workload(updateStrategy={"type": "Recreate"}), [
            'spec.updateStrategy: Unsupported value: {"Type":"Recreate","RollingUpdate":null}: supported values:'
            ' "RollingUpdate", "OnDelete"',
        ]),
        ("daemonsets.apps", workload(updateStrategy={"rollingUpdate": {"maxUnavailable": 0}}), [
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ]),
        ("daemonsets.apps", workload(updateStrategy={"rollingUpdate": {"maxSurge": "10%"}}), [
            'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is'
            " non-zero",
        ]),
        ("statefulsets.apps", workload(serviceName="A.b", updateStrategy={"type": "Never"}, podManagementPolicy="x",
                                       ordinals={"start": -1}), [
            "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
            'spec.updateStrategy: Invalid value: {"Type":"Never","RollingUpdate":null}: must be \'RollingUpdate\' or'
            " 'OnDelete'",
            "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
            "spec.serviceName: Invalid value: \"A.b\": a lowercase RFC 1123 label must consist of lower case"
            " alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', "
            " or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ]),
        ("statefulsets.apps", workload(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}]), [
            "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
            "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
        ]),
        ("jobs.batch", job(template={"spec": {"containers": [{"name": "a", "image": "b"}]}}), [
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ]),
        ("jobs.batch", job(completionMode="Indexed", parallelism=100_001), [
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is"
            " Indexed",
        ]),
        ("jobs.batch", job(backoffLimitPerIndex=1, maxFailedIndexes=2, successPolicy={"rules": [{}]}), [
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            "spec.maxFailedIndexes: Invalid value: 2: requires indexed completion mode",
            'spec.successPolicy: Invalid value: {"Rules":[{"SucceededIndexes":null,"SucceededCount":null}]}: requires'
            " indexed completion mode",
        ]),
        ("jobs.batch", job(podFailurePolicy={"rules": [
            {"action": "Stop"}, {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3, 0]}},
            {"onPodConditions": [{"type": "DisruptionTarget", "status": ""}], "onExitCodes": {"containerName": "x"}},
        ]}), [
            'spec.podFailurePolicy.rules[0].action: Unsupported value: "Stop": supported values: "Count", "FailIndex",'
            ' "FailJob", "Ignore"',
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is"
            " required",
            "spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [3,0]: must be ordered",
            'spec.podFailurePolicy.rules[2].action: Required value: valid values: ["Count" "FailIndex" "FailJob"'
            ' "Ignore"]',
            'spec.podFailurePolicy.rules[2].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]',
            'spec.podFailurePolicy.rules[2].onExitCodes.containerName: Invalid value: "x": must be one of the container'
            " or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: null: at least one value is required",
            'spec.podFailurePolicy.rules[2].onPodConditions[0].status: Required value: valid values: ["False" "True"'
            ' "Unknown"]',
            "spec.podFailurePolicy.rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not"
            " supported",
        ]),
        ("jobs.batch", job(completionMode="Indexed", completions=3, successPolicy={"rules": [
            {"succeededIndexes": "0,2-1"}, {"succeededIndexes": "1-2", "succeededCount": 4}, {},
        ]}), [
            'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0,2-1": error parsing succeededIndexes:'
            " non-increasing order, previous: 2, current: 1",
            "spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number"
            " of specified completions)",
            "spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 2 (the number"
            " of indexes in the specified succeededIndexes field)",
            "spec.successPolicy.rules[2]: Required value: at least one of succeededCount or succeededIndexes must be"
            " specified",
        ]),
        ("jobs.batch", job(managedBy="me"), [
            'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
        ]),
        ("jobs.batch", job(selector={"matchLabels": {"a": "b"}}), [
            'spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u1"}}:'
            " `selector` not auto-generated",
            'spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u1",'
            '"batch.kubernetes.io/job-name":"web","controller-uid":"u1","job-name":"web"}: ' + NO_MATCH,
        ]),
        ("jobs.batch", job(manualSelector=True), [
            "spec.selector: Required value",
            f"spec.template.metadata.labels: Invalid value: null: {NO_MATCH}",
        ]),
        ("cronjobs.batch", {"jobTemplate": {"spec": job(manualSelector=True, selector={})}}, [
            "spec.schedule: Required value",
            "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
            'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"',
        ]),
        ("cronjobs.batch", cron(concurrencyPolicy="x", timeZone="Mars/Base", failedJobsHistoryLimit=-1), [
            'spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base',
            'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"',
            "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
        ]),
        ("cronjobs.batch", cron(schedule="TZ=UTC * * * * *"), [
            'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field'
            " instead",
        ]),
        ("controllerrevisions.apps", {}, ["data: Required value: data is mandatory"]),
    ],
)  # fmt: skip
def test_a_new_object_is_told_all_its_problems(
    name: str, spec: Object, problems: list[str]
) -> None:
    assert created(name, spec) == problems


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("*/5 0-6,12 1 jan-mar mon", ""),
        ("@hourly", ""),
        ("@every 1h30m", ""),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("@reboot", "unrecognized descriptor: @reboot"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_schedules_are_read_as_cron_reads_them(schedule: str, problem: str) -> None:
    shown = f'spec.schedule: Invalid value: "{schedule}": {problem}'
    assert created("cronjobs.batch", cron(schedule=schedule)) == ([shown] if problem else [])


def test_a_cron_job_leaves_room_for_the_names_of_its_jobs() -> None:
    assert created("cronjobs.batch", cron(), name="a" * 53) == [
        f'metadata.name: Invalid value: "{"a" * 53}": must be no more than 52 bytes'
    ]


@pytest.mark.parametrize(
    ("name", "spec", "changed", "problems"),
    [
        ("deployments.apps", workload(), {"replicas": 3}, []),
        ("deployments.apps", workload(), {"selector": {"matchLabels": {"a": "b"}}}, [
            f'spec.template.metadata.labels: Invalid value: {{"app":"web"}}: {NO_MATCH}',
            'spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable',
        ]),
        ("statefulsets.apps", workload(), {"serviceName": "x", "replicas": 2}, [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
            " 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
            " are forbidden",
        ]),
        ("jobs.batch", job(), {"parallelism": 3, "suspend": True, "activeDeadlineSeconds": 5}, []),
        ("jobs.batch", job(completions=1), {"completions": 2, "managedBy": "a.b/c", "completionMode": "Indexed"}, [
            "spec.completions: Invalid value: 2: can only be modified in tandem with spec.parallelism",
            'spec.completionMode: Invalid value: "Indexed": field is immutable',
            'spec.managedBy: Invalid value: "a.b/c": field is immutable',
        ]),
        ("jobs.batch", job(completionMode="Indexed", completions=2, parallelism=2),
         {"completions": 3, "parallelism": 3}, []),
        ("jobs.batch", job(podFailurePolicy={"rules": []}), {"podFailurePolicy": None}, [
            'spec.podFailurePolicy: Invalid value: "null": field is immutable',
        ]),
        ("cronjobs.batch", cron(schedule="TZ=UTC * * * * *"), {"suspend": True}, []),
        ("cronjobs.batch", cron(schedule="TZ=UTC * * * * *"), {"timeZone": "UTC"}, [
            'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use both timeZone field and TZ or CRON_TZ in'
            " schedule",
        ]),
    ],
)  # fmt: skip
def test_a_change_is_told_what_it_may_not_change(
    name: str, spec: Object, changed: Object, problems: list[str]
) -> None:
    assert updated(name, spec, changed) == problems


def test_a_suspended_job_can_be_placed_and_sized_anew() -> None:
    spec = job(suspend=True)
    template = made("jobs.batch", spec)["spec"]["template"]
    template["spec"]["nodeSelector"] = {"disk": "ssd"}
    template["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    assert updated("jobs.batch", spec, {"template": template}) == []
    assert updated("jobs.batch", job(), {"template": template}) != []
    started = {"startTime": "2026-01-01T00:00:00Z"}
    [problem] = updated("jobs.batch", spec, {"template": template}, started)
    assert problem.startswith("spec.template.spec: Invalid value: ")
    template["spec"]["containers"][0]["image"] = "other"
    assert len(updated("jobs.batch", spec, {"template": template})) == 1


def condition(kind: str, status: str = "True") -> Object:
    return {"type": kind, "status": status}


START, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


@pytest.mark.parametrize(
    ("before", "after", "problems"),
    [
        ({}, {"startTime": START, "active": 1, "ready": 1}, []),
        ({}, {"startTime": START, "completionTime": LATER,
              "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}, []),
        ({}, {"conditions": [condition("Complete")]}, [
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true"
            " condition",
            "status.startTime: Required value: startTime is required for finished job",
        ]),
        ({}, {"startTime": START, "active": 1, "conditions": [condition("Failed")]}, [
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true"
            " condition",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
        ]),
        ({}, {"startTime": LATER, "completionTime": START}, [
            f'status.completionTime: Invalid value: "{START}": cannot set completionTime when there is no Complete=True'
            " condition",
            f'status.completionTime: Invalid value: "{START}": must be equal to or after `startTime`',
        ]),
        ({"startTime": START, "succeeded": 2}, {"succeeded": 1}, [
            "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter",
            "status.startTime: Required value: startTime cannot be removed for unsuspended job",
        ]),
        ({"conditions": [condition("FailureTarget")]}, {}, [
            "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
        ]),
        ({}, {"completedIndexes": "0", "ready": 2, "uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}}, [
            'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"',
            'status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed'
            " completion mode",
            "status.ready: Invalid value: 2: cannot set more ready pods than active",
        ]),
    ],
)  # fmt: skip
def test_the_status_of_a_job_is_sound(before: Object, after: Object, problems: list[str]) -> None:
    resource = registry().find("jobs.batch")
    assert resource is not None
    old = made("jobs.batch", job()) | {"status": before}
    found = resource.strategy.validate_status(old | {"status": after}, old)
    assert [str(one) for one in found] == problems


def test_the_template_generation_of_a_daemon_set_counts_its_templates() -> None:
    key = "deprecated.daemonset.template.generation"
    resource = registry().find("daemonsets.apps")
    assert resource is not None
    old = made("daemonsets.apps", workload())
    assert old["metadata"]["annotations"] == {key: "1"}
    new = copy(old)
    new["metadata"].pop("annotations")
    resource.strategy.prepare_update(new, old)
    assert new["metadata"]["annotations"] == {key: "1"}
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    resource.strategy.prepare_update(new, old)
    assert new["metadata"]["annotations"] == {key: "2"}


@pytest.mark.parametrize(
    ("name", "spec"),
    [("deployments.apps", workload()), ("jobs.batch", job()), ("cronjobs.batch", cron())],
)
def test_a_name_that_is_no_host_name_is_warned_of(name: str, spec: Object) -> None:
    resource = registry().find(name)
    assert resource is not None
    found = resource.strategy.warnings(made(name, spec, name="a.b"), None)
    assert found == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior;"
        " a DNS label is recommended: [must not contain dots]"
    ]
