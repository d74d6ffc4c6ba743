"""`fusionzoo bench speed`: how fast every system is, against the plain composition of it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("systems", nargs=-1)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--size",
    type=click.Choice(["published", "small"]),
    default="published",
    show_default=True,
    help="Sizes of inputs and networks: the papers', or small ones to try the suite.",
)
@click.option("--batch-size", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the record to this file.")
@click.option(
    "--show",
    type=click.Path(path_type=Path),
    help="Print the table of a record that was written before, and measure nothing.",
)
def speed(
    systems: tuple[str, ...],
    device: str,
    size: str,
    batch_size: int,
    rounds: int,
    out: Path | None,
    show: Path | None,
) -> None:
    """Time SYSTEMS, all by default: training step, prediction, memory; ours beside plain PyTorch.

    Both arms hold the same weights and take turns in one process.

    \b
    fusionzoo bench speed --device cuda --out speed.json
    fusionzoo bench speed mmcaf-net iimgf-net --rounds 5
    """
    from fusionzoo.bench.speed.record import read_speed, speed_table
    from fusionzoo.bench.speed.suite import run_suite
    from fusionzoo.storage import check_writable

    if show is not None:
        click.echo(speed_table(read_speed(show)), nl=False)
        return
    if out is not None:
        check_writable(out.parent)
    record = run_suite(
        systems,
        device=device,
        size=size,
        batch_size=batch_size,
        rounds=rounds,
        tell=lambda text: click.echo(f"{text} ...", err=True),
    )
    if out is not None:
        record.write(out)
    click.echo(speed_table(record), nl=False)
