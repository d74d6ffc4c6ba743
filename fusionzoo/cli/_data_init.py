"""`fusionzoo data init`: a first `dataset.yaml` for a CSV, to be reviewed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.data.guesses.said import Said
    from fusionzoo.data.rows import Rows


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="dataset.yaml beside MANIFEST.")
@click.option("--id", "case_id", help="Column of the case id.")
@click.option("--group", help="Column of the patient; '-' for none.")
@click.option("--split", help="Column of train, val, test or of fold numbers; '-' for none.")
@click.option("--target", "targets", multiple=True, help="Column to predict; repeatable.")
@click.option("--positive", help="Positive class of a target with two.")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="NAME=COLUMN[:KIND]",
    help="An image: ct=ct_path:volume; KIND is volume, rgb or gray; repeatable.",
)
@click.option("--numeric", multiple=True, help="Column of numbers; repeatable.")
@click.option("--categorical", multiple=True, help="Column of categories; repeatable.")
@click.option("--ignore", multiple=True, help="Column that is not used; repeatable.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder that paths are relative to.")
@click.option("--name", help="Name of the data set.")
@click.option(
    "--ask/--no-ask", default=None, help="Ask for what no flag says; by default in a terminal."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(
    manifest: Path,
    out: Path | None,
    case_id: str | None,
    group: str | None,
    split: str | None,
    targets: tuple[str, ...],
    positive: str | None,
    images: tuple[str, ...],
    numeric: tuple[str, ...],
    categorical: tuple[str, ...],
    ignore: tuple[str, ...],
    root: Path | None,
    name: str | None,
    ask: bool | None,
    force: bool,
) -> None:
    """Write a first dataset.yaml for MANIFEST (CSV, TSV, JSONL or Parquet).

    Roles that no flag names are guessed from names and cells, each with its reason as a comment in
    the file. Nothing is guessed later: what the file says is what is used.
    """
    import sys

    from fusionzoo.data.guesses.draft import draft, open_rows
    from fusionzoo.data.guesses.said import Said
    from fusionzoo.storage import write_atomic

    target = out or manifest.parent / "dataset.yaml"
    refuse_existing(target, force)
    named, kinds = _images(images)
    said = Said(
        id=case_id,
        group=group,
        split=split,
        images=named,
        kinds=kinds,
        numeric=numeric,
        categorical=categorical,
        targets=targets,
        positive=positive,
        ignore=ignore,
        root=root,
        name=name,
    )
    rows = open_rows(manifest, said)
    if sys.stdin.isatty() if ask is None else ask:
        said = _asked(rows, said)
    text = draft(rows, manifest, target, said)
    write_atomic(target, text)
    tell_yaml(target, text)


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to write over a file without `--force`."""
    if path.exists() and not force:
        raise BadOption(f"{path} is there already. Give another --out, or replace it with --force.")


def tell_yaml(path: Path, text: str) -> None:
    """Show a first `dataset.yaml` that was written, and say what to do with it."""
    click.echo(text, nl=False)
    guesses, unsure = text.count("# guess:"), text.count("NOT SURE")
    click.echo(f"\nWrote {path} with {guesses} guesses", nl=False)
    click.echo(f", of which {unsure} are unsure. " if unsure else ". ", nl=False)
    click.echo(f"Review them, then:\n  fusionzoo data check {path}")


def _images(given: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Columns and kinds by name, of `ct=ct_path:volume`."""
    from fusionzoo.data.dataset_yaml import IMAGE_KINDS

    columns, kinds = {}, {}
    for text in given:
        name, equals, rest = text.partition("=")
        column, colon, kind = rest.rpartition(":")
        if not colon:
            column, kind = rest, ""
        if not (equals and name and column) or (kind and kind not in IMAGE_KINDS):
            raise BadOption(
                f"--image takes NAME=COLUMN or NAME=COLUMN:KIND, with a KIND of "
                f"{', '.join(IMAGE_KINDS)}; given {text!r}."
            )
        columns[name] = column
        if kind:
            kinds[name] = kind
    return columns, kinds


def _asked(rows: Rows, said: Said) -> Said:
    """What was said, and the answers to what wasn't."""
    from fusionzoo.data.guesses.columns import (
        classes_of,
        guess_group,
        guess_id,
        guess_positive,
        guess_split,
        guess_targets,
    )
    from fusionzoo.data.guesses.said import NONE

    if said.id is None:
        found = guess_id(rows, said)
        said = replace(said, id=_column(rows, "the case id", found.value if found else None))
    if said.group is None:
        guess = guess_group(rows, said, said.id).value or NONE
        said = replace(said, group=_column(rows, "the patient ('-' for none)", guess))
    if said.split is None:
        guess = guess_split(rows, said).value or NONE
        said = replace(said, split=_column(rows, "the split ('-' for none)", guess))
    if not said.targets:
        targets = guess_targets(rows, said, ())
        first = targets[0].value if targets else None
        said = replace(said, targets=(_column(rows, "what to predict", first),))
    classes = classes_of(rows, said.targets[0])
    if said.positive is None and len(said.targets) == 1 and len(classes) == 2:
        default = guess_positive(rows, said.targets[0], said).value
        chosen = click.prompt("Positive class", default=default, type=click.Choice(classes))
        said = replace(said, positive=chosen)
    return said


def _column(rows: Rows, role: str, default: str | None) -> str:
    from fusionzoo.data.guesses.said import NONE

    known = [*rows.columns, *([NONE] if NONE in role else [])]
    answer: str = click.prompt(
        f"Column of {role}", default=default, type=click.Choice(known), show_choices=False
    )
    return answer
