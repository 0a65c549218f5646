"""The names that definitions are given, and their conditions."""

import pytest

from todoku.api.meta import copy
from todoku.apiserver.crd_status import condition, status_of, terminating

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def definition(plural="things", group="x.io", accepted=None, annotations=None, **names):
    kind = plural.title()[:-1]
    full = {"plural": plural, "singular": plural[:-1], "kind": kind, "listKind": f"{kind}List"}
    return {
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations or {}},
        "spec": {
            "group": group,
            "names": full | names,
            "versions": [{"name": "v1", "served": True, "storage": True}],
        },
        "status": {
            "acceptedNames": accepted or {"plural": "", "kind": ""},
            "storedVersions": ["v1"],
        },
    }


def holder(plural="others", **names):
    one = definition(plural, **names)
    one["status"] = status_of(one, [], NOW)
    return one


def shown(status, kind):
    found = condition({"status": status}, kind)
    return (found["status"], found["reason"], found["message"])


def test_names_without_conflict_are_accepted_at_once():
    crd = definition(shortNames=["th"], categories=["all"])
    status = status_of(crd, [holder()], NOW)
    assert status["acceptedNames"] == crd["spec"]["names"]
    assert shown(status, "NamesAccepted") == ("True", "NoConflicts", "no conflicts found")
    text = "the initial names have been accepted"
    assert shown(status, "Established") == ("True", "InitialNamesAccepted", text)


@pytest.mark.parametrize(
    ("names", "reason", "message"),
    [
        ({"singular": "other"}, "SingularConflict", '"other" is already in use'),
        ({"shortNames": ["o", "t"]}, "ShortNamesConflict", '"o" is already in use'),
        ({"shortNames": ["o", "others"]}, "ShortNamesConflict", '["o" is already in use, "others" is already in use]'),
        ({"kind": "Other"}, "KindConflict", '"Other" is already in use'),
        ({"listKind": "OtherList"}, "ListKindConflict", '"OtherList" is already in use'),
    ],
)  # fmt: skip
def test_a_conflict_leaves_the_other_names(names, reason, message):
    crd = definition(**names)
    status = status_of(crd, [holder(shortNames=["o"])], NOW)
    assert shown(status, "NamesAccepted") == ("False", reason, message)
    assert shown(status, "Established") == ("False", "NotAccepted", "not all names are accepted")
    assert status["acceptedNames"]["plural"] == "things"
    [refused] = names
    assert not status["acceptedNames"].get(refused)


def test_a_definition_stays_established_when_it_wants_a_name_that_is_taken():
    crd = definition()
    crd["status"] = status_of(crd, [], NOW)
    crd["spec"]["names"]["shortNames"] = ["o"]
    status = status_of(crd, [holder(shortNames=["o"])], LATER)
    assert shown(status, "NamesAccepted")[0] == "False"
    assert condition({"status": status}, "Established")["lastTransitionTime"] == NOW
    assert shown(status, "Established")[0] == "True"


@pytest.mark.parametrize(
    ("annotation", "status", "reason"),
    [
        (None, "False", "MissingAnnotation"),
        ("unapproved, experimental", "False", "UnapprovedAnnotation"),
        ("soon", "False", "InvalidAnnotation"),
        ("https://github.com/kubernetes/kubernetes/pull/1", "True", "ApprovedAnnotation"),
    ],
)
def test_definitions_of_protected_groups_say_whether_they_are_approved(annotation, status, reason):
    annotations = {"api-approved.kubernetes.io": annotation} if annotation else None
    crd = definition(group="x.k8s.io", annotations=annotations)
    found = shown(status_of(crd, [], NOW), "KubernetesAPIApprovalPolicyConformant")
    assert found[:2] == (status, reason)
    assert condition({"status": status_of(definition(), [], NOW)}, found[0]) is None


def test_a_definition_that_is_going_says_so():
    crd = definition()
    before = copy(crd)
    status = terminating(crd, NOW)
    text = "CustomResource deletion is in progress"
    assert shown(status, "Terminating") == ("True", "InstanceDeletionInProgress", text)
    assert crd == before
