"""The access reviews: every problem of one, in upstream's order and words."""

from __future__ import annotations

from todoku.api.resources import review_validation as reviews

RESOURCE = {"verb": "get", "resource": "pods"}
PATH = {"verb": "get", "path": "/x"}
BOTH = (
    'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: '
    "cannot be specified in combination with resourceAttributes"
)
NOBODY = 'spec.user: Invalid value: "": at least one of user or group must be specified'


def texts(problems):
    return [str(one) for one in problems]


def test_a_review_asks_one_thing_about_somebody():
    both = {"spec": {"resourceAttributes": RESOURCE, "nonResourceAttributes": PATH}}
    assert texts(reviews.subject_problems(both)) == [BOTH, NOBODY]
    assert texts(reviews.own_problems(both)) == [BOTH]
    assert not reviews.own_problems({"spec": {"nonResourceAttributes": PATH}})
    assert not reviews.subject_problems({"spec": {"resourceAttributes": {}, "groups": ["a"]}})


def test_a_local_review_is_about_its_namespace():
    one = {"spec": {"user": "a", "nonResourceAttributes": PATH}, "metadata": {"namespace": "a"}}
    assert texts(reviews.local_problems(one, "a")) == [
        'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: '
        "disallowed on this kind of request"
    ]
    one = {"spec": {"user": "a", "resourceAttributes": RESOURCE}, "metadata": {"name": "a"}}
    assert texts(reviews.local_problems(one, "a")) == [
        'metadata: Invalid value: {"name":"a"}: must be empty except for namespace',
        'spec.resourceAttributes.namespace: Invalid value: "": must match metadata.namespace',
    ]


def test_selectors_of_a_review():
    def problems(**selectors):
        review = {"spec": {"resourceAttributes": RESOURCE | selectors}}
        return [
            text.removeprefix("spec.resourceAttributes.")
            for text in texts(reviews.own_problems(review))
        ]

    assert problems(fieldSelector={}) == [
        "fieldSelector.requirements: Required value: when "
        "spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"
    ]
    few = {"rawSelector": "a=b", "requirements": [{"operator": "In"}]}
    assert problems(fieldSelector=few) == [
        'fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements',
        "fieldSelector.requirements[0].key: Required value: must be specified",
        "fieldSelector.requirements[0].values: Required value: "
        "must be specified when `operator` is 'In' or 'NotIn'",
    ]
    newer = {"requirements": [{"key": "a", "operator": "Gt", "values": ["1"]}]}
    assert problems(labelSelector=newer, fieldSelector=newer) == []
