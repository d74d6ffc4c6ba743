"""A table over the folds of one spec, made from its records and predictions.

    python benchmarks/boards/five_folds.py benchmarks/boards/lidc > benchmarks/boards/lidc.md

The folder holds one run per fold, as `fusionzoo run ... --fold K --out FOLDER` leaves them. Per
fold: AUROC with its interval. Over the folds: mean and standard deviation, and the comparison of
the fused model with each modality alone, in two ways. For these trained models: the mean of the
paired differences, whose variances add because no patient is in two test sets. For training anew:
the corrected t-test over folds (Nadeau and Bengio 2003), which five folds give little power.
Probabilities of different folds come from different models and are not pooled into one curve.
"""

import sys
from pathlib import Path

from fusionzoo.errors import MixedRuns
from fusionzoo.evaluation.comparison import corrected_t_test
from fusionzoo.evaluation.delong import mean_over_folds
from fusionzoo.evaluation.folds import FoldRow, over_folds
from fusionzoo.evaluation.results import format_p
from fusionzoo.leaderboard.comparable import check_comparable
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.leaderboard.layout import grouped_layouts
from fusionzoo.leaderboard.scores import share_tested
from fusionzoo.records.record import RunRecord
from fusionzoo.records.store import RunStore


def read(folder: Path) -> list[RunRecord]:
    """Records of all folds of one spec, verified against their predictions."""
    store = RunStore(folder)
    records = sorted(store.iter_records(), key=lambda record: record.split.fold or 0)
    if not records:
        sys.exit(f"There are no runs in {folder}.")
    for record in records:
        store.verify(record)
    layouts = grouped_layouts(map(RunFacts.of, records))
    rows = [row for layout in layouts for row in layout.rows]
    seeds = {record.seed for record in records}
    if len(rows) > 1 or len(seeds) > 1:
        sys.exit(f"{folder} has runs of {len(rows)} specs and {len(seeds)} seeds; one is needed.")
    try:
        check_comparable(layouts[0])
    except MixedRuns as error:
        sys.exit(str(error))
    return records


def _equals(p: float) -> str:
    told = format_p(p)
    return told if told.startswith("<") else f"= {told}"


def table(records: list[RunRecord]) -> str:
    """The page, as Markdown."""
    first = records[0]
    task = first.evaluation.results[0].task
    outputs = [row.output for row in first.evaluation.results if row.task == task]
    lines = [
        f"# {first.data.name}: `{first.spec}`",
        "",
        f"{len(records)} folds by patient, seed {first.seed}, protocol {first.protocol}. "
        f"Test AUROC with {round(100 * first.evaluation.level)}% intervals by patient; "
        f"p: paired {first.evaluation.comparisons[0].delong.method} test against `fused`.",
        "",
        "| fold | cases | positive | "
        + " | ".join(outputs)
        + " | p "
        + " | p ".join(f"({name})" for name in outputs[1:])
        + " | train s |",
        "|---|---|---|" + "---|" * (2 * len(outputs)),
    ]
    for record in records:
        lines.append(_line(record, task, outputs))
    over = {
        row.output: row
        for row in over_folds({record.split.fold or 0: record.evaluation for record in records})
        if row.task == task
    }
    aurocs = [over[name].metrics["auroc"] for name in outputs]
    means = [f"**{one.mean:.3f}** (sd {one.sd:.3f})" for one in aurocs]
    blanks = " | ".join([""] * len(outputs))
    lines.append(f"| mean | | | {' | '.join(means)} | {blanks}|")
    lines.append("")
    lines += [_against(records, over, outputs[0], name) for name in outputs[1:]]
    environment = first.environment
    lines += [
        "",
        f"Made by fusionzoo {environment.versions.get('fusionzoo', '')} at "
        f"{(environment.commit or 'unknown')[:12]}, torch {environment.versions.get('torch', '')}, "
        f"{environment.hardware.cpu} ({environment.hardware.cores} cores), "
        f"GPU {environment.hardware.gpu or 'none'}.",
    ]
    return "\n".join(lines)


def _line(record: RunRecord, task: str, outputs: list[str]) -> str:
    """One fold."""
    rows = {name: record.evaluation.row(task, name) for name in outputs}
    p_values = {c.other: c.p for c in record.evaluation.comparisons if c.task == task}
    cells = [
        str(record.split.fold),
        str(rows[outputs[0]].num_cases),
        str(rows[outputs[0]].num_positive),
        *(str(rows[name].metrics["auroc"]) for name in outputs),
        *(format_p(p_values[name]) for name in outputs[1:]),
        f"{record.cost.train_seconds:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _against(records: list[RunRecord], over: dict[str, FoldRow], main: str, other: str) -> str:
    """The main output against another one: for these models, and for training anew."""
    values = [list(over[name].metrics["auroc"].values.values()) for name in (main, other)]
    share = share_tested([RunFacts.of(record) for record in records])
    anew = corrected_t_test(*values, test_share=share)
    paired = mean_over_folds(
        [c.delong for r in records for c in r.evaluation.comparisons if c.other == other]
    )
    wins = sum(a > b for a, b in zip(*values, strict=True))
    return (
        f"`{main}` against `{other}`: {paired.difference:+.3f} AUROC ({paired.low:+.3f} to "
        f"{paired.high:+.3f}), p {_equals(paired.p)} (paired, over all test sets); better in "
        f"{wins} of {len(records)} folds, p {_equals(anew.p)} (corrected t-test over folds).\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(table(read(Path(sys.argv[1]))))
