"""A ReachSpec is read whole, and every problem names its line and a remedy."""

import pytest

from todoku.api.located import BadFile
from todoku.reach.outcome import Outcome
from todoku.reach.spec import Backends, Fault, Target, parse, parse_target
from todoku.reach.targets import At

GOOD = """\
apiVersion: todoku/v1alpha1
kind: ReachSpec
defaults: {timeout: 500ms, requests: 6, namespace: service-test}
expect:
- {name: public, from: outside/*, to: "svc/web:80@lb", verdict: allowed, backends: {min: 2}}
- {from: outside/*, to: "svc/web:80@clusterip", verdict: denied, outcome: [timeout]}
- name: survives
  given: {stop: node/n1}
  within: 10s
  from: outside/c1
  to: svc/web@lb
  verdict: allowed
"""


def test_a_good_file():
    public, inside, survives = parse(GOOD, "reach.yaml").assertions
    assert public.backends == Backends(minimum=2)
    assert (public.timeout_seconds, public.requests, public.namespace) == (0.5, 6, "service-test")
    assert inside.name == "outside/* -> svc/web:80@clusterip"
    assert inside.outcomes == {Outcome.TIMEOUT}
    assert survives.given == (Fault("stop", "n1"),)
    assert survives.within_seconds == 10
    assert survives.line == 7


BAD = [
    ("no list", "kind: ReachSpec\napiVersion: todoku/v1alpha1\n", "expect: holds no assertion"),
    ("wrong kind", GOOD.replace("ReachSpec", "Reach"), "line 2: kind: is 'Reach'"),
    ("unknown field", GOOD.replace("within:", "whitin:"), "line 9: expect[2].whitin: is not a known field"),
    ("bad verdict", GOOD.replace("denied", "never"), "line 6: expect[1].verdict: is 'never'"),
    ("bad outcome", GOOD.replace("[timeout]", "[slow]"), "line 6: expect[1].outcome: 'slow' is no outcome"),
    ("bad duration", GOOD.replace("10s", "soon"), "line 9: expect[2].within: 'soon' is no duration"),
    ("bad kind of address", GOOD.replace("@lb", "@lbx"), "@lbx is no kind of address"),
    ("bad port", GOOD.replace("web:80@lb", "web:99999@lb"), "'99999' is no port"),
    ("duplicate key", GOOD.replace("within: 10s", "name: again"), "line 9: expect[2].name: is given twice"),
    ("not yaml", "expect: [", "not YAML"),
    ("not a mapping", "- a", "holds no ReachSpec"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_file_names_line_field_and_remedy(text, problem):
    with pytest.raises(BadFile) as caught:
        parse(text, "reach.yaml")
    assert problem in str(caught.value)


def test_all_problems_are_collected():
    with pytest.raises(BadFile) as caught:
        parse(GOOD.replace("denied", "never").replace("10s", "soon"), "reach.yaml")
    assert len(caught.value.problems) == 2


TARGETS = [
    ("svc/web", Target("svc", "default", "web", 0, "", None)),
    ("svc/other/web:53/udp@clusterip", Target("svc", "other", "web", 53, "UDP", At.CLUSTERIP)),
    ("pod/web-0:8080", Target("pod", "default", "web-0", 8080, "", At.POD)),
    ("svc/web:80@nodeport/n1", Target("svc", "default", "web", 80, "", At.NODEPORT, "n1")),
    ("10.0.0.1:53/udp", Target("address", "", "10.0.0.1", 53, "UDP", None)),
    ("10.0.0.1:80", Target("address", "", "10.0.0.1", 80, "", None)),
]


@pytest.mark.parametrize(("text", "target"), TARGETS, ids=[row[0] for row in TARGETS])
def test_a_target_is_taken_apart(text, target):
    assert parse_target(text, "default") == target
