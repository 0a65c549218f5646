"""Drawings say with words and shapes what colour only repeats, and fit a terminal."""

import xml.etree.ElementTree as ElementTree

import pytest

from tests.reach.article import machine, report, service, with_ingress, world
from todoku.reach.draw import svg, terminal
from todoku.reach.draw.html import page
from todoku.reach.draw.picture import picture
from todoku.reach.draw.text import dot, mermaid
from todoku.reach.table import render
from todoku.reach.targets import At, short

CHAPTER_1 = report(world(service()), at=(At.POD, At.CLUSTERIP), title="ClusterIP")
CHAPTER_4 = report(
    world(with_ingress(service("LoadBalancer"))),
    at=(At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER),
    title="LoadBalancer",
)


def test_the_lan_shows_every_machine_and_pod_within_eighty_columns():
    lines = terminal.lan(world(service()), "192.168.11.0/24")
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    for word in ("rhel8host", "master1", "worker2", "httpd-…-c 10.244.2.2", "outside"):
        assert word in text


def test_a_stopped_node_is_drawn_as_switched_off():
    here = world(service(), machines=[machine("worker1", powered=False)])
    assert "switched off" in "\n".join(terminal.lan(here, "192.168.11.0/24"))


def test_the_clusterip_chapter_makes_its_point():
    assert terminal.ways(CHAPTER_1)[-6:] == [
        "ClusterIP 10.96.7.7:8080",
        "   master1   ──►───┬─► httpd-…-a (4 answers)",
        "                   ├─► httpd-…-b (4 answers)",
        "                   └─► httpd-…-c (4 answers)",
        "   rhel8host ──╳ timeout ┐",
        "   al9host   ──╳ timeout ┘ CLUSTERIP_INSIDE_ONLY",
    ]


def test_node_ports_that_behave_alike_are_drawn_once():
    headings = [line for line in terminal.ways(CHAPTER_4) if not line.startswith(" ")]
    assert headings[1] == "node port :30080 on master1, worker1, worker2"


def test_every_code_that_closed_a_cell_is_explained():
    assert [line.partition(":")[0] for line in terminal.meanings(CHAPTER_1)] == [
        "POD_NETWORK_INSIDE_ONLY",
        "CLUSTERIP_INSIDE_ONLY",
    ]


@pytest.mark.parametrize("shown", [CHAPTER_1, CHAPTER_4], ids=["chapter 1", "chapter 4"])
def test_a_narrow_terminal_turns_the_table(shown):
    lines = render(shown, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "master1" in (lines[1] if shown is CHAPTER_4 else lines[2])


def test_colour_only_repeats():
    import re

    plain = render(CHAPTER_1, colour=False)
    assert re.sub("\x1b\\[[0-9;]*m", "", render(CHAPTER_1, colour=True)) == plain
    assert "\x1b" not in plain


def test_the_svg_is_well_formed_and_names_every_outcome():
    text = svg.render(picture(CHAPTER_1))
    root = ElementTree.fromstring(text)
    words = " ".join(root.itertext())
    assert "timeout" in words
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("httpd", "")


def test_the_page_is_self_contained():
    text = page([CHAPTER_1, CHAPTER_4], title="Who reaches httpd-service")
    assert "<script" not in text
    assert text.count("<svg") == 2
    assert "CLUSTERIP_INSIDE_ONLY" in text


def test_mermaid_and_dot_draw_closed_ways_differently():
    shown = picture(CHAPTER_1)
    assert 's1 -. "timeout" .-x a3' in mermaid(shown)
    assert "s0 --> a3" in mermaid(shown)
    assert 's1 -> a3 [style=dashed, arrowhead=tee, label="timeout"]' in dot(shown)


def test_a_pod_keeps_the_part_that_tells_replicas_apart():
    assert short("httpd-deployment-5d4c8b9f7-x7w5c") == "httpd-…-x7w5c"
    assert short("web-0") == "web-0"
