"""`describe namespace`."""

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.session import Session


async def describe_namespace(session: Session, document: Document, obj: Object) -> None:
    metadata = obj["metadata"]
    document.field("Name", metadata["name"])
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    document.field("Status", (obj.get("status") or {}).get("phase", ""))
    for resource, title in (
        ("resourcequotas", "resource quota"),
        ("limitranges", "LimitRange resource"),
    ):
        listed = await session.client.list(resource, metadata["name"])
        document.line("")
        if not listed.items:
            document.line(f"No {title}.")
            continue
        with document.nested(f"{title[:1].upper()}{title[1:]}s:"):
            for one in listed.items:
                document.field("Name", one["metadata"]["name"])
                for name, value in sorted(((one.get("status") or {}).get("hard") or {}).items()):
                    used = ((one.get("status") or {}).get("used") or {}).get(name, "0")
                    document.line(name, used, value)
