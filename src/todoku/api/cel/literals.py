"""Message literals of mutations, `Object{spec: Object.spec{replicas: 3}}` and `JSONPatch{op: "add", …}`.

Upstream they are typed; the engine has no such types, so they are written as maps of any type before compiling.
Source: KEP-3962.
"""

from __future__ import annotations

import functools
import re

from todoku.api.cel.values import unescape

_TOKEN = re.compile(
    r"""(?P<text>[rR]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<message>(?<![\w.])(?:Object(?:\s*\.\s*\w+)*|JSONPatch)(?=\s*\{))"""
    r"""|(?P<field>`[^`]*`|[A-Za-z_]\w*)(?=\s*:)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<space>\s+)|(?P<other>.)"""
)


@functools.lru_cache(maxsize=1024)
def as_maps(expression: str) -> str:
    """The expression with message literals written as maps: `Object{a: 1}` becomes `dyn({"a": 1})`."""
    out: list[str] = []
    braces: list[bool] = []  # for each open bracket, whether it is a message's
    message_next = False
    start_of_field = False
    for match in _TOKEN.finditer(expression):
        kind, text = match.lastgroup, match.group()
        if kind == "message":
            message_next = True
            continue
        if kind == "field" and braces and braces[-1] and start_of_field:
            out.append('"' + unescape(text.strip("`")) + '"')
            start_of_field = False
            continue
        if text in ("{", "(", "["):
            message = text == "{" and message_next
            braces.append(message)
            out.append("dyn({" if message else text)
            start_of_field = True
            message_next = False
        elif text in ("}", ")", "]"):
            out.append("})" if braces and braces.pop() else text)
            start_of_field = False
        else:
            out.append(text)
            if text == ",":
                start_of_field = True
            elif kind != "space" and text != "?":
                start_of_field = False
    return "".join(out)
