"""Formats of strings in CRD schemas: which values fit, and which formats a definition is warned of."""

from __future__ import annotations

import pytest

from todoku.api.crd.formats import FORMATS, format_problem, format_warnings

FITS = {
    "bsonobjectid": ["507f1f77bcf86cd799439011"],
    "uri": ["http://example.com", "/path", "mailto:a@b.c", "https://[::1]:8080/a%20b", "*", "a+b:c"],
    "email": ["a@b.c", "Name <a@b.c>", '"odd one"@b.c', "a@b"],
    "hostname": ["localhost", "a.com", "a-b.com", "1.example", "x.bücher", "a-", "a-b"],
    "ipv4": ["1.2.3.4", "::ffff:1.2.3.4"],
    "ipv6": ["::1", "2001:db8::1", "::ffff:1.2.3.4"],
    "cidr": ["10.0.0.1/8", "::/0"],
    "mac": ["00:00:5e:00:53:01", "02-00-5E-10-00-00-00-01", "0000.5e00.5301"],
    "uuid": ["7C9E6679-7425-40DE-944B-E07FC1F90AE7", "7c9e6679742540de944be07fc1f90ae7"],
    "uuid3": ["bcd02e22-68f0-3046-a512-327cca9def8f"],
    "uuid4": ["7c9e6679-7425-40de-944b-e07fc1f90ae7"],
    "uuid5": ["bcd02e22-68f0-5046-a512-327cca9def8f"],
    "isbn": ["0321751043", "978-0321751041"],
    "isbn10": ["0321751043", "0-8044-2957-X"],
    "isbn13": ["978-0321751041", "9780321751041"],
    "creditcard": ["4111-1111-1111-1111"],
    "ssn": ["111-11-1111", "111 11 1111"],
    "hexcolor": ["#FFFFFF", "abc"],
    "rgbcolor": ["rgb(100,100,100)", "rgb( 0 , 25 , 255 )"],
    "byte": ["YQ==", "YWI=", "YWJj"],
    "password": ["anything at all", ""],
    "date": ["2006-01-02"],
    "duration": ["22ns", "1h30m", "0", "2 days", "1 week 3 hours", "-1.5s"],
    "date-time": ["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+02:00"],
    "quantity": ["10Gi", "not one"],
    "k8s-short-name": ["a", "a-b", "a" * 63],
    "k8s-long-name": ["a.b-c", "a" * 253],
}  # fmt: skip
MISSES = {
    "bsonobjectid": ["507f1f77"],
    "uri": ["", "foo", "1a:b", "http://a b", "http://a:x", "/a%zz", "/a\n", "http://[::1"],
    "email": ["", "a", "a@", "@b", "a@b c", "<a@b", "a b@c"],
    "hostname": ["", "a_b", "a..b", "-a.com", "my-host-name", "a.b", "a" * 64 + ".com", "a.com."],
    "ipv4": ["::1", "1.2.3", "1.2.3.04", "1.2.3.256"],
    "ipv6": ["1.2.3.4", "fe80::1%eth0", ":::"],
    "cidr": ["10.0.0.1", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/"],
    "mac": ["00:00:5e:00:53", "00:00:5e:00:53-01", "00:00:5e:00:53:01:02"],
    "uuid": ["{7c9e6679-7425-40de-944b-e07fc1f90ae7}", "7c9e6679"],
    "uuid3": ["7c9e6679-7425-40de-944b-e07fc1f90ae7"],
    "uuid4": ["7c9e6679-7425-40de-c44b-e07fc1f90ae7"],
    "uuid5": ["7c9e6679-7425-40de-944b-e07fc1f90ae7"],
    "isbn": ["1234567890", "x"],
    "isbn10": ["0321751044", "978-0321751041"],
    "isbn13": ["978-0321751042", "0321751043"],
    "creditcard": ["4111-1111-1111-1112", "1234"],
    "ssn": ["111111111", "00-111-1111"],
    "hexcolor": ["#FFFF", "red"],
    "rgbcolor": ["rgb(100,100)", "rgb(256,1,1)"],
    "byte": ["", "YQ=", "a b="],
    "date": ["2006-13-01", "20060102", "2006-1-2"],
    "duration": ["", "1", "days", "2 fortnights", "1h foo"],
    "date-time": ["2014-12-15", "2014-12-15T24:00:00Z", "2014-12-15 19:30:20Z", "2014-12-15T19:30:20"],
    "k8s-short-name": ["", "A", "-a", "a.b", "a" * 64],
    "k8s-long-name": ["a..b", "a.B", "a" * 254],
}  # fmt: skip


def test_every_format_has_examples():
    assert {name.replace("-", "") for name in FITS} == set(FORMATS)


@pytest.mark.parametrize(("name", "value"), [(name, one) for name in FITS for one in FITS[name]])
def test_values_that_fit(name, value):
    assert not format_problem(name, value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, one) for name in MISSES for one in MISSES[name]]
)
def test_values_that_do_not_fit(name, value):
    assert format_problem(name, value)


def test_unknown_formats_fit_all():
    assert not format_problem("unheard-of", "x")


def definition(*schemas):
    versions = [
        {
            "name": "v1",
            "schema": {
                "openAPIV3Schema": {"properties": {str(at): s for at, s in enumerate(schemas)}}
            },
        }
    ]
    return {"spec": {"versions": versions}}


INT32, TYPELESS = {"type": "integer", "format": "int32"}, {"format": "int32"}
ODD = {"type": "string", "format": "odd"}


@pytest.mark.parametrize(
    ("schema", "warned"),
    [
        (INT32, []),
        ({"type": "number", "format": "double"}, []),
        ({"type": "string", "format": "date-time"}, []),
        ({"format": "k8s-long-name"}, []),
        (TYPELESS, ["int32"]),
        ({"type": "integer", "format": "double"}, ["double"]),
        ({"type": "object", "format": "uuid"}, ["uuid"]),
        ({"type": "array", "items": ODD}, ["odd"]),
        ({"type": "object", "additionalProperties": ODD}, ["odd"]),
        ({"type": "string", "anyOf": [ODD, {"not": ODD}]}, ["odd"]),
        ({"type": "object", "additionalProperties": True}, []),
    ],
)
def test_definitions_are_warned_of_formats_that_mean_nothing(schema, warned):
    found = format_warnings(definition(schema), None)
    assert found == [f'unrecognized format "{one}"' for one in warned]


def test_an_update_is_warned_only_of_what_it_brings():
    assert format_warnings(definition(ODD, TYPELESS), definition(ODD)) == [
        'unrecognized format "int32"'
    ]
