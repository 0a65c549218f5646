"""Kubernetes protobuf bodies become the wire objects the same client would have sent as JSON."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import encoder
from tests.wire.encoder import chunk, encode, envelope, varint
from todoku.wire import messages
from todoku.wire.protobuf import MalformedBody, decode, decode_message

HERE = Path(__file__).parent
# Captured from kubectl 1.33; `object` is what `--dry-run=client -o json` printed for the same command.
CAPTURED = json.loads((HERE / "kubectl-1.33-bodies.json").read_text())


@pytest.mark.parametrize("row", CAPTURED, ids=[row["command"] for row in CAPTURED])
def test_a_real_kubectl_body_decodes_to_what_kubectl_would_send_as_json(row):
    assert decode(base64.b64decode(row["body"])) == row["object"]


OBJECTS = {
    "a pod with sources inlined in volumes and probes": """
        apiVersion: v1
        kind: Pod
        metadata:
          name: web
          creationTimestamp: "2026-11-23T09:59:01Z"
          managedFields: [{manager: k, operation: Apply, fieldsV1: {"f:spec": {".": {}}}}]
        spec:
          terminationGracePeriodSeconds: 0
          nodeName: ""
          volumes:
          - {name: a, emptyDir: {sizeLimit: 1Gi}}
          - {name: b, configMap: {name: c, optional: false, items: [{key: k, path: p, mode: 0}]}}
          containers:
          - name: web
            image: httpd
            env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]
            livenessProbe: {httpGet: {path: /, port: http}, initialDelaySeconds: 3}
            readinessProbe: {tcpSocket: {port: 80}}
            resources: {limits: {cpu: 500m, memory: 1Gi}}
            securityContext: {runAsUser: 0, runAsNonRoot: false}
          ephemeralContainers:
          - {name: debug, image: busybox, targetContainerName: web, resources: {}}
        status: {}
    """,
    "a CRD with every union of its schema": """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: foos.example.com}
        spec:
          group: example.com
          scope: Namespaced
          names: {plural: foos, kind: Foo}
          versions:
          - name: v1
            served: true
            storage: false
            schema:
              openAPIV3Schema:
                type: object
                x-kubernetes-preserve-unknown-fields: false
                properties:
                  size: {type: integer, minimum: 0, maximum: 1.5, default: 0, minLength: 0}
                  any: {default: null, enum: [a, 1, null, {b: []}]}
                  list: {type: array, items: {type: string}, x-kubernetes-list-type: set}
                  tuple: {type: array, items: [{type: string}, {type: integer}]}
                  map: {type: object, additionalProperties: {type: string}}
                  open: {type: object, additionalProperties: true}
                  shut: {type: object, additionalProperties: false}
                  deps: {type: object, dependencies: {a: [b, c], d: {type: object}}}
                  ref: {$ref: "#/x", $schema: s}
                  both: {x-kubernetes-int-or-string: true}
                  rule: {type: string, x-kubernetes-validations: [{rule: self != "", reason: FieldValueInvalid}]}
    """,
    "rules flattened into webhooks": """
        apiVersion: admissionregistration.k8s.io/v1
        kind: ValidatingWebhookConfiguration
        metadata: {name: v}
        webhooks:
        - name: a.b.c
          clientConfig: {service: {namespace: n, name: s, port: 0}, caBundle: AAEC}
          rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods], scope: "*"}]
          timeoutSeconds: 0
    """,
    "negative and large numbers": """
        apiVersion: v1
        kind: Pod
        metadata: {name: p, generation: -9223372036854775808}
        spec: {priority: -2147483648, activeDeadlineSeconds: 9223372036854775807, securityContext: {supplementalGroups: [-1, 0, 5]}}
    """,
    "an extra value is a plain list": """
        apiVersion: authorization.k8s.io/v1
        kind: SubjectAccessReview
        metadata: {}
        spec: {user: u, extra: {scopes: [a, b], none: []}}
    """,
    "micro time keeps six digits": """
        apiVersion: coordination.k8s.io/v1
        kind: Lease
        metadata: {name: l}
        spec: {renewTime: "2026-11-23T09:59:01.000120Z", leaseTransitions: 0}
    """,
}


def _expected(text):
    obj = yaml.safe_load(text)
    obj.get("spec", {}).pop("nodeName", None)  # Go omits the empty string of a plain field
    return obj


@pytest.mark.parametrize("text", OBJECTS.values(), ids=OBJECTS)
def test_round_trip(text):
    assert decode(encode(yaml.safe_load(text))) == _expected(text)


def test_delete_options_decode_under_any_group():
    body = encode(
        {"apiVersion": "example.com/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    )
    assert decode(body)["gracePeriodSeconds"] == 0


def test_a_list_may_carry_json_or_enveloped_items():
    secret = encode({"apiVersion": "v1", "kind": "Secret", "data": {"a": "AA=="}})
    plain = b'{"kind":"Pod"}'
    raw = chunk(2, chunk(1, secret)) + chunk(2, chunk(1, plain))
    items = decode(envelope("v1", "List", raw))["items"]
    assert items == [
        {"apiVersion": "v1", "kind": "Secret", "data": {"a": "AA=="}},
        {"kind": "Pod"},
    ]


def test_unknown_fields_are_skipped_and_packed_lists_read():
    unknown = b"".join(
        [
            chunk(999, b"x"),
            varint(998 << 3) + b"\x05",
            varint(997 << 3 | 1) + bytes(8),
            varint(996 << 3 | 5) + bytes(4),
        ]
    )
    packed = chunk(4, b"\x01\x02")
    assert decode_message("api.core.v1.PodSecurityContext", unknown + packed) == {
        "supplementalGroups": [1, 2]
    }


def test_the_last_of_two_values_wins_and_an_empty_one_removes():
    raw = chunk(1, b"a") + chunk(1, b"b") + chunk(2, b"x") + chunk(2, b"")
    assert decode_message("apimachinery.pkg.apis.meta.v1.ObjectMeta", raw) == {"name": "b"}


def _deep(levels):
    raw = b""
    for _ in range(levels):
        raw = chunk(28, raw)
    return raw


POD = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
MALFORMED = {
    "no prefix": (b"{}", r"does not appear to be a protobuf message, expected prefix \[107 56 115 0\]$"),
    "empty": (b"", "^empty data$"),
    "envelope cut": (b"k8s\0\x0a\x20", "longer than the message"),
    "unknown kind": (envelope("v1", "Nope", b""), 'no protobuf message is known for kind "Nope"'),
    "no message": (b"k8s\0", "^empty body$"),
    "no kind": (b"k8s\0\x12\x00", "no protobuf message is known"),
    "field number 0": (envelope("v1", "Pod", b"\x00\x00"), "field number 0"),
    "endless varint": (envelope("v1", "Pod", b"\x80" * 12), "longer than ten bytes"),
    "group": (envelope("v1", "Pod", b"\x7b"), "wire type 3"),
    "wrong wire type": (envelope("v1", "Pod", b"\x08\x01"), "metadata has the wrong wire type"),
    "not UTF-8": (envelope("v1", "Pod", chunk(1, chunk(1, b"\xff"))), "not UTF-8"),
    "bad raw JSON": (envelope("v1", "List", chunk(2, chunk(1, b"{"))), "embedded JSON"),
    "year 300000": (
        envelope("v1", "Pod", chunk(1, chunk(8, b"\x08" + varint(1 << 43)))),
        "outside the years",
    ),
    "too deep": (
        envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition",
                 chunk(2, chunk(7, chunk(4, chunk(1, _deep(400)))))),
        "nests deeper",
    ),
}  # fmt: skip


def test_a_body_that_does_not_say_what_it_is_is_what_the_path_says():
    empty = {"apiVersion": "v1", "kind": "Pod"}
    assert decode(b"k8s\0\x12\x00", ("v1", "Pod")) == empty
    assert decode(envelope("v1", "Nope", b"\xff"), ("v1", "Pod")) == empty | {"kind": "Nope"}


@pytest.mark.parametrize(("body", "problem"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_bodies_are_refused_with_the_reason(body, problem):
    with pytest.raises(MalformedBody, match=problem) as caught:
        decode(body)
    assert caught.value.code == 400


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(messages.names()), raw=st.binary(max_size=80))
def test_no_bytes_raise_anything_but_malformed_body(name, raw):
    try:
        decode_message(name, raw)
    except MalformedBody:
        pass


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CAPTURED), st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_real_bodies_raise_nothing_but_malformed_body(row, at, inserted, removed):
    body = base64.b64decode(row["body"])
    at %= len(body)
    try:
        decode(body[:at] + inserted + body[at + removed :])
    except MalformedBody:
        pass


def test_every_message_names_only_known_types():
    scalars = {"string", "bytes", "bool", "int32", "int64", "double"}
    known = set(messages.names()) | scalars
    assert {f.type for name in messages.names() for f in messages.fields(name).values()} <= known
    assert encoder.varint(300) == b"\xac\x02"
