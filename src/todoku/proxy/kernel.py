"""Carrying a plan out: the nftables table of this network namespace, and its UDP flows."""

import errno
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from todoku.aio import log as logs
from todoku.linux import sysctl
from todoku.linux.conntrack import UDP, Conntrack, Flow, Match
from todoku.linux.namespaces import Netns
from todoku.linux.nfnetlink import NetlinkError
from todoku.linux.nftables import IPV4, Element, Elements, Nft, NftError
from todoku.proxy import rules
from todoku.proxy.endpoints import Backend, NodeView
from todoku.proxy.frontends import Frontend, FrontendKey
from todoku.proxy.table import Plan, Table

log = logs.get(__name__)

_SETTINGS = (
    # A packet out of the window must be translated all the same: untranslated, it makes its receiver
    # reset the connection.
    ("nf_conntrack_tcp_be_liberal", 1),
    ("nf_conntrack_tcp_timeout_established", 86_400),
    ("nf_conntrack_tcp_timeout_close_wait", 3_600),
)
_LIST_ONCE = 8  # more changed UDP frontends than this: one listing for all
_SETS = (*rules.KEYED, *rules.SHARED)


@dataclass(frozen=True, slots=True)
class Applied:
    """What one step did, for metrics."""

    elements: int = 0
    seconds: float = 0.0
    flows_deleted: int = 0


class Kernel:
    """Applies plans in one network namespace.  Blocking; one user at a time."""

    def __init__(self, netns: Netns = None) -> None:
        self._netns = netns
        self._nft = Nft(netns)
        self._elements = Elements(IPV4, rules.TABLE, netns)
        self._conntrack = Conntrack(netns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._elements.close()
        self._conntrack.close()

    def adopt(self, table: Table, node: NodeView) -> None:
        """Make the fixed part be there and tell `table` what the kernel holds.

        A table of the same layout keeps its elements: connections go on while the proxy restarts.
        """
        chains = self._nft.chains("ip", rules.TABLE)
        if rules.layout() not in chains:
            self._nft.apply(rules.load())
            chains = self._nft.chains("ip", rules.TABLE)
        self.configure(node)
        self._settle()
        table.adopt(self._dump(chains), chains)

    def _settle(self) -> None:
        """Connection tracking as kube-proxy sets it, in this network namespace."""
        for name, value in _SETTINGS:
            try:
                sysctl.write(f"net/netfilter/{name}", value, self._netns)
            except OSError as error:
                log.debug("Cannot set", name=name, error=error)

    def configure(self, node: NodeView) -> None:
        """Program the cluster's pod and service ranges."""
        self._nft.apply(rules.ranges(node))

    def apply(self, table: Table) -> Applied:
        """Carry out the table's next plan.

        If the kernel holds something else than we believed (somebody edited the table), list it once
        and try again.  Raises NftError or NetlinkError when that does not help either.
        """
        started = time.monotonic()
        plan = table.plan()
        if plan.empty:
            return Applied()
        try:
            self._carry_out(plan)
        except (NetlinkError, NftError) as error:
            log.warning("The table is not as expected, listing it", error=error)
            self._readopt(table)
            plan = table.plan()
            self._carry_out(plan)
        table.done(plan)
        self._retire(table, plan)
        return Applied(plan.size, time.monotonic() - started, self._forget(plan.stale_udp))

    def remove(self) -> None:
        """Delete the whole table."""
        self._nft.apply(f"table ip {rules.TABLE}\ndelete table ip {rules.TABLE}")

    def _carry_out(self, plan: Plan) -> None:
        if plan.text:
            self._nft.apply(plan.text)
        self._elements.apply(remove=plan.remove, add=plan.add)

    def _readopt(self, table: Table) -> None:
        chains = self._nft.chains("ip", rules.TABLE)
        if rules.layout() not in chains:
            self._nft.apply(rules.load())
            chains = self._nft.chains("ip", rules.TABLE)
        table.adopt(self._dump(chains), chains)

    def dump(self) -> list[Element]:
        """Every data element that the table holds."""
        return self._dump(self._nft.chains("ip", rules.TABLE))

    def _dump(self, chains: Iterable[str]) -> list[Element]:
        counted = [
            chain.replace("pick-", "endpoints-")
            for chain in chains
            if chain.startswith(("pick-", "local-pick-"))
        ]
        names = (*_SETS, *counted)
        found = {element: None for name in names for element in self._elements.dump(name)}
        # Once more, for what a hash table on the move has hidden: an element that we do not know of
        # would stay for ever.
        found |= {element: None for name in names for element in self._elements.dump(name)}
        return list(found)

    def _retire(self, table: Table, plan: Plan) -> None:
        """Delete chains that nothing leads to.  Kernels before 6.2 hold on to them for a moment."""
        if not plan.retire_chains:
            return
        lines = [f"flush chain ip {rules.TABLE} {name}" for name in plan.retire_chains]
        lines += [f"delete chain ip {rules.TABLE} {name}" for name in plan.retire_chains]
        lines += [f"delete set ip {rules.TABLE} {name}" for name in plan.retire_sets]
        try:
            self._nft.apply("\n".join(lines))
        except NftError as error:
            if "busy" not in str(error).lower():
                raise
            log.debug("Chains are still referenced; trying with the next change", error=error)
            return
        table.retired(plan)

    def _forget(self, frontends: Sequence[Frontend]) -> int:
        """Delete UDP flows that go on to an endpoint which is none any more, or to none at all."""
        if len(frontends) > _LIST_ONCE:
            flows = self._flows(Match(protocol=UDP))
            live = {(f.key.address, f.key.port): f.live for f in frontends}
            return self._delete(flows, live)
        return sum(self._forget_one(frontend) for frontend in frontends)

    def _forget_one(self, frontend: Frontend) -> int:
        address, port = frontend.key.address, frontend.key.port
        match = Match(protocol=UDP, destination=address, destination_port=port)
        return self._delete(self._flows(match), {(address, port): frontend.live})

    def _delete(
        self, flows: Iterable[Flow], live: Mapping[tuple[str, int], frozenset[Backend]]
    ) -> int:
        deleted = 0
        for flow in flows:
            original = flow.original
            allowed = live.get((original.destination, original.destination_port))
            if allowed is not None and Backend(*flow.backend) not in allowed:
                deleted += self._conntrack.delete(flow)
        return deleted

    def _flows(self, match: Match) -> list[Flow]:
        try:
            return self._conntrack.flows(match)
        except NetlinkError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL):
                return []  # a kernel without conntrack has no stale flows either
            raise


def owner_of(key: FrontendKey, netns: Netns = None) -> str:
    """Which Service port the table of a node has rules for, as `namespace/name:port`; "" if none.

    Reads the kernel, not a proxy's memory: for `trace`, which runs elsewhere.  Raises NetlinkError(ENOENT) if
    the node has no table.
    """
    wanted = rules.encode_key(key)
    with Elements(IPV4, rules.TABLE, netns) as elements:
        for name in ("services", "no-endpoints"):
            for element in elements.dump(name):
                if element.key == wanted:
                    return element.comment
    return ""
