"""The committed table of five folds is what its records give, and they what was predicted."""

import subprocess
import sys
from pathlib import Path

from fusionzoo.evaluation.report import evaluate
from fusionzoo.records.store import RunStore

BOARDS = Path(__file__).parents[2] / "benchmarks" / "boards"


def test_the_table_is_made_from_the_records():
    made = subprocess.run(
        [sys.executable, BOARDS / "five_folds.py", BOARDS / "lidc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (BOARDS / "lidc.md").read_text(encoding="utf-8")


def test_the_records_are_what_their_predictions_give():
    store = RunStore(BOARDS / "lidc")
    records = list(store.iter_records())
    assert sorted(record.split.fold for record in records) == [0, 1, 2, 3, 4]
    tested = set()
    for record in records:
        predictions = store.verify(record)
        again = evaluate(predictions, seed=record.seed, reference="fused")
        for output in ("fused", "ct", "table"):
            old = record.evaluation.row("malignancy", output).metrics["auroc"]
            new = again.row("malignancy", output).metrics["auroc"]
            assert abs(old.value - new.value) < 1e-12
        cases = set(predictions.select(part="test", task="malignancy", output="fused").cases)
        assert not cases & tested
        tested |= cases
    assert len(tested) == 1185
