"""`fusionzoo data prepare`: decode DICOM once."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the cache.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def prepare(path: Path, out: Path, workers: int) -> None:
    """Decode the CT series below PATH once into a memory-mapped cache; run it again to go on."""
    from rich.console import Console
    from rich.progress import Progress

    from fusionzoo.data.dicom_cache import prepare as decode
    from fusionzoo.errors import DataError

    if not path.is_dir():
        raise DataError([f"there is no folder {path}. Check the path."], str(path))
    console = Console(soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {what: bars.add_task(what, total=None) for what in ("headers", "series")}
        done = decode(
            path,
            out,
            workers=workers,
            tell=lambda what, k, n: bars.update(tasks[what], completed=k, total=n),
        )
    aside = sum(one.num_files for one in done.set_aside)
    console.print(
        f"{done.written} series decoded, {done.kept} kept, in {out}; {aside} files set aside "
        f"('fusionzoo data doctor {out}' says why).",
        highlight=False,
    )
