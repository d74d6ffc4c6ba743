"""The arithmetic of printed tables, on one published paper's rows."""

import pytest

from fusionzoo.errors import BadOption, DataError
from fusionzoo.evaluation.audit import (
    Matrix,
    Printed,
    accuracy_counts,
    audit_row,
    auroc_steps,
    fitting_matrices,
    threshold_evidence,
)
from fusionzoo.recipes import load_recipe

TABLES = ("table1", "table2", "table3", "readme_tabular")
#: Of every row that its claimed 15 and 28 cases can give: TP, FP, TN, FN.
CONSISTENT = {
    "PECon": (10, 6, 22, 5),
    "MedFuse": (8, 5, 23, 7),
    "MMTM": (9, 7, 21, 6),
    "PEfusion": (9, 6, 22, 6),
    "MMCAF-Net": (10, 4, 24, 5),
    "SAM+E3D-MSCA": (6, 6, 22, 9),
    "PENet": (4, 1, 27, 11),
    "PENet+E3D-MSCA": (6, 3, 25, 9),
    "Cross-Attention": (12, 8, 20, 3),
    "clip_Fusion": (11, 9, 19, 4),
    "Late_Fusion": (6, 5, 23, 9),
    "MSCA_Fusion": (10, 4, 24, 5),
    "MLP": (11, 10, 18, 4),
    "KAN": (11, 8, 20, 4),
}


def audits():
    found = {}
    for table in TABLES:
        recipe = load_recipe(f"mmcaf_net/{table}")
        for row in recipe.rows:
            printed = {m: Printed(v, recipe.decimals) for m, v in row.published.items()}
            found[row.label] = audit_row(
                row.label, printed, recipe.test.positives, recipe.test.negatives
            )
    return found


@pytest.fixture(scope="module")
def audited():
    return audits()


def test_rows_that_fit(audited):
    fits = {k: a.matrices for k, a in audited.items() if a.verdict == "consistent"}
    assert fits == {label: (Matrix(*cells),) for label, cells in CONSISTENT.items()}


def test_rows_of_other_case_sets(audited):
    other = {k: a for k, a in audited.items() if a.verdict == "other cases"}
    assert set(other) == {"DrFuse", "DAFT"}
    drfuse, daft = other["DrFuse"].elsewhere[0], other["DAFT"].elsewhere[0]
    assert (drfuse.positives, drfuse.negatives, drfuse) == (9, 25, Matrix(3, 5, 20, 6))
    assert (daft.positives, daft.negatives, daft) == (20, 28, Matrix(13, 6, 22, 7))
    assert other["DAFT"].elsewhere == (daft,)
    for label, pairs, ordered in (("DrFuse", 225, 138), ("DAFT", 560, 407)):
        there, here = other[label].elsewhere[0], other[label].auroc
        steps = auroc_steps(here.printed, there.positives, there.negatives)
        assert (steps.pairs, steps.ordered, steps.possible) == (pairs, (ordered,), "yes")
        assert here.possible == "with a tie"


def test_the_wrong_figure(audited):
    wrong = audited["PENet+E3D-MSCA+drop"]
    assert wrong.verdict == "one figure wrong"
    (misprint,) = wrong.misprints
    assert (misprint.metric, str(misprint.printed), misprint.exact) == ("npv", "0.857", 0.75)
    assert misprint.matrix == Matrix(6, 1, 27, 9)


def test_aurocs(audited):
    steps = {k: a.auroc for k, a in audited.items()}
    tied = {k for k, a in steps.items() if a.possible == "with a tie"}
    assert tied == {"PENet+E3D-MSCA", "DrFuse", "DAFT"}
    assert steps["PENet+E3D-MSCA"].ordered == (270.5,)
    assert steps["MMCAF-Net"].ordered == (330.0,)
    low, high = steps["MMCAF-Net"].interval
    assert (round(low, 2), round(high, 2)) == (0.63, 0.94)


def test_an_impossible_row():
    printed = {name: Printed(value, 3) for name, value in (("sensitivity", 0.5), ("ppv", 0.013))}
    found = audit_row("x", printed | {"accuracy": Printed(0.999, 3)}, 15, 28, most_cases=60)
    assert (found.verdict, found.searched, found.matrices, found.elsewhere) == (
        "impossible",
        60,
        (),
        (),
    )


def test_a_figure_is_blamed_only_where_enough_others_agree():
    printed = {"sensitivity": Printed(0.5, 1), "specificity": Printed(0.7, 1)}
    found = audit_row("x", printed, 1, 2, most_cases=3)
    assert (found.verdict, found.misprints) == ("impossible", ())


@pytest.mark.parametrize("value", [0.12, 0.13])
def test_halves_round_either_way(value):
    assert Printed(value, 2).fits(0.125)
    assert not Printed(0.14, 2).fits(0.125)


def test_undefined_metrics_fit_nothing():
    found = fitting_matrices({"ppv": Printed(0.0, 3)}, 1, 1)
    assert {(m.tp, m.fp) for m in found} == {(0, 1)}


def test_accuracies_of_any_number_of_classes():
    assert accuracy_counts(Printed(0.651, 3), 43) == (28,)
    assert accuracy_counts(Printed(0.66, 2), 43) == ()
    with pytest.raises(BadOption, match="needs cases; 0 were given"):
        accuracy_counts(Printed(0.5, 1), 0)


def test_threshold_of_the_published_row(squamous):
    found = threshold_evidence(squamous["label"], squamous["prob"], 6, 1)
    assert (round(found.low, 4), round(found.high, 4)) == (0.6943, 0.7019)
    assert found.best == ("Youden's index", "accuracy")
    assert round(found.auroc, 3) == 0.712
    half = {
        name: round(found.at_half.metric(name), 3)
        for name in ("accuracy", "f1", "specificity", "sensitivity", "ppv", "npv")
    }
    assert list(half.values()) == [0.605, 0.585, 0.5, 0.8, 0.462, 0.824]
    assert found.matrix.metric("npv") == 0.75
    called = squamous["prob"] >= found.high
    assert (called & (squamous["label"] == 1)).sum() == 6
    assert called.sum() == 7


def test_a_matrix_that_no_threshold_gives(squamous):
    assert threshold_evidence(squamous["label"], squamous["prob"], 15, 0) is None
    with pytest.raises(DataError, match="2 of 2 cases are positive; both classes are needed"):
        threshold_evidence([1, 1], [0.2, 0.3], 1, 0)


def test_refusals():
    with pytest.raises(BadOption, match="Both classes need cases; 0 positive and 5 negative"):
        audit_row("x", {}, 0, 5)
    with pytest.raises(BadOption, match=r"Row 'x': ece can't be audited\. These can: auroc, accur"):
        audit_row("x", {"ece": Printed(0.1, 1)}, 5, 5)
