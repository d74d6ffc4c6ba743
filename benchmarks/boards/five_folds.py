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

import numpy as np
from scipy.stats import norm

from fusionzoo.evaluation.comparison import corrected_t_test
from fusionzoo.evaluation.results import format_p
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
    for name in ("spec", "protocol", "seed"):
        if len({getattr(record, name) for record in records}) > 1:
            sys.exit(f"The runs in {folder} differ in {name}; a table of folds needs one.")
    if len({record.data.digest for record in records}) > 1:
        sys.exit(f"The runs in {folder} are on different data.")
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
    found: dict[str, list[float]] = {name: [] for name in outputs}
    shares = []
    for record in records:
        rows = {name: record.evaluation.row(task, name) for name in outputs}
        p_values = {c.other: c.p for c in record.evaluation.comparisons if c.task == task}
        for name in outputs:
            found[name].append(rows[name].metrics["auroc"].value)
        counts = record.split.counts
        shares.append(counts["test"] / (counts["train"] + counts["val"]))
        cells = [
            str(record.split.fold),
            str(rows[outputs[0]].num_cases),
            str(rows[outputs[0]].num_positive),
            *(str(rows[name].metrics["auroc"]) for name in outputs),
            *(format_p(p_values[name]) for name in outputs[1:]),
            f"{record.cost.train_seconds:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    means = [f"**{np.mean(v):.3f}** (sd {np.std(v, ddof=1):.3f})" for v in found.values()]
    blanks = " | ".join([""] * len(outputs))
    lines.append(f"| mean | | | {' | '.join(means)} | {blanks}|")
    lines.append("")
    for name in outputs[1:]:
        test = corrected_t_test(found[outputs[0]], found[name], test_share=float(np.mean(shares)))
        paired = [c.delong for r in records for c in r.evaluation.comparisons if c.other == name]
        gap = float(np.mean([one.difference for one in paired]))
        se = float(np.sqrt(sum(one.se**2 for one in paired)) / len(paired))
        p = float(2 * norm.sf(abs(gap) / se))
        wins = sum(a > b for a, b in zip(found[outputs[0]], found[name], strict=True))
        lines.append(
            f"`{outputs[0]}` against `{name}`: {gap:+.3f} AUROC ({gap - 1.96 * se:+.3f} to "
            f"{gap + 1.96 * se:+.3f}), p {_equals(p)} (paired, over all test sets); better in "
            f"{wins} of {len(records)} folds, p {_equals(test.p)} (corrected t-test over folds).\n"
        )
    environment = first.environment
    lines += [
        "",
        f"Made by fusionzoo {environment.versions.get('fusionzoo', '')} at "
        f"{(environment.commit or 'unknown')[:12]}, torch {environment.versions.get('torch', '')}, "
        f"{environment.hardware.cpu} ({environment.hardware.cores} cores), "
        f"GPU {environment.hardware.gpu or 'none'}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(table(read(Path(sys.argv[1]))))
