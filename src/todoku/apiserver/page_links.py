"""The links of an HTML page, rewritten in place: nothing but the values of attributes that hold a URL changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# Source: HTML 4 index of attributes (%URI), HTML 5 attributes index.
_ATTRIBUTES: Mapping[bytes, frozenset[bytes]] = {
    tag: frozenset(names.split())
    for tag, names in {
        b"a": b"href", b"applet": b"codebase", b"area": b"href", b"audio": b"src", b"base": b"href",
        b"blockquote": b"cite", b"body": b"background", b"button": b"formaction", b"command": b"icon",
        b"del": b"cite", b"embed": b"src", b"form": b"action", b"frame": b"longdesc src", b"head": b"profile",
        b"html": b"manifest", b"iframe": b"longdesc src", b"img": b"longdesc src usemap",
        b"input": b"src usemap formaction", b"ins": b"cite", b"link": b"href",
        b"object": b"classid codebase data usemap", b"q": b"cite", b"script": b"src", b"source": b"src",
        b"video": b"poster src",
    }.items()
}  # fmt: skip

# A tag that does not end before the next one begins is text: so a hostile page is read in linear time.
_COMMENT_OR_TAG = re.compile(
    rb"""<!--.*?(?:-->|\Z)"""
    rb"""|<(?P<tag>(?P<raw>script|style|textarea|title)|[a-z][a-z0-9]*)\b(?P<rest>(?:[^<>"']|"[^"]*"|'[^']*')*)>"""
    rb"""(?P<text>(?(raw).*?(?=</(?P=raw)\b|\Z)))""",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    rb"""(?P<head>\s(?P<name>[a-z]+)\s*=\s*)(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'>]+))""",
    re.IGNORECASE,
)


def rewrite_links(page: bytes, change: Callable[[str], str]) -> bytes:
    """The page with `change` applied to each link; comments, texts and scripts stay as they are."""

    def of_match(match: re.Match[bytes]) -> bytes:
        names = _ATTRIBUTES.get((match["tag"] or b"").lower())
        if not names:
            return match[0]
        rest = _rewrite_attributes(match["rest"], names, change)
        return b"<%b%b>%b" % (match["tag"], rest, match["text"])

    return _COMMENT_OR_TAG.sub(of_match, page)


def _rewrite_attributes(
    text: bytes, names: frozenset[bytes], change: Callable[[str], str]
) -> bytes:
    def of_match(match: re.Match[bytes]) -> bytes:
        if match["name"].lower() not in names:
            return match[0]
        for group, quote in (("double", b'"'), ("single", b"'"), ("bare", b"")):
            if (value := match[group]) is not None:
                link = change(value.decode("utf-8", "surrogateescape"))
                return match["head"] + quote + link.encode("utf-8", "surrogateescape") + quote
        return match[0]

    return _ATTRIBUTE.sub(of_match, text)
