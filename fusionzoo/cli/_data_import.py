"""`fusionzoo data import`: data described for other libraries, as a manifest."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from fusionzoo.cli._data_init import refuse_existing
from fusionzoo.errors import BadOption, nearest


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--from", "form", required=True, help="The format: imagefolder or monai.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write to; that of the data by default.",
)
@click.option("--target", help="Key or column to predict, where the format doesn't say.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def import_(path: Path, form: str, out: Path | None, target: str | None, force: bool) -> None:
    """Write a manifest.csv and a first dataset.yaml for PATH.

    With --from monai, PATH is a data list (or the dataset.json of a Decathlon task); with --from
    imagefolder, a folder of pictures as Hugging Face's datasets reads it.
    """
    from fusionzoo.cli._data_init import tell_yaml
    from fusionzoo.data.importers.imported import (
        MANIFEST,
        ROLES,
        UNLABELLED,
        formats,
        write_imported,
    )

    if form not in formats():
        known = ", ".join(formats())
        raise BadOption(
            f"Data can't be imported from {form!r}. {nearest(form, formats())}Known: {known}."
        )
    found = importlib.import_module(f"fusionzoo.data.importers.{form}").read(path, target)
    folder = out or found.root
    for name in (MANIFEST, UNLABELLED, ROLES):
        if name != UNLABELLED or found.unlabelled:
            refuse_existing(folder / name, force)
    texts = write_imported(found, folder)
    for note in found.notes:
        click.echo(note)
    click.echo(f"Wrote {len(found.rows)} cases to {folder / MANIFEST}\n")
    tell_yaml(folder / ROLES, texts[ROLES])
