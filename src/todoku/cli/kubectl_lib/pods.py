"""From a word (`web`, `pod/web`, `deployment/web`) to one pod and container."""

from todoku.api import selectors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.refusals import Failed
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import parse


async def pod_of(session: Session, word: str) -> Object:
    """The pod that a word names, or one that belongs to the named workload or Service.  Raises Failed."""
    target = parse([word], session.catalog, session.namespace, default="pods")[0]
    obj = await session.client.get(target.kind.named.name, target.name, target.namespace)
    if target.kind.named.plural == "pods":
        return obj
    selector = (obj.get("spec") or {}).get("selector")
    if not selector:
        raise Failed(f"error: cannot find pods of {word}: it has no selector")
    if "matchLabels" in selector or "matchExpressions" in selector:
        chosen = selectors.from_selector(selector)
    else:
        chosen = selectors.from_map(selector)
    listed = await session.client.list("pods", target.namespace, labels=str(chosen))
    running = sorted(listed.items, key=lambda pod: pod["status"].get("phase") != "Running")
    if not running:
        raise Failed(f"error: no pod belongs to {word}")
    return running[0]


def container_of(pod: Object, wanted: str) -> str:
    """The container to talk to: the wanted one, the annotated default, or the first.  Raises Failed."""
    spec = pod["spec"]
    names = [one["name"] for field in ("containers", "initContainers", "ephemeralContainers")
             for one in spec.get(field) or ()]  # fmt: skip
    if wanted and wanted not in names:
        raise Failed(
            f"error: container {wanted} is not valid for pod {pod['metadata']['name']} out of: {', '.join(names)}"
        )
    annotations = pod["metadata"].get("annotations") or {}
    default = annotations.get("kubectl.kubernetes.io/default-container", "")
    return wanted or (default if default in names else names[0])
