"""`fusionzoo list`: the parts there are."""

from __future__ import annotations

import click

from fusionzoo import registry
from fusionzoo.errors import UnknownComponent, nearest


@click.command()
@click.argument("kind", required=False)
def command(kind: str | None) -> None:
    """Parts by name; KIND is encoders, necks, fusions, heads, datasets or systems."""
    by_plural = {plural: single for single, plural in registry.PLURALS.items()}
    single = by_plural.get(kind or "", kind)
    if kind is not None and single not in registry.PLURALS:
        known = ", ".join(by_plural)
        raise UnknownComponent(
            f"There is no kind of part called {kind!r}. {nearest(kind, by_plural)}Kinds: {known}."
        )
    for one in [single] if kind else registry.PLURALS:
        entries = registry.entries(str(one))
        click.echo(click.style(registry.PLURALS[str(one)], bold=True) + f" ({len(entries)})")
        width = max((len(entry.name) for entry in entries), default=0)
        for entry in entries:
            origin = "" if entry.origin == "fusionzoo" else f"[{entry.origin}] "
            click.echo(f"  {entry.name:<{width}}  {origin}{entry.summary}".rstrip())
    for part in registry.broken():
        click.echo(
            f"Set aside: {part.kind} {part.name} of {part.origin}; see 'fusionzoo plugins'.",
            err=True,
        )
