"""Bad cables at a switch of our own: frames lost to one machine and to no other; healed for good."""

from collections.abc import Iterator

import pytest

from tests.support.netns import Netns, connect, namespaces
from todoku.lab import faults

pytestmark = pytest.mark.kernel


@pytest.fixture
def lan() -> Iterator[tuple[Netns, Netns]]:
    """A switch with the machines a, b and c; gives the switch and a."""
    with namespaces("switch", "a", "b", "c") as (switch, *machines):
        switch.ip("link add br0 type bridge", "link set br0 up")
        for number, machine in enumerate(machines, 1):
            connect(switch, machine, a_name=f"p-{machine.name}", b_name="eth0")
            switch.ip(f"link set p-{machine.name} master br0")
            machine.ip(f"addr add 10.9.9.{number}/24 dev eth0")
        yield switch, machines[0]


def lost(machine: Netns, number: int) -> float:
    """The share of pings lost, in percent; after one that may be lost while ARP is asked."""
    address = f"10.9.9.{number}"
    machine.run("ping", "-q", "-c", "1", "-w", "1", address, check=False)
    said = machine.run("ping", "-q", "-c", "60", "-i", "0.005", "-W", "0.2", address, check=False)
    return float(said.split("% packet loss")[0].split()[-1])


def test_all_frames_of_one_machine_are_lost_and_nobody_else_s(lan):
    switch, a = lan
    faults.lose(switch.path, "b.internal", 100)
    assert faults.lossy(switch.path) == {"p-b"}
    assert lost(a, 2) == 100
    assert lost(a, 3) == 0


def test_a_share_of_the_frames_is_lost_in_each_direction(lan):
    switch, a = lan
    assert lost(a, 2) == 0
    faults.lose(switch.path, "b", 30)
    assert 15 < lost(a, 2) < 85  # 51 % expected: there and back


def test_healing_undoes_all_and_may_be_repeated(lan):
    switch, a = lan
    faults.lose(switch.path, "b", 100)
    faults.lose(switch.path, "b", 99)
    for _ in range(2):
        faults.mend(switch.path, "b")
    assert faults.lossy(switch.path) == frozenset()
    assert lost(a, 2) == 0


def test_delay_holds_frames_or_names_the_missing_kernel_part(lan):
    switch, a = lan
    refusal = ""
    try:
        faults.delay(switch.path, "b", 40)
    except faults.KernelLacks as error:
        refusal = str(error)
    if refusal:
        assert "netem" in refusal
        assert lost(a, 2) == 0
        return
    said = a.run("ping", "-c", "3", "-i", "0.1", "10.9.9.2")
    assert float(said.split("time=")[-1].split()[0]) >= 40
    faults.mend(switch.path, "b")
    assert float(a.run("ping", "-c", "1", "10.9.9.2").split("time=")[-1].split()[0]) < 40
