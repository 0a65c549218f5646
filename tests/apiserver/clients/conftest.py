"""What the client libraries share: a running server and a custom resource."""

import pytest

GROUP, VERSION, PLURAL = "lab.example.com", "v1", "beacons"

BEACONS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "beacon", "kind": "Beacon", "shortNames": ["bcn"]},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["color"],
                                "properties": {
                                    "color": {"type": "string", "enum": ["red", "green"]},
                                    "blinks": {"type": "integer", "default": 3},
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
async def definition(api):
    """The Beacon kind, served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    status, answer = await api.request("POST", path, BEACONS)
    assert status == 201, answer
    return BEACONS


def beacon(name, color="red", **spec):
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Beacon",
        "metadata": {"name": name},
        "spec": {"color": color, **spec},
    }
