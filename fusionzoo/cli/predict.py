"""`fusionzoo predict`: a finished run's model on other cases."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path())
@click.argument("cases")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="CSV to write; the terminal where not given."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def command(run: str, cases: str, out: str | None, device: str) -> None:
    """Probabilities of RUN's model for CASES, as CSV.

    CASES is a manifest (CSV, TSV, JSONL or Parquet) with the columns that the run was trained on,
    read under the roles in RUN/dataset.yaml, or the name of a data set with the same modalities.
    """
    from fusionzoo.api import open_run, predict_cases
    from fusionzoo.storage import write_atomic

    frame = predict_cases(open_run(run), cases, device=device)
    text = frame.to_csv(index=False, float_format="%.6f")
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(Path(out), text)
        click.echo(f"{len(frame)} rows in {out}")
