"""What the table in the kernel should hold, what it holds, and the difference.  No system calls.

The proxy keeps both states, so a change costs what changed, whatever the number of Services.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Key
from todoku.linux.nftables import Element
from todoku.proxy import rules
from todoku.proxy.frontends import Frontend, FrontendKey, PortName
from todoku.proxy.rules import Affinity

Identity = tuple[str, bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """One step towards the desired state: `text` first, then the elements, then what is left over.

    `text` makes chains that new elements lead to; `retire` are chains and sets that nothing leads to
    once the elements are in place.
    """

    text: str = ""
    remove: tuple[Element, ...] = ()
    add: tuple[Element, ...] = ()
    retire_chains: tuple[str, ...] = ()
    retire_sets: tuple[str, ...] = ()
    stale_udp: tuple[Frontend, ...] = ()
    """UDP frontends whose endpoints changed: flows to others must be forgotten.  As they are now."""

    @property
    def empty(self) -> bool:
        return not (self.text or self.remove or self.add or self.retire_chains or self.stale_udp)

    @property
    def size(self) -> int:
        return len(self.remove) + len(self.add)


@dataclass(slots=True)
class _Claims:
    """Who wants an address and port; the first in order gets it, so that two Services cannot fight."""

    by_owner: dict[Key, Frontend] = field(default_factory=dict)

    @property
    def winner(self) -> Frontend | None:
        return self.by_owner[min(self.by_owner)] if self.by_owner else None


class Table:
    """Desired and installed content of the proxy's table on one node."""

    def __init__(self, node_name: str) -> None:
        self._node = node_name
        self._claims: dict[FrontendKey, _Claims] = {}
        self._owned: dict[Key, tuple[FrontendKey, ...]] = {}
        self._programmed: dict[FrontendKey, Frontend] = {}
        self._desired: dict[Identity, Element] = {}
        self._uses: Counter[Identity] = Counter()
        self._installed: dict[Identity, Element] = {}
        self._touched: set[Identity] = set()
        self._stale_udp: dict[FrontendKey, Frontend] = {}
        self._affinity: dict[PortName, Affinity] = {}
        self._sticky: dict[Key, tuple[PortName, ...]] = {}
        self._renew: set[PortName] = set()
        self._chains: set[str] = set()

    @property
    def frontends(self) -> Collection[Frontend]:
        """Every frontend in force, each by the Service that won it."""
        return self._programmed.values()

    def desired(self) -> list[Element]:
        return list(self._desired.values())

    def adopt(self, installed: Iterable[Element], chains: Iterable[str]) -> None:
        """Take what the kernel really holds as the starting point of the next plan."""
        self._installed = {element.identity: element for element in installed}
        self._chains = set(chains)
        self._touched = set(self._installed) | set(self._desired)
        self._renew = set(self._affinity)

    def update(self, service: Key, frontends: Sequence[Frontend]) -> None:
        """Set the frontends of one Service; none when it is gone."""
        wanted = {frontend.key: frontend for frontend in frontends}
        for key in {*self._owned.get(service, ()), *wanted}:
            self._claim(service, key, wanted.get(key))
        self._owned[service] = tuple(wanted)
        if not wanted:
            del self._owned[service]
        self._update_affinity(service, frontends)

    def explain(self, key: FrontendKey) -> Frontend | None:
        """The frontend that the elements of this address and port come from."""
        return self._programmed.get(key)

    def plan(self) -> Plan:
        """The next transaction.  Pure but for what `done` forgets afterwards."""
        remove, add = self._element_changes()
        chains = self._wanted_chains()
        leftover = {name for name in self._chains if rules.is_affinity(name)} - chains
        return Plan(
            text=self._chain_text(add),
            remove=remove,
            add=add,
            retire_chains=tuple(sorted(leftover)),
            retire_sets=tuple(sorted(name for name in leftover if name.startswith("client-"))),
            stale_udp=tuple(self._stale_udp.values()),
        )

    def done(self, plan: Plan) -> None:
        """Record that the text and elements of a plan took effect."""
        for element in plan.remove:
            self._installed.pop(element.identity, None)
        for element in plan.add:
            self._installed[element.identity] = element
        for prefix, count in rules.counts(plan.add):
            self._chains.add(f"{prefix}pick-{count}")
        for name in self._renew:
            if name in self._affinity:
                self._chains |= self._affinity[name].chains
        self._renew.clear()
        self._touched.clear()
        self._stale_udp.clear()

    def retired(self, plan: Plan) -> None:
        """Record that the leftovers of a plan are gone."""
        self._chains -= set(plan.retire_chains)

    def _claim(self, service: Key, key: FrontendKey, frontend: Frontend | None) -> None:
        claims = self._claims.setdefault(key, _Claims())
        if frontend is None:
            claims.by_owner.pop(service, None)
        else:
            claims.by_owner[service] = frontend
        winner = claims.winner
        if winner is None:
            del self._claims[key]
        self._program(key, winner)

    def _program(self, key: FrontendKey, frontend: Frontend | None) -> None:
        old = self._programmed.get(key)
        if old == frontend:
            return
        for element in self._elements(old):
            self._release(element)
        for element in self._elements(frontend):
            self._hold(element)
        if frontend is None:
            del self._programmed[key]
        else:
            self._programmed[key] = frontend
        self._note_udp(key, old, frontend)

    def _elements(self, frontend: Frontend | None) -> list[Element]:
        if frontend is None:
            return []
        return rules.elements(frontend) + rules.hairpins(frontend, self._node)

    def _hold(self, element: Element) -> None:
        self._uses[element.identity] += 1
        self._desired[element.identity] = element
        self._touched.add(element.identity)

    def _release(self, element: Element) -> None:
        identity = element.identity
        self._uses[identity] -= 1
        self._touched.add(identity)
        if self._uses[identity] == 0:
            del self._uses[identity], self._desired[identity]

    def _note_udp(self, key: FrontendKey, old: Frontend | None, new: Frontend | None) -> None:
        if key.protocol != "UDP":
            return
        before = old.live if old else frozenset()
        after = new.live if new else frozenset()
        # A brand-new frontend counts as well: a flow may have started before it was there, and
        # conntrack would keep it away from the endpoints as long as it lasts.
        if before == after:
            return
        changed = new or old
        if changed is not None:
            self._stale_udp[key] = changed if new else _emptied(changed)

    def _element_changes(self) -> tuple[tuple[Element, ...], tuple[Element, ...]]:
        remove, add = [], []
        for identity in self._touched:
            is_, should = self._installed.get(identity), self._desired.get(identity)
            if is_ == should:
                continue
            if is_ is not None:
                remove.append(is_)
            if should is not None:
                add.append(should)
        return tuple(remove), tuple(add)

    def _chain_text(self, add: Iterable[Element]) -> str:
        lines = [
            rules.counted_chain(prefix, count)
            for prefix, count in sorted(set(rules.counts(add)))
            if f"{prefix}pick-{count}" not in self._chains
        ]
        lines += [
            self._affinity[name].text() for name in sorted(self._renew) if name in self._affinity
        ]
        return "\n".join(lines)

    def _wanted_chains(self) -> set[str]:
        return {chain for affinity in self._affinity.values() for chain in affinity.chains}

    def _update_affinity(self, service: Key, frontends: Sequence[Frontend]) -> None:
        wanted = rules.affinity(frontends)
        for name in self._sticky.pop(service, ()):
            if name not in wanted:
                self._affinity.pop(name, None)
        for name, affinity in wanted.items():
            if self._affinity.get(name) != affinity:
                self._affinity[name] = affinity
                self._renew.add(name)
        if wanted:
            self._sticky[service] = tuple(wanted)


def _emptied(frontend: Frontend) -> Frontend:
    """A frontend that is gone: no endpoint is right for its flows any more."""
    return Frontend(frontend.key, frontend.owner, frontend.at, frontend.policy)
