"""todoku explain: what a code means, why Kubernetes is so, and how to change it."""

from __future__ import annotations

import click

from todoku.cli import DONE


@click.command(epilog="\b\nExample:\n  todoku explain CLUSTERIP_INSIDE_ONLY")
@click.argument("code", required=False)
def command(code: str | None) -> int:
    """Explain a code of `reach` or `trace`; without one, list them all."""
    from todoku.reach.outcome import EXPLANATIONS, Code

    if code is None:
        width = max(map(len, Code))
        for one, explanation in EXPLANATIONS.items():
            click.echo(f"{one.ljust(width)}  {explanation.meaning}")
        return DONE
    if code.upper() not in Code.__members__:
        import difflib

        near = difflib.get_close_matches(code.upper(), list(Code), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `todoku explain` lists them"
        raise click.UsageError(f"there is no code {code}{hint}")
    explanation = EXPLANATIONS[Code(code.upper())]
    click.echo(f"{code.upper()}\n")
    for head, text in (
        ("What", explanation.meaning),
        ("Why", explanation.reason),
        ("Change", explanation.remedy),
    ):
        click.echo(f"{head:<7}{text}")
    return DONE
