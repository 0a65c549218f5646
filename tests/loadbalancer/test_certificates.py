"""The webhook's certificate: made once, kept while good, and good for TLS."""

import asyncio
import datetime
import ssl

import pytest

from todoku.loadbalancer import certificates
from todoku.loadbalancer.http import Reply, serving
from todoku.loadbalancer.trust import with_conversion_bundle, with_webhook_bundle

NAMES = ["metallb-webhook-service.metallb-system.svc"]
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pair():
    return certificates.make(NAMES, NOW)


def test_a_new_pair_is_good(pair):
    assert set(pair) == set(certificates.FIELDS)
    assert certificates.problem(pair, NAMES, NOW) == ""


@pytest.mark.parametrize(
    ("change", "days", "problem"),
    [
        ({"tls.key": ""}, 0, "tls.key missing"),
        ({"tls.crt": "garbage"}, 0, "not readable"),
        ({}, 300, "expires soon"),
        ({}, -2, "not valid yet"),
    ],
)
def test_why_a_pair_is_replaced(pair, change, days, problem):
    later = NOW + datetime.timedelta(days=days)
    assert problem in certificates.problem(pair | change, NAMES, later)


def test_a_pair_for_other_names_or_of_another_ca_is_replaced(pair):
    assert "other hosts" in certificates.problem(pair, ["elsewhere.svc"], NOW)
    foreign = pair | {"ca.crt": certificates.make(NAMES, NOW)["ca.crt"]}
    assert "not readable" in certificates.problem(foreign, NAMES, NOW)


async def test_the_process_that_renews_keeps_a_good_pair_and_makes_a_missing_one():
    made = await certificates.renewed({}, NAMES)
    assert set(made) == set(certificates.FIELDS)
    assert await certificates.renewed(made, NAMES) == made


def test_a_secret_s_data_goes_both_ways(pair):
    assert certificates.decoded({"data": certificates.encoded(pair)}) == pair
    assert certificates.decoded({}) == {}


async def test_a_client_that_trusts_the_bundle_accepts_the_server(tmp_path):
    made = await certificates.renewed({}, NAMES)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")

    async def echo(request):
        return Reply(request.path.encode() + request.body)

    async with serving(echo, "127.0.0.1", 0, tls=context) as port:
        trusting = ssl.create_default_context(cadata=made["ca.crt"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname=NAMES[0]
        )
        writer.write(b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz")
        writer.write(
            b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        )
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert received.count(b"200 OK") == 2
    assert b"/axyz" in received and received.endswith(b"/chi")


def test_the_bundle_goes_into_every_webhook():
    configuration = {
        "webhooks": [{"clientConfig": {"service": {}}}, {"clientConfig": {"caBundle": "old"}}]
    }
    changed = with_webhook_bundle(configuration, "bmV3")
    assert [one["clientConfig"]["caBundle"] for one in changed["webhooks"]] == ["bmV3", "bmV3"]
    assert "caBundle" not in configuration["webhooks"][0]["clientConfig"], (
        "the cache's object stays"
    )


def test_the_bundle_goes_into_a_conversion_webhook_only():
    plain = {"spec": {"conversion": {"strategy": "None"}}}
    assert with_conversion_bundle(plain, "bmV3") == plain
    webhook = {"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {}}}}}
    changed = with_conversion_bundle(webhook, "bmV3")
    assert changed["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] == "bmV3"
