"""`fusionzoo predict`: a finished run's model on other cases."""

from __future__ import annotations

from pathlib import Path

import click

from fusionzoo.errors import BadOption


@click.command()
@click.argument("run", type=click.Path())
@click.argument("cases", required=False)
@click.option("--manifest", type=click.Path(), help="The new cases; the same as CASES.")
@click.option(
    "--root", type=click.Path(), help="Folder that paths are relative to; the manifest's own."
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Probabilities at the temperature that fits the validation cases best.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False), help="CSV to write; the terminal where not given."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def command(
    run: str,
    cases: str | None,
    manifest: str | None,
    root: str | None,
    calibrate: bool,
    out: str | None,
    device: str,
) -> None:
    """Probabilities of RUN's model for CASES, as CSV.

    CASES is a manifest (CSV, TSV, JSONL or Parquet) with the columns that the run was trained on,
    read under the roles in RUN/dataset.yaml, or the name of a data set with the same modalities. An
    empty cell of an image is a missing modality, where the run's fusion takes cases without it.
    """
    if (cases is None) == (manifest is None):
        raise BadOption("Give the new cases once: as CASES, or with --manifest.")

    from fusionzoo.api import open_run, predict_cases
    from fusionzoo.storage import write_atomic

    opened = open_run(run)
    given = str(cases if manifest is None else manifest)
    frame = predict_cases(opened, given, device=device, root=root, calibrate=calibrate)
    lacking = frame.loc[frame["missing"] != "", "case"].nunique()
    if lacking:
        click.echo(_told(lacking, opened.record.spec), err=True)
    text = frame.to_csv(index=False, float_format="%.6f")
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(Path(out), text)
        click.echo(f"{len(frame)} rows in {out}")


def _told(lacking: int, spec: str) -> str:
    from fusionzoo.grammar import parse
    from fusionzoo.models.missing import POLICIES, missing_policy

    cases = f"{lacking} cases lack" if lacking > 1 else "1 case lacks"
    return f"{cases} a modality (column 'missing'): {POLICIES[missing_policy(parse(spec))]}."
