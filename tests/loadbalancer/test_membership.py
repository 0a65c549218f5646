"""Who lives: simulated speakers exchange beats while a clock of ours advances."""

import pytest

from todoku.loadbalancer.membership import (
    Beat,
    Mark,
    Membership,
    PeerAddress,
    Timings,
    decode,
    encode,
    heartbeat_key,
)

TIMINGS = Timings()
KEY = heartbeat_key(b"secret")
STEP = 0.01


def address(name):
    return PeerAddress(name, 7946)


class Network:
    """Speakers on one wire; `cut` nodes neither send nor receive, `mute` ones cannot send, `frozen` ones do not run."""

    def __init__(self, *names):
        self.now = 100.0
        self.cut, self.frozen, self.mute = set(), set(), set()
        self.nodes, self.queues, self.next_tick = {}, {}, {}
        self.talking = []  # (time, names that may announce)
        for name in names:
            self.start(name, names)

    def start(self, name, names):
        node = Membership(name, TIMINGS, life=int(self.now * 1000), now=self.now)
        node.expect({one: address(one) for one in names}, self.now)
        self.nodes[name], self.queues[name], self.next_tick[name] = node, [], self.now

    def send(self, name, *, leaving=False):
        datagram = encode(self.nodes[name].beat(self.now, leaving=leaving), KEY)
        for peer in self.nodes[name].addresses():
            heard = name not in self.mute and not {name, peer.host} & self.cut
            if peer.host in self.nodes and heard:
                self.queues[peer.host].append((name, datagram))

    def step(self):
        self.now += STEP
        for name in [one for one in self.nodes if one not in self.frozen]:
            node = self.nodes[name]
            waiting, self.queues[name] = self.queues[name], []
            for sender, datagram in waiting:
                if node.heard(decode(datagram, KEY), address(sender), self.now):
                    self.send(name)
            if self.now >= self.next_tick[name]:
                self.next_tick[name] = self.now + TIMINGS.tick_seconds
                if node.tick(self.now):
                    self.send(name)
        self.talking.append((self.now, self.speakers()))

    def run(self, seconds):
        for _ in range(round(seconds / STEP)):
            self.step()

    def until(self, holds, limit=5.0):
        start = self.now
        while not holds():
            assert self.now - start < limit, "it never happened"
            self.step()
        return self.now - start

    def sees(self, name):
        return set(self.nodes[name].view().alive)

    def speakers(self):
        """Who would answer: may announce, and its loop is not so late that it must not."""
        return {
            name
            for name, node in self.nodes.items()
            if name not in self.frozen
            and node.view().may_announce
            and not node.stale(self.now)
            and min(node.view().alive) == name  # the smallest name wins this election
        }


def settled(*names):
    network = Network(*names)
    network.run(2)
    assert all(network.sees(name) == set(names) for name in names)
    return network


def test_speakers_find_each_other_and_one_of_them_speaks():
    network = Network("a", "b", "c")
    took = network.until(lambda: network.speakers() == {"a"})
    assert took < TIMINGS.grace_seconds


def test_alone_a_speaker_waits_for_the_others_before_it_speaks():
    network = Network("a")
    network.nodes["a"].expect({"b": address("b")}, network.now)
    took = network.until(lambda: network.speakers() == {"a"})
    assert TIMINGS.grace_seconds <= took < TIMINGS.grace_seconds + 0.2


def test_a_speaker_that_does_not_know_its_peers_yet_is_silent():
    node = Membership("a", TIMINGS, life=1, now=0.0)
    node.tick(5.0)
    assert not node.view().may_announce
    node.expect({"a": address("a")}, 5.0)
    node.tick(5.1)
    assert node.view().may_announce


def test_a_lone_node_without_peers_speaks_at_once():
    network = Network("a")
    assert network.until(lambda: network.speakers() == {"a"}) <= TIMINGS.tick_seconds


def test_a_cut_speaker_is_dead_in_less_than_a_second():
    network = settled("a", "b", "c")
    network.cut.add("a")
    took = network.until(lambda: network.sees("b") == {"b", "c"})
    assert 0.4 < took < 0.8


def test_a_leaving_speaker_is_gone_at_once():
    network = settled("a", "b")
    network.send("a", leaving=True)
    network.frozen.add("a")
    assert network.until(lambda: network.speakers() == {"b"}) <= 0.05


def test_a_frozen_speaker_that_wakes_stays_silent_until_the_others_gave_way():
    network = settled("a", "b")
    network.frozen.add("a")
    network.run(3)
    assert network.speakers() == {"b"}
    network.frozen.clear()
    woke = network.now
    network.until(lambda: network.speakers() == {"a"})
    assert network.now - woke < 0.5
    assert all(len(talking) <= 1 for at, talking in network.talking if at >= woke - 1)


def test_old_beats_waiting_in_the_socket_do_not_make_a_waking_speaker_speak():
    """The kernel drops the newest when a buffer is full, so what is read first may be long out of date."""
    network = settled("a", "b")
    network.frozen.add("a")
    network.run(3)
    network.queues["a"] = network.queues["a"][:2]
    network.frozen.clear()
    network.cut.add("b")
    network.step()
    assert network.speakers() == {"b"}


def test_a_speaker_whose_loop_was_late_does_not_blame_the_others():
    network = settled("a", "b", "c")
    network.frozen.add("b")
    network.run(0.5)
    network.queues["b"].clear()
    network.frozen.clear()
    network.run(0.3)
    assert network.sees("b") == {"a", "b", "c"}


def test_when_the_old_winner_returns_never_two_speak():
    network = settled("a", "b", "c")
    network.cut.add("a")
    network.frozen.add("a")
    network.until(lambda: network.speakers() == {"b"})
    network.cut.clear()
    network.frozen.clear()
    network.start("a", ["a", "b", "c"])
    start = network.now
    network.until(lambda: network.speakers() == {"a"})
    assert network.now - start < 0.3
    assert all(len(talking) <= 1 for at, talking in network.talking if at > start)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_when_a_cable_is_mended_the_two_sides_never_speak_together(name):
    network = settled("a", "b", "c")
    network.cut.add(name)
    network.run(3)
    network.cut.clear()
    start = network.now
    network.until(lambda: network.sees("c") == {"a", "b", "c"} and network.speakers() == {"a"})
    assert network.now - start < 0.5
    mended = [
        talking for at, talking in network.talking if at > start + TIMINGS.beat_seconds + 0.02
    ]
    assert all(len(talking) <= 1 for talking in mended)
    network.run(1)
    assert network.speakers() == {"a"}


def test_a_speaker_that_its_peer_no_longer_hears_falls_silent():
    """Only its sending is broken: the peer took over, so it must not go on answering."""
    network = settled("a", "b")
    network.mute.add("a")
    network.run(1.2)
    assert network.speakers() == {"b"}


def test_a_joining_speaker_does_not_silence_those_who_speak():
    network = settled("a", "b")
    network.start("c", ["a", "b", "c"])
    start = network.now
    network.run(1)
    assert network.sees("a") == {"a", "b", "c"}
    assert all(talking == {"a"} for at, talking in network.talking if at > start)


def test_a_peer_off_the_list_is_forgotten_once_it_falls_silent():
    network = settled("a", "b")
    network.cut.add("b")
    network.nodes["a"].expect({"a": address("a")}, network.now)
    network.run(1)
    network.nodes["a"].expect({"a": address("a")}, network.now)
    assert network.nodes["a"].addresses() == []


BEAT = Beat("a", Mark(7, 1), {"b": Mark(9, 3)})


def test_a_beat_survives_the_wire():
    assert decode(encode(BEAT, KEY), KEY) == BEAT


def test_a_beat_of_another_key_or_changed_on_the_way_is_not_heard():
    datagram = encode(BEAT, KEY)
    assert decode(datagram, heartbeat_key(b"other")) is None
    for position in (0, 10, len(datagram) - 2):
        changed = bytearray(datagram)
        changed[position] ^= 1
        assert decode(bytes(changed), KEY) is None
    assert decode(b"", KEY) is None


def test_a_replayed_leave_from_an_earlier_life_is_ignored():
    node = Membership("b", TIMINGS, life=1, now=0.0)
    leave, again = Beat("a", Mark(1, 5), leaving=True), Beat("a", Mark(2, 1))
    for i, beat in enumerate((leave, again, leave)):
        node.heard(beat, address("a"), 0.1 * i)
    assert node.view().alive == {"a", "b"}
