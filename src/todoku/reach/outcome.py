"""The words of a cell: what happened, and the stable codes that say why.

Outcome words follow agnhost's connect vocabulary (TIMEOUT, REFUSED, DNS, OTHER), split where the kernel knows more.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What one attempt, or a whole cell, came to."""

    OK = "ok"
    REFUSED = "refused"  # a RST or an ICMP port unreachable came back
    TIMEOUT = "timeout"  # nothing came back
    NO_ROUTE = "no-route"  # the kernel or a router said: no way there
    RESET = "reset"  # connected, then cut
    DNS = "dns"  # the name did not resolve from here
    NOT_APPLICABLE = "n/a"  # there is no such address
    UNKNOWN = "?"  # could not be probed


_BY_ERRNO = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.EHOSTUNREACH: Outcome.NO_ROUTE,
    errno.ENETUNREACH: Outcome.NO_ROUTE,
    errno.EHOSTDOWN: Outcome.NO_ROUTE,
    errno.ENETDOWN: Outcome.NO_ROUTE,
    errno.EACCES: Outcome.NO_ROUTE,  # an administratively prohibited route
}


def of_error(error: OSError) -> Outcome:
    """The outcome that a socket error stands for; an error without a meaning here is `?`."""
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    return _BY_ERRNO.get(error.errno or 0, Outcome.UNKNOWN)


class Code(StrEnum):
    """Why a cell is as it is; stable names, explained by `todoku explain CODE`."""

    OPEN = "OPEN"
    POD_NETWORK_INSIDE_ONLY = "POD_NETWORK_INSIDE_ONLY"
    CLUSTERIP_INSIDE_ONLY = "CLUSTERIP_INSIDE_ONLY"
    CLUSTERIP_ROUTED = "CLUSTERIP_ROUTED"
    LB_PENDING = "LB_PENDING"
    LB_IPMODE_PROXY = "LB_IPMODE_PROXY"
    NO_NODE_PORT = "NO_NODE_PORT"
    NO_ENDPOINTS = "NO_ENDPOINTS"
    ETP_LOCAL_NO_ENDPOINT = "ETP_LOCAL_NO_ENDPOINT"
    ITP_LOCAL_NO_ENDPOINT = "ITP_LOCAL_NO_ENDPOINT"
    ARP_UNANSWERED = "ARP_UNANSWERED"
    EXTERNAL_IP_UNROUTED = "EXTERNAL_IP_UNROUTED"
    NODE_DOWN = "NODE_DOWN"
    ENDPOINT_NODE_DOWN = "ENDPOINT_NODE_DOWN"
    SOURCE_DOWN = "SOURCE_DOWN"
    SOURCE_RANGE = "SOURCE_RANGE"
    POD_NOT_RUNNING = "POD_NOT_RUNNING"
    DNS_INSIDE_ONLY = "DNS_INSIDE_ONLY"
    DNS_UNREADY = "DNS_UNREADY"
    NOT_PREDICTED = "NOT_PREDICTED"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One code in three sentences: what it means, why Kubernetes is so, how to change it."""

    meaning: str
    reason: str
    remedy: str


EXPLANATIONS: dict[Code, Explanation] = {
    Code.OPEN: Explanation(
        "A connection from this source to this address succeeds.",
        "Some rule, route or announcement leads from here to a usable endpoint.",
        "`todoku trace FROM TO` shows the way hop by hop.",
    ),
    Code.POD_NETWORK_INSIDE_ONLY: Explanation(
        "Pod addresses are known inside the cluster only; from outside the packet goes to the default gateway and dies.",
        "Every node has a route to every other node's pod subnet; hosts outside the cluster and their gateway have none.",
        "Expose the pods with a Service of type NodePort or LoadBalancer, or add a route to the pod network through a node.",
    ),
    Code.CLUSTERIP_INSIDE_ONLY: Explanation(
        "A ClusterIP exists only as a translation rule on the nodes; from outside there is no route to it.",
        "No interface owns the address. Nodes rewrite packets to it before routing; a host outside sends them to its default gateway, which knows no way.",
        "Use type NodePort or LoadBalancer; or add a route to the service network through a node, and it answers.",
    ),
    Code.CLUSTERIP_ROUTED: Explanation(
        "The host has a route to the service network through a node, so the ClusterIP answers although the host is outside.",
        "The node translates every packet for a ClusterIP that reaches it, whoever sent it; nothing filters by origin.",
        "Delete that route, or filter on the node, if this is not wanted.",
    ),
    Code.LB_PENDING: Explanation(
        "The Service has no load-balancer address: EXTERNAL-IP is <pending>.",
        "Kubernetes itself hands out no such addresses; a load-balancer implementation must, and none did.",
        "Install one (`todoku manifests` has metallb.yaml) and give it an address pool; `kubectl describe service` tells why a pool was refused.",
    ),
    Code.LB_IPMODE_PROXY: Explanation(
        "The address belongs to a real balancer (ipMode: Proxy); nodes do not short-cut it.",
        "With ipMode Proxy the traffic has to pass through the balancer (KEP-1860).",
        "Nothing to change if the balancer answers; set ipMode: VIP to let nodes translate it.",
    ),
    Code.NO_NODE_PORT: Explanation(
        "The Service has no node port.",
        "Only types NodePort and LoadBalancer get one; LoadBalancer may also go without (allocateLoadBalancerNodePorts: false).",
        "Set type: NodePort, or ask for node ports.",
    ),
    Code.NO_ENDPOINTS: Explanation(
        "The Service has no usable endpoint, so the connection is refused at once.",
        "Without a ready (or serving while terminating) pod behind the selector the node answers with a rejection rather than silence.",
        "Compare spec.selector with the labels of the pods, and look at their readiness: `kubectl get endpointslices`.",
    ),
    Code.ETP_LOCAL_NO_ENDPOINT: Explanation(
        "externalTrafficPolicy is Local and the node that got the packet has no pod of the Service: it is dropped.",
        "Local keeps the client's address by never sending outside traffic to another node.",
        "Use externalTrafficPolicy: Cluster, run a pod on every node, or send traffic only to nodes that have one (the health check node port tells).",
    ),
    Code.ITP_LOCAL_NO_ENDPOINT: Explanation(
        "internalTrafficPolicy is Local and the source's own node has no pod of the Service: the packet is dropped.",
        "Local keeps traffic to the ClusterIP on the node it starts from.",
        "Use internalTrafficPolicy: Cluster, or run a pod on every node, for example by a DaemonSet.",
    ),
    Code.ARP_UNANSWERED: Explanation(
        "The load-balancer address was assigned, but nobody on the LAN answers ARP for it.",
        "Assigning and announcing are two steps: an L2Advertisement must cover the pool, and an eligible node (with a speaker, not excluded by label, network available) must be alive.",
        "Create an L2Advertisement for the pool; check the speakers and the label node.kubernetes.io/exclude-from-external-load-balancers.",
    ),
    Code.EXTERNAL_IP_UNROUTED: Explanation(
        "Nodes translate the external IP, but from here no route or ARP answer leads to a node.",
        "spec.externalIPs only makes nodes accept packets for the address; bringing them to a node is left to you.",
        "Route the address to a node, or use a load balancer that announces it.",
    ),
    Code.NODE_DOWN: Explanation(
        "The node that owns the address is off, cut off or paused.",
        "A node's address lives and dies with the node; only a load-balancer address moves.",
        "Use another node's address or a LoadBalancer Service; `todoku node start NODE` brings it back.",
    ),
    Code.ENDPOINT_NODE_DOWN: Explanation(
        "The pod's node is off, cut off or paused.",
        "Packets to its pod subnet are still sent there until the node returns; endpoints on it are withdrawn once the node is NotReady.",
        "Wait for the pod to be replaced elsewhere, or start the node.",
    ),
    Code.SOURCE_DOWN: Explanation(
        "The source itself is off, so nothing can be probed from it.",
        "A question about a machine without power has no answer.",
        "`todoku node start NODE`, then ask again.",
    ),
    Code.SOURCE_RANGE: Explanation(
        "spec.loadBalancerSourceRanges does not contain the source's address: the packet is dropped.",
        "The ranges guard the load-balancer address only; node ports and external IPs stay open.",
        "Add the source's network to loadBalancerSourceRanges.",
    ),
    Code.POD_NOT_RUNNING: Explanation(
        "The pod is not running, so its address does not answer.",
        "An address is given to the sandbox before the containers run, and taken back when the pod ends.",
        "`kubectl describe pod` tells what it waits for.",
    ),
    Code.DNS_INSIDE_ONLY: Explanation(
        "Service names are resolved by the cluster's DNS, which only pods use.",
        "The kubelet writes the cluster DNS into each pod's resolv.conf; nodes and outside hosts ask other servers.",
        "Use an address, or publish the name in a DNS that the source asks.",
    ),
    Code.DNS_UNREADY: Explanation(
        "The cluster's DNS has no ready pod, so no Service name resolves.",
        "Names are answered by ordinary pods behind the Service kube-dns.",
        "`kubectl -n kube-system get pods -l k8s-app=kube-dns` tells what they wait for.",
    ),
    Code.NOT_PREDICTED: Explanation(
        "Nothing was predicted here: the API objects do not tell what happens.",
        "The address is published by no Service, or the way to it leads through machines that Kubernetes does not know.",
        "The measurement stands for itself; in a lab, `todoku trace FROM TO` shows the way.",
    ),
}
