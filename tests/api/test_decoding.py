import pytest

from todoku.api import schemas
from todoku.api.decoding import check_types, duplicate_fields, normalize, strict_problems
from todoku.api.errors import BadRequest

SERVICE = schemas.type_of("io.k8s.api.core.v1.Service")
DEPLOYMENT = schemas.type_of("io.k8s.api.apps.v1.Deployment")
CONFIG_MAP = schemas.type_of("io.k8s.api.core.v1.ConfigMap")


def test_unknown_fields_are_named_in_order_of_appearance():
    obj = {
        "metadata": {"name": "x", "nmae": "y"},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "imag": "b"}]}}, "replica": 1},
        "extra": 1,
    }
    assert strict_problems(obj, DEPLOYMENT) == [
        'unknown field "metadata.nmae"',
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.replica"',
        'unknown field "extra"',
    ]


def test_map_keys_are_never_unknown():
    assert strict_problems({"data": {"any": "thing"}}, CONFIG_MAP) == []


def test_duplicate_fields():
    raw = b'{"spec":{"a":1,"b":[{"c":1,"c":2}],"a":2},"spec":{}}'
    assert duplicate_fields(raw) == [
        'duplicate field "spec.b[0].c"',
        'duplicate field "spec.a"',
        'duplicate field "spec"',
    ]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            {"spec": {"ports": [{"port": "80"}]}},
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            {"spec": {"ports": {}}},
            "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        ),
        (
            {"metadata": {"labels": {"a": 1}}},
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            {"spec": {"ports": [{"port": 99999999999}]}},
            "json: cannot unmarshal number 99999999999 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            {"spec": {"ports": [{"port": 80.5}]}},
            "json: cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            {"spec": []},
            "json: cannot unmarshal array into Go struct field Service.spec of type v1.ServiceSpec",
        ),
        (
            {"spec": {"ports": [{"targetPort": True}]}},
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        ({"metadata": {"creationTimestamp": "today"}}, 'parsing time "today" as'),
    ],
)
def test_wrong_types_are_worded_as_go_does(obj, message):
    with pytest.raises(BadRequest) as caught:
        check_types(obj, SERVICE, kind="Service", version="v1")
    assert caught.value.message.startswith(
        'Service in version "v1" cannot be handled as a Service: '
    )
    assert message in caught.value.message


def test_right_types_pass():
    obj = {"spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": None}}
    check_types(obj, SERVICE, kind="Service", version="v1")


@pytest.mark.parametrize(
    ("data", "position"), [("YQ==", None), ("YQ", 0), ("Y*==", 1), ("YWI=", None), ("abc", 0)]
)
def test_bytes_are_base64(data, position):
    secret = schemas.type_of("io.k8s.api.core.v1.Secret")
    if position is None:
        check_types({"data": {"k": data}}, secret, kind="Secret", version="v1")
        return
    with pytest.raises(BadRequest, match=f"illegal base64 data at input byte {position}"):
        check_types({"data": {"k": data}}, secret, kind="Secret", version="v1")


def test_normalizing_keeps_what_a_typed_object_keeps():
    obj = {
        "metadata": {"name": "x", "creationTimestamp": None, "labels": {}},
        "spec": {"ports": [], "selector": {"a": "b"}, "unknown": 1, "clusterIP": ""},
        "status": {"loadBalancer": {}},
    }
    assert normalize(obj, SERVICE) == {
        "metadata": {"name": "x"},
        "spec": {"selector": {"a": "b"}, "clusterIP": ""},
        "status": {"loadBalancer": {}},
    }


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.987Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T08:30:00+09:00", "2025-12-31T23:30:00Z"),
    ],
)
def test_times_are_kept_in_utc_and_whole_seconds(sent, kept):
    pod = schemas.type_of("io.k8s.api.core.v1.Pod")
    assert normalize({"status": {"startTime": sent}}, pod) == {"status": {"startTime": kept}}


@pytest.mark.parametrize(
    ("sent", "rest", "wanted"),
    [
        ("2026-01-01T00:00:00Z", "Z", ".000000"),
        ("2026-01-01T00:00:00.5Z", ".5Z", ".000000"),
        ("2026-01-01T00:00:00.1234567Z", "7Z", "Z07:00"),
        ("2026-01-01T09:00:00.123456+09:00", None, None),
    ],
)
def test_micro_times_have_six_digits(sent, rest, wanted):
    lease = schemas.type_of("io.k8s.api.coordination.v1.Lease")
    obj = {"spec": {"renewTime": sent}}
    if rest is None:
        check_types(obj, lease, kind="Lease", version="v1")
        assert normalize(obj, lease) == {"spec": {"renewTime": "2026-01-01T00:00:00.123456Z"}}
        return
    with pytest.raises(BadRequest) as caught:
        check_types(obj, lease, kind="Lease", version="v1")
    assert caught.value.message == (
        'Lease in version "v1" cannot be handled as a Lease: '
        f'parsing time "{sent}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "{rest}" as "{wanted}"'
    )
