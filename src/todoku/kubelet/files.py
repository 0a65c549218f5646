"""/etc/hosts, /etc/resolv.conf and the host name of a pod; pure.  Sources: upstream's kubelet_pods.go and dns.go."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object

_HEADER = "# Kubernetes-managed hosts file.\n"
_HOST_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
_MAX_NAMESERVERS, _MAX_SEARCHES, _MAX_SEARCH_CHARACTERS = 3, 32, 2048


def hostname(pod: Object, node_name: str) -> str:
    """The pod's host name: its own, else its name, cut to 63 characters; the node's on the host network."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return node_name
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])
    name = spec.get("hostname") or pod["metadata"]["name"][:63].rstrip("-.")
    domain = _domain(pod, "")
    return f"{name}.{domain}" if spec.get("setHostnameAsFQDN") and domain else str(name)


def hosts(pod: Object, ips: Sequence[str], *, cluster_domain: str, node_hosts: str = "") -> str:
    """The text of /etc/hosts."""
    aliases = _aliases(pod)
    if pod["spec"].get("hostNetwork"):
        return _HOST_HEADER + node_hosts + aliases
    name = hostname(pod, "").split(".")[0]
    domain = _domain(pod, cluster_domain)
    names = f"{name}.{domain}\t{name}" if domain else name
    return _HEADER + _LOCAL + "".join(f"{ip}\t{names}\n" for ip in ips) + aliases


def resolv_conf(
    pod: Object, *, node_text: str, cluster_dns: Sequence[str], cluster_domain: str
) -> str:
    """The text of /etc/resolv.conf under the pod's dnsPolicy and dnsConfig."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy", "ClusterFirst")
    servers, searches, options = parse_resolv_conf(node_text)
    if policy == "None":
        servers, searches, options = [], [], []
    elif _uses_cluster_dns(policy, bool(spec.get("hostNetwork"))) and cluster_dns:
        namespace = pod["metadata"]["namespace"]
        own = [f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain]
        servers, searches, options = list(cluster_dns), [*own, *searches], ["ndots:5"]
    config = spec.get("dnsConfig") or {}
    servers = _unique([*servers, *(config.get("nameservers") or ())])[:_MAX_NAMESERVERS]
    searches = _fitting(_unique([*searches, *(config.get("searches") or ())]))
    options = _merged(options, config.get("options") or ())
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


def parse_resolv_conf(text: str) -> tuple[list[str], list[str], list[str]]:
    """(nameservers, search domains, options) of a resolv.conf(5)."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            searches = rest
        elif word == "options":
            options = rest
    return servers, searches, options


def _uses_cluster_dns(policy: str, host_network: bool) -> bool:
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not host_network)


def _domain(pod: Object, cluster_domain: str) -> str:
    subdomain = pod["spec"].get("subdomain")
    if not subdomain:
        return ""
    tail = f".{cluster_domain}" if cluster_domain else ""
    return f"{subdomain}.{pod['metadata']['namespace']}.svc{tail}"


def _aliases(pod: Object) -> str:
    aliases = pod["spec"].get("hostAliases") or ()
    if not aliases:
        return ""
    lines = (f"{one['ip']}\t" + "\t".join(one.get("hostnames") or ()) + "\n" for one in aliases)
    return "\n# Entries added by HostAliases.\n" + "".join(lines)


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _fitting(searches: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for search in searches[:_MAX_SEARCHES]:
        if len(" ".join([*kept, search])) > _MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    return kept


def _merged(options: Sequence[str], given: Sequence[Object]) -> list[str]:
    merged = {option.partition(":")[0]: option for option in options}
    for one in given:
        value = one.get("value")
        merged[one["name"]] = f"{one['name']}:{value}" if value else one["name"]
    return list(merged.values())
