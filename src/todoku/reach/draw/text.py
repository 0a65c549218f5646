"""A picture as Mermaid and as DOT: plain text for documents and other tools."""

from __future__ import annotations

from collections.abc import Iterable

from todoku.reach.draw.picture import Line, Node, Picture
from todoku.reach.outcome import Outcome


def mermaid(picture: Picture) -> str:
    """A Mermaid `flowchart`; closed ways are dotted and end in a cross."""
    lines = ["flowchart LR"]
    for group, nodes in _grouped(picture):
        lines.append(f'  subgraph {group.replace(" ", "_")}["{group}"]')
        lines += [f'    {node.id}["{_mermaid_label(node)}"]' for node in nodes]
        lines.append("  end")
    for line in picture.asks:
        if line.outcome is Outcome.OK:
            lines.append(f"  {line.start} --> {line.end}")
        else:
            lines.append(f'  {line.start} -. "{line.outcome}" .-x {line.end}')
    lines += [f'  {line.start} -- "{line.count}" --> {line.end}' for line in picture.answers]
    return "\n".join(lines) + "\n"


def dot(picture: Picture) -> str:
    """A Graphviz digraph."""
    lines = [
        "digraph reach {",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        f"  label={_quoted(picture.title)};",
    ]
    for index, (group, nodes) in enumerate(_grouped(picture)):
        lines.append(f"  subgraph cluster_{index} {{ label={_quoted(group)};")
        lines += [f"    {node.id} [label={_quoted(_dot_label(node))}];" for node in nodes]
        lines.append("  }")
    lines += [f"  {_dot_ask(line)};" for line in picture.asks]
    lines += [f'  {line.start} -> {line.end} [label="{line.count}"];' for line in picture.answers]
    return "\n".join([*lines, "}", ""])


def _dot_ask(line: Line) -> str:
    if line.outcome is Outcome.OK:
        return f"{line.start} -> {line.end}"
    return f'{line.start} -> {line.end} [style=dashed, arrowhead=tee, label="{line.outcome}"]'


def _grouped(picture: Picture) -> list[tuple[str, list[Node]]]:
    groups: dict[str, list[Node]] = {}
    for node in _nodes(picture):
        groups.setdefault(node.group, []).append(node)
    return list(groups.items())


def _nodes(picture: Picture) -> Iterable[Node]:
    yield from picture.sources
    yield from picture.addresses
    yield from picture.backends


def _mermaid_label(node: Node) -> str:
    text = f"{node.label}<br/>{node.detail}" if node.detail else node.label
    return text.replace('"', "#quot;").replace("<pending>", "&lt;pending&gt;")


def _dot_label(node: Node) -> str:
    return f"{node.label}\n{node.detail}" if node.detail else node.label


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
