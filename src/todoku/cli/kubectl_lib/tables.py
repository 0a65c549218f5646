"""Tables as kubectl prints them, from meta/v1 Table objects or plain rows (pure)."""

from collections.abc import Sequence

from todoku.api.meta import Object

_PADDING, _MINIMUM = 3, 6


def render_table(
    table: Object,
    *,
    wide: bool = False,
    headers: bool = True,
    namespace: bool = False,
    prefix: str = "",
    labels: bool = False,
) -> str:
    """A server-side Table as text, one line per row, ending with a newline ("" without rows).

    `wide` shows columns of every priority; `namespace` puts the object's namespace first; `prefix`
    (`deployment.apps/`) goes before each name; `labels` adds a last column.
    """
    shown = [
        index
        for index, column in enumerate(table.get("columnDefinitions") or ())
        if wide or not column.get("priority")
    ]
    columns = [table["columnDefinitions"][index]["name"].upper() for index in shown]
    rows = [
        _row(row, shown, namespace=namespace, prefix=prefix, labels=labels)
        for row in table.get("rows") or ()
    ]
    if not rows:
        return ""
    head = [*(["NAMESPACE"] if namespace else []), *columns, *(["LABELS"] if labels else [])]
    return aligned([head, *rows] if headers else rows)


def aligned(rows: Sequence[Sequence[str]], *, padding: int = _PADDING) -> str:
    """Columns padded by blanks, the last one not."""
    if not rows:
        return ""
    widths = [
        max(_MINIMUM, max(len(row[index]) for row in rows if index < len(row)) + padding)
        for index in range(max(map(len, rows)))
    ]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join([*cells, row[-1]]))
    return "\n".join(lines) + "\n"


def _row(
    row: Object, shown: Sequence[int], *, namespace: bool, prefix: str, labels: bool
) -> list[str]:
    metadata = (row.get("object") or {}).get("metadata") or {}
    cells = [cell_text(row["cells"][index]) for index in shown]
    if prefix and cells:
        cells[0] = prefix + cells[0]
    if namespace:
        cells.insert(0, metadata.get("namespace", ""))
    if labels:
        pairs = sorted((metadata.get("labels") or {}).items())
        cells.append(",".join(f"{key}={value}" for key, value in pairs) or "<none>")
    return cells


def cell_text(value: object) -> str:
    """A cell on one line; null is empty, as kubectl has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).partition("\n")[0]
