"""Jobs that ask from inside a foreign cluster: harmless, bounded, and read by their log."""

from dataclasses import replace

import pytest
import yaml

from tests.reach.article import report, service, world
from todoku.reach.jobs import Order, answers, finished, job, manifests, needed_access, outcome, role
from todoku.reach.outcome import Outcome

SHOWN = report(world(service()))
JOB = job(Order("ab12", "default"), SHOWN.sources[0], SHOWN.addresses)
POD = JOB["spec"]["template"]["spec"]


def test_a_job_ends_and_disappears_by_itself():
    assert JOB["spec"]["activeDeadlineSeconds"] > 0
    assert JOB["spec"]["ttlSecondsAfterFinished"] > 0
    assert JOB["spec"]["backoffLimit"] == 0


def test_a_job_fits_the_restricted_profile():
    container = POD["containers"][0]["securityContext"]
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["automountServiceAccountToken"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["allowPrivilegeEscalation"] is False


def test_the_plan_names_every_address_that_exists():
    plan = next(one["value"] for one in POD["containers"][0]["env"] if one["name"] == "PLAN")
    assert plan.splitlines()[0] == "0 tcp 10.244.1.2 80"
    assert len(plan.splitlines()) == len(SHOWN.addresses)


SAID = [
    ("OK", Outcome.OK),
    ("REFUSED", Outcome.REFUSED),
    ("TIMEOUT", Outcome.TIMEOUT),
    ("nc: can't connect to remote host (10.0.0.1): Connection refused", Outcome.REFUSED),
    ("nc: can't connect to remote host (10.0.0.1): No route to host", Outcome.NO_ROUTE),
    ("nc: bad address 'web.default'", Outcome.DNS),
    ("", Outcome.TIMEOUT),
    ("segmentation fault", Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("said", "word"), SAID, ids=[row[0] or "silence" for row in SAID])
def test_a_tools_sentence_becomes_an_outcome(said, word):
    assert outcome(said) is word


def test_answers_are_read_from_the_log():
    log = "warning: x\ntodoku-reach 0 OK\ntodoku-reach 0 TIMEOUT\ntodoku-reach 3 \ntodoku-reach done\n"
    found = answers(log)
    assert [one.outcome for one in found[0]] == [Outcome.OK, Outcome.TIMEOUT]
    assert [one.outcome for one in found[3]] == [Outcome.TIMEOUT]
    assert finished(log)


def test_missing_rights_become_a_ready_role():
    cluster, local = role(needed_access("probes"))
    assert (cluster["kind"], local["kind"]) == ("ClusterRole", "Role")
    assert local["metadata"]["namespace"] == "probes"
    assert {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": ["create", "get", "list", "delete"],
    } in local["rules"]


def test_a_dry_run_shows_the_jobs_readably_and_completely():
    shown = manifests([JOB, JOB])
    assert list(yaml.safe_load_all(shown)) == [JOB, JOB]
    assert "&id" not in shown
    assert "\n          ask() {\n" in shown


def test_a_node_is_asked_from_its_own_network_and_a_pod_is_not():
    pod = replace(SHOWN.sources[0], name="pod@master1", kind="pod")
    assert job(Order("ab12", "default"), SHOWN.sources[0], [])["spec"]["template"]["spec"][
        "hostNetwork"
    ]
    assert "hostNetwork" not in job(Order("ab12", "default"), pod, [])["spec"]["template"]["spec"]
