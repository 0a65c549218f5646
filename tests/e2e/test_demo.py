"""The main job, as the README's first command runs it."""

import re

import pytest

pytestmark = pytest.mark.e2e


def test_the_demo_holds_every_expectation(lab):
    done = lab.run("demo", timeout=240)
    assert done.code == 0, done.out + done.err
    held = re.search(r"(\d+) of (\d+) expectations held", done.out)
    assert held
    assert held[1] == held[2]
    assert int(held[2]) > 60
    assert "EXTERNAL-IP" in done.out
    assert "announces it now" in done.out


def test_the_demo_needs_no_kubectl_and_can_be_repeated(lab):
    done = lab.run("demo", "--chapter", "2", timeout=240, env={"TODOKU_OWN_KUBECTL": "1"})
    assert done.code == 0, done.out + done.err
    assert "removing namespace service-test of an earlier run" in done.out
    assert "NOMINATED NODE" in done.out


def test_the_last_chapter_can_be_asked_again(lab):
    text = lab.todoku("reach", "-n", "service-test", "httpd-service", "--exit-code")
    assert "all as predicted" in text
    assert "rhel8host" in text


def test_a_trace_shows_the_way_through_two_nodes_or_one(lab):
    text = lab.todoku("trace", "-n", "service-test", "rhel8host", "svc/httpd-service@nodeport")
    assert "DELIVERED to pod/httpd-" in text
    for word in ("ARP", "DNAT", "MASQ", "SOCKET", "REPLY", "Service service-test/httpd-service"):
        assert word in text, word


def test_a_trace_that_dies_says_where_and_why(lab):
    done = lab.run("trace", "-n", "service-test", "al9host", "svc/httpd-service@clusterip")
    assert done.code == 1
    assert "CLUSTERIP_INSIDE_ONLY" in done.out
    assert "gateway" in done.out


def test_each_chapter_is_a_spec_that_check_holds(lab):
    lab.todoku("check", "-f", "chapter-2")
