"""What flow control writes."""

import pytest

from todoku.apiserver.flowcontrol import defaults
from todoku.apiserver.flowcontrol.upkeep import amend, condition

OBJECTS = {(one["kind"], one["metadata"]["name"]): one for one in defaults.flow_control_objects()}
SYSTEM = OBJECTS["PriorityLevelConfiguration", "system"]
EXEMPT = OBJECTS["PriorityLevelConfiguration", "exempt"]


def found(wanted, mark, spec, generation=2):
    annotations = {} if mark is None else {defaults.AUTO_UPDATE: mark}
    metadata = {
        "name": wanted["metadata"]["name"],
        "annotations": annotations,
        "generation": generation,
    }
    return {**wanted, "metadata": metadata, "spec": spec}


CHANGED = {"type": "Limited", "limited": {"nominalConcurrencyShares": 1}}
CASES = {
    "as it should be": ("true", SYSTEM["spec"], 1, None),
    "changed while kept up": ("true", CHANGED, 2, ("true", SYSTEM["spec"])),
    "people's": ("false", CHANGED, 2, None),
    "unmarked and never changed": (None, CHANGED, 1, ("true", SYSTEM["spec"])),
    "unmarked and changed": (None, CHANGED, 2, ("false", CHANGED)),
}


@pytest.mark.parametrize(("mark", "spec", "generation", "wanted"), CASES.values(), ids=CASES)
def test_a_suggested_object_that_is(mark, spec, generation, wanted):
    result = amend(found(SYSTEM, mark, spec, generation), SYSTEM)
    seen = result and (result["metadata"]["annotations"][defaults.AUTO_UPDATE], result["spec"])
    assert seen == wanted


def test_the_mandatory_level_keeps_its_spec_but_people_may_say_what_it_lends():
    theirs = {
        "type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 50},
    }
    assert amend(found(EXEMPT, "false", theirs), EXEMPT) is None
    assert amend(found(EXEMPT, "true", theirs), EXEMPT)["spec"] == EXEMPT["spec"]


def test_a_schema_tells_whether_its_level_is_missing():
    schema = OBJECTS["FlowSchema", "probes"]
    there = condition(schema, True, 0)
    assert (there["status"], there["reason"]) == ("False", "Found")
    assert there["message"] == (
        'This FlowSchema references the PriorityLevelConfiguration object named "exempt" and it exists'
    )
    assert condition({**schema, "status": {"conditions": [there]}}, True, 9) is None
    missing = condition({**schema, "status": {"conditions": [there]}}, False, 9)
    assert (missing["status"], missing["reason"]) == ("True", "NotFound")
    assert missing["message"].endswith('named "exempt" but there is no such object')
