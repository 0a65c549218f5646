"""The tutorial's blocks are commands and their output: each is run again here, in order, on one lab.

What varies from run to run (addresses that are given out, random names, times, who answered how often) is taken out
of both before they are compared.  `TODOKU_UPDATE_DOCS=1 pytest tests/e2e/test_docs.py` writes the output of this run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import MANIFESTS

pytestmark = pytest.mark.e2e

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
UPDATE = bool(os.environ.get("TODOKU_UPDATE_DOCS"))
LAB = f"docs-{os.getpid()}"
ELSEWHERE = ("export ", "cd ")
"""Commands for the reader's shell; the test sets the same up itself."""
SETTLE_SECONDS = 20.0
LONG = 24
DRAWING = re.compile(r"<!-- \$ (todoku graph .*) > (drawings/\S+) -->$")

VARYING = (
    (re.compile(r" --lab [\w-]+"), ""),
    (re.compile(re.escape(LAB)), "default"),
    (re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"), "MAC"),
    (re.compile(r"= worker(\d)"), r"= announcer-\1"),  # the election is no accident
    (re.compile(r"httpd-(deployment-[0-9a-f]+|…)-[a-z0-9]{5}"), "POD"),
    (re.compile(r"httpd-deployment-[0-9a-f]{8,10}"), "REPLICASET"),
    (re.compile(r"pod-template-hash=[0-9a-f]+"), "HASH"),
    (re.compile(r"httpd-service-[a-z0-9]{5}"), "SLICE"),
    (re.compile(r"(controller-[0-9a-f]{8,10}|speaker)-[a-z0-9]{5}"), r"\1"),
    (re.compile(r"controller-[0-9a-f]{8,10}"), "controller"),
    (re.compile(r"10\.244\.\d+\.\d+"), "POD-IP"),
    (re.compile(r"10\.(9[6-9]|1[01]\d)\.\d+\.\d+"), "CLUSTER-IP"),
    (re.compile(r":3(?!0080)[0-2]\d{3}\b"), ":NODE-PORT"),
    (re.compile(r"(?<=\d:)\d{5}(?= ->)"), "PORT"),
    (re.compile(r"handle \d+"), "handle N"),
    (re.compile(r"pid \d+"), "pid N"),
    (re.compile(r"smallest hash [0-9a-f]{8}"), "smallest hash"),
    (re.compile(r"\bok( \d+(/\d+)+| \d+)?"), "ok"),
    (re.compile(r"\d+ answers?"), "N answers"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "TIME"),
    (re.compile(r"\b(\d+m)?\d+s\b"), "AGE"),
    (re.compile(r"(machines|API server|nodes|DNS) \d+\.\d+"), r"\1 TIME"),
    (re.compile(r"^ *\d+ (?=\S+ .*\[)"), "N "),
    (re.compile(r"worker\d"), "WORKER"),
    (re.compile(r"(WORKER -> )+WORKER"), "WORKER"),
    (re.compile(r"[─═┌┐└┘┬┴┼╤│├┤►╳•]+"), " "),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Step:
    """One command of a block and the output that the page shows."""

    line: int
    command: str
    output: tuple[str, ...]
    drawing: str = ""
    """The file that a hidden command `<!-- $ COMMAND > FILE -->` draws."""


def steps(text: str) -> Iterator[Step]:
    """The commands of all ```console blocks, in order."""
    inside = False
    command, number, output = "", 0, []
    for index, line in enumerate(text.splitlines(), 1):
        ends = line == "```" or line.startswith("$ ")
        if inside and ends and command:
            yield Step(number, command, tuple(output))
            command = ""
        drawing = DRAWING.match(line)
        if drawing:
            yield Step(index, drawing[1], (), drawing[2])
        elif not inside:
            inside = line == "```console"
        elif line == "```":
            inside = False
        elif line.startswith("$ "):
            command, number, output = line[2:], index, []
        else:
            output.append(line)


def normal(lines: list[str] | tuple[str, ...], command: str) -> list[str]:
    """What must be the same in every run."""
    found = []
    for line in lines:
        if " VXLAN " in line and "@lb" in command:
            continue  # the pod that was picked may be on the node that picked it
        for pattern, instead in VARYING:
            line = pattern.sub(instead, line)
        found.append(line.strip())
    kept = [line for line in found if line]
    # A drawing's rows follow where the pods happen to be; its words do not.
    return sorted(" ".join(kept).split()) if " graph " in f" {command} " else kept


def matches(expected: list[str], actual: list[str]) -> bool:
    """Line by line; a line `…` stands for any number of them."""
    if "…" not in expected:
        return expected == actual
    at = expected.index("…")
    head, tail = expected[:at], expected[at + 1 :]
    enough = len(actual) >= len(head) + len(tail)
    return enough and actual[:at] == head and actual[len(actual) - len(tail) :] == tail


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `todoku manifests` has put the files; the lab goes with it."""
    path = tmp_path_factory.mktemp("tutorial")
    for file in MANIFESTS.glob("*.yaml"):
        (path / file.name).write_text(file.read_text())
    try:
        yield path
    finally:
        run("todoku down", path)


def run(command: str, folder: Path) -> list[str]:
    """A line of the page; a failing command's complaint is part of what the reader sees."""
    words = shlex.split(command)
    own = [sys.executable, "-m", "todoku"]
    argv = own + words[1:] if words[0] == "todoku" else [*own, *words]
    assert words[0] in ("todoku", "kubectl"), f"{command}: blocks hold todoku and kubectl only"
    env = {**os.environ, "TODOKU_LAB": LAB}
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=180, check=False, env=env, cwd=folder
    )
    text = done.stdout + (done.stderr if done.returncode else "")
    return re.sub(r" --lab [\w-]+", "", text).replace(LAB, "default").splitlines()


def changes_nothing(command: str) -> bool:
    return bool(re.match(r"todoku (reach|graph|trace|explain|status)|kubectl (get|wait)", command))


def settled(step: Step, folder: Path) -> list[str]:
    """The output once it is as the page says, or stays the same while it is written anew."""
    output = run(step.command, folder)
    before, deadline = output, time.monotonic() + SETTLE_SECONDS
    while changes_nothing(step.command) and time.monotonic() < deadline:
        wanted = normal(before if UPDATE else step.output, step.command)
        comparable = before is not output or not UPDATE
        if comparable and matches(wanted, normal(output, step.command)):
            break
        before = output
        time.sleep(0.3)
        output = run(step.command, folder)
    return output


def test_every_block_of_the_tutorial_is_what_really_happens(folder: Path) -> None:
    text = TUTORIAL.read_text()
    written: dict[int, list[str]] = {}
    for step in steps(text):
        if step.command.startswith(ELSEWHERE):
            continue
        if step.drawing:
            check_drawing(step, folder)
            continue
        output = settled(step, folder)
        written[step.line] = shortened(output)
        if not UPDATE:
            expected, actual = normal(step.output, step.command), normal(output, step.command)
            where = f"{TUTORIAL.name}:{step.line}: $ {step.command}"
            assert matches(expected, actual), f"{where}\n" + "\n".join(output)
    if UPDATE:
        TUTORIAL.write_text(rewritten(text, written))


def check_drawing(step: Step, folder: Path) -> None:
    """Its words are the same; lines and the spread follow the run."""
    file = TUTORIAL.parent / step.drawing
    drawn = "\n".join(run(step.command, folder)) + "\n"
    assert drawn.startswith("<svg"), drawn
    if UPDATE:
        file.write_text(drawn)
    assert words(drawn) == words(file.read_text()), f"{TUTORIAL.name}:{step.line}: {step.drawing}"


def words(drawing: str) -> list[str]:
    told = re.findall(r"<text[^>]*>([^<]*)</text>", re.sub(r"\d+×", "", drawing))
    return sorted({" ".join(normal([text], "")) for text in told})


def shortened(output: list[str]) -> list[str]:
    return output if len(output) <= LONG + 12 else [*output[:2], "…", output[-1]]


def rewritten(text: str, written: dict[int, list[str]]) -> str:
    """The page with new outputs below the commands at these lines."""
    lines: list[str] = []
    skipping = False
    for index, line in enumerate(text.splitlines(), 1):
        if line == "```" or line.startswith("$ "):
            skipping = False
        if not skipping:
            lines.append(line)
        if index in written:
            lines += written[index]
            skipping = True
    return "\n".join(lines) + "\n"


def test_the_comparison_sees_a_change() -> None:
    shown = ("rhel8host  timeout  ok 5/4/3  ok",)
    same = ("rhel8host   timeout   ok 6/3/3   ok",)
    other = ("rhel8host  timeout  timeout  ok",)
    command = "todoku reach"
    assert matches(normal(shown, command), normal(same, command))
    assert not matches(normal(shown, command), normal(other, command))


def test_the_tutorial_shows_every_verb_it_teaches_and_no_block_is_empty() -> None:
    found = list(steps(TUTORIAL.read_text()))
    verbs = {step.command.split()[1] for step in found if step.command.startswith("todoku ")}
    assert {"up", "reach", "trace", "graph", "explain", "check"} <= verbs
    empty = [step.command for step in found if not step.output and not step.drawing]
    assert all(command.startswith(ELSEWHERE) for command in empty), empty
