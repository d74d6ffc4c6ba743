"""`fusionzoo leaderboard`: boards of a folder of runs, and whether a written one holds."""

from __future__ import annotations

import sys
from typing import Any

import click

from fusionzoo.cli._board_progress import board_progress


class _Boards(click.Group):
    """`leaderboard STORE` is short for `leaderboard show STORE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((arg for arg in args if not arg.startswith("-")), None)
        if args and first not in self.commands and not set(args) & {"-h", "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Boards, no_args_is_help=True)
def command() -> None:
    """Boards of a folder of runs: 'fusionzoo leaderboard runs/' prints them.

    Rows with intervals, ranks as tiers, printed numbers with verdicts, and cost. A board compares
    runs of one protocol, on the same data and splits; others are refused, with the reason.
    """


@command.command()
@click.argument("store", type=click.Path())
@click.option("--sheet", "sheets", multiple=True, help="Only this sheet, by slug or name; repeat.")
@click.option("--format", "name", help="md, html, csv or latex; by default what --out ends with.")
@click.option("--out", type=click.Path(), help="File to write; printed where there is none.")
@click.option("--metric", default="auroc", show_default=True, help="Metric that ranks rows.")
@click.option("--task", default="", help="Its task; the only one, or the mean over several.")
@click.option(
    "--test",
    default="cases",
    show_default=True,
    help="Compare rows on the patients tested (cases), or for models trained anew (folds).",
)
@click.option("--correction", default="holm", show_default=True, help="holm or bh, over all pairs.")
@click.option(
    "--level", type=float, default=0.95, show_default=True, help="Confidence of intervals."
)
@click.option(
    "--margin", type=float, default=0.05, show_default=True, help="Largest gap that doesn't matter."
)
@click.option(
    "--replicates", type=int, default=2000, show_default=True, help="Draws of the patients."
)
@click.option("--runs", multiple=True, help="Only runs whose id fits: '*seed0*'; repeat.")
def show(store: str, out: str | None, name: str | None, **asked: Any) -> None:
    """Boards of the runs in STORE; 'show' itself may be left out.

    One for each sheet that a bench left, and one for each data set, scheme of folds and protocol
    of the other runs.
    """
    from fusionzoo.leaderboard.build import build_boards
    from fusionzoo.leaderboard.options import BoardOptions
    from fusionzoo.leaderboard.write import format_of, write_boards
    from fusionzoo.storage import write_atomic

    chosen = name or (format_of(out) if out else "md")
    sheets, runs = asked.pop("sheets"), asked.pop("runs")
    with board_progress() as progress:
        tables = build_boards(
            store, BoardOptions(**asked), sheets=sheets, runs=runs, progress=progress
        )
    told = write_boards(tables, chosen)
    if out is None:
        click.echo(told, nl=False)
        return
    write_atomic(out, told)
    rows = sum(len(table.rows) for table in tables)
    boards = "1 board" if len(tables) == 1 else f"{len(tables)} boards"
    click.echo(f"{out}: {boards}, {rows} rows", err=True)


@command.command()
@click.argument("board", type=click.Path())
@click.option("--store", type=click.Path(), required=True, help="Folder of the runs it is from.")
def verify(board: str, store: str) -> None:
    """Recompute every figure of BOARD (.html, .md or .csv) from the predictions in the store.

    Exits with 0 where all figures hold, with 1 where some differ (each is named), with 2 where the
    board or its runs can't be read.
    """
    from fusionzoo.leaderboard.verify import verify_board

    with board_progress() as progress:
        report = verify_board(board, store, progress=progress)
    for difference in report.differences:
        click.echo(str(difference))
    click.echo(report.summary, err=bool(report.differences))
    if report.differences:
        sys.exit(1)


__all__ = ["command"]
