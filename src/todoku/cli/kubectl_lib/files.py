"""Objects from files, folders and standard input: YAML or JSON, many documents, Lists taken apart."""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.refusals import Usage

_ENDINGS = (".yaml", ".yml", ".json")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_objects(name: str, *, recursive: bool = False) -> list[Object]:
    """Every object of a file, of a folder's files, or of standard input (`-`).  Raises Usage."""
    if name == "-":
        return list(_documents(sys.stdin.read(), "standard input"))
    path = Path(name)
    if not path.exists():
        raise Usage(f'the path "{name}" does not exist')
    if not path.is_dir():
        return list(_documents(path.read_text(), name))
    found = path.rglob("*") if recursive else path.iterdir()
    files = sorted(one for one in found if one.suffix in _ENDINGS and one.is_file())
    if not files:
        raise Usage(f"error reading [{name}]: recognized file extensions are [.json .yaml .yml]")
    return [obj for one in files for obj in _documents(one.read_text(), str(one))]


def _documents(text: str, name: str) -> Iterator[Object]:
    try:
        documents = [one for one in yaml.load_all(text, Loader=_Loader) if one is not None]
    except yaml.YAMLError as problem:
        where = " ".join(str(problem).split())
        raise Usage(f"error parsing {name}: {where}") from None
    if not documents:
        raise Usage(f"no objects in {name}")
    for document in documents:
        yield from _objects(document, name)


def _objects(document: object, name: str) -> Iterator[Object]:
    if not isinstance(document, dict):
        raise Usage(f"error parsing {name}: a document is not an object")
    missing = [field for field in ("apiVersion", "kind") if not document.get(field)]
    if missing:
        raise Usage(
            f'error validating "{name}": error validating data: [{" ".join(f"{one} not set" for one in missing)}]'
        )
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, name)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise Usage(f"error in {name}: a {document['kind']} has no metadata.name")
    yield document
