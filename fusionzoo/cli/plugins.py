"""`fusionzoo plugins`: what other packages add, what of it can't be used, and how to begin one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from fusionzoo import registry
from fusionzoo.errors import PluginError
from fusionzoo.plugin_files import recipe_folders, system_file
from fusionzoo.scaffold import KINDS, new_plugin


class _Line(NamedTuple):
    """One part of a plugin, in a list."""

    kind: str
    name: str
    origin: str
    state: str
    target: str


@click.group(invoke_without_command=True)
@click.option("--traceback", is_flag=True, help="Show why each part that is set aside is.")
@click.pass_context
def command(ctx: click.Context, traceback: bool) -> None:
    """Parts that plugins add: kind, name, package and version, and whether they can be used.

    FUSIONZOO_PLUGINS=off loads none.
    """
    if ctx.invoked_subcommand is not None:
        return
    lines = [*_usable()]
    lines += [
        _Line(part.kind, part.name, part.origin, "set aside", part.target)
        for part in registry.broken()
    ]
    if registry.plugins_off():
        click.echo("FUSIONZOO_PLUGINS=off: no plugin is looked for.")
    elif not lines:
        click.echo("No plugins are installed. 'fusionzoo plugins new' begins one.")
    _print(lines)
    for part in registry.broken():
        reason = part.reason.strip()
        told = reason if traceback else reason.splitlines()[-1]
        click.echo(f"\nSet aside: {part.kind} {part.name} of {part.origin} ({part.target})")
        click.echo("  " + told.replace("\n", "\n  "))
    if registry.broken() and not traceback:
        click.echo("\n'fusionzoo plugins --traceback' shows where.")


def _usable() -> Iterator[_Line]:
    """Parts that can be imported; the others are set aside by trying."""
    for kind in registry.PLURALS:
        for entry in registry.entries(kind):
            if entry.origin in ("fusionzoo", "notebook"):
                continue
            try:
                if kind == "system":
                    system_file(entry)
                else:
                    registry.load(kind, entry.name)
            except PluginError:
                continue
            yield _Line(kind, entry.name, entry.origin, "ok", entry.target)
    for folder in recipe_folders().values():
        yield _Line("recipe", folder.name, folder.origin, "ok", folder.target)


def _print(lines: list[_Line]) -> None:
    """Lines in columns, the last one as long as it is."""
    widths = [max((len(line[k]) for line in lines), default=0) for k in range(4)]
    for line in lines:
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line.target]).rstrip())


@command.command()
@click.argument("package")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What kind of part to begin.")
@click.option("--name", required=True, help="What spec strings call it.")
@click.option(
    "--out", default=".", show_default=True, help="Folder in which the package's is made."
)
def new(package: str, kind: str, name: str, out: str) -> None:
    """Write PACKAGE, a small installable package with one part, its tests and a README."""
    folder = new_plugin(package, kind=kind, name=name, out=out)
    click.echo(f"Wrote {folder}:")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        click.echo(f"  {path.relative_to(folder).as_posix()}")
    click.echo("Next:")
    click.echo(f"  pip install --editable '{folder}[test]'")
    click.echo(f"  python -m pytest {folder}")
