"""`fusionzoo plugins`: what other packages add, and what of it can't be used."""

from __future__ import annotations

import click

from fusionzoo import registry
from fusionzoo.errors import PluginError


@click.command()
def command() -> None:
    """Parts that plugins add, and what was set aside. FUSIONZOO_PLUGINS=off loads none."""
    found = [
        entry
        for kind in registry.PLURALS
        for entry in registry.entries(kind)
        if entry.origin != "fusionzoo"
    ]
    for entry in found:
        try:
            registry.load(entry.kind, entry.name)
        except PluginError:
            continue
        click.echo(f"{entry.kind} {entry.name}  {entry.origin}  {entry.target}")
    broken = registry.broken()
    for part in broken:
        click.echo(f"\nSet aside: {part.kind} {part.name} of {part.origin} ({part.target})")
        click.echo("  " + part.reason.strip().replace("\n", "\n  "))
    if not found and not broken:
        click.echo("No plugins are installed.")
