"""The machine-readable outputs: yaml, json, name, jsonpath."""

import json
import re
from collections.abc import Sequence

import yaml

from todoku.api import jsonpath
from todoku.api.meta import Object, copy
from todoku.cli.kubectl_lib.catalog import Kind
from todoku.cli.kubectl_lib.refusals import Usage

_STRING = "tag:yaml.org,2002:str"
_PART = re.compile(r"\{([^{}]*)\}")


class _Dumper(yaml.SafeDumper):
    """Lists start at their parent's column, texts of several lines as blocks: as kubectl writes them."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    resolved = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    if style is None and resolved != _STRING:
        style = '"'  # what would read as a number, a date or a boolean
    return dumper.represent_scalar(_STRING, value, style=style)


_Dumper.add_representer(str, _text)


def formatted(output: str, found: Sequence[tuple[Kind, Object]], *, single: bool) -> str:
    """The objects in one of the formats; `single` means that one was asked for by name.  Raises Usage."""
    if output == "name":
        return "".join(f"{kind.label(obj['metadata']['name'])}\n" for kind, obj in found)
    objects = [_plain(obj) for _, obj in found]
    whole: Object = objects[0] if single and objects else _list(objects)
    if output == "json":
        return as_json(whole)
    if output == "yaml":
        return as_yaml(whole)
    if output.startswith("jsonpath="):
        return by_jsonpath(output.partition("=")[2], whole)
    raise Usage(
        f'unable to match a printer suitable for the output format "{output}", allowed formats are: '
        "json,yaml,name,wide,jsonpath=…; stock kubectl knows more"
    )


def as_json(value: object) -> str:
    """Go's JSON: sorted keys, and `<`, `>`, `&` escaped."""
    text = json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)
    return text.translate({ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}) + "\n"


def as_yaml(value: object) -> str:
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=True,
        default_flow_style=False,
        allow_unicode=True,
        width=1 << 16,
    )
    return text


def by_jsonpath(template: str, value: object) -> str:
    """kubectl's template: text with `{.path}` parts; `{"\\n"}` is text too; no `range`.  Raises Usage."""
    if not _PART.search(template):
        template = "{" + template + "}"
    return _PART.sub(lambda match: _filled(match.group(1).strip(), value), template)


def _filled(part: str, value: object) -> str:
    if part[:1] in "\"'" and part[-1:] == part[:1]:
        return part[1:-1].encode().decode("unicode_escape")
    if part.split(" ")[0] in ("range", "end"):
        raise Usage("jsonpath with range: use stock kubectl")
    try:
        found = jsonpath.find(jsonpath.parse("{" + part + "}"), value)
    except jsonpath.JsonPathError as problem:
        raise Usage(f"error parsing jsonpath {{{part}}}, {problem}") from None
    return " ".join(_shown(one) for one in found)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _list(objects: list[Object]) -> Object:
    return {
        "apiVersion": "v1",
        "items": objects,
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }


def _plain(obj: Object) -> Object:
    """Without managedFields, as kubectl shows objects."""
    shown: Object = copy(obj)
    shown["metadata"].pop("managedFields", None)
    return shown
