import numpy as np
import pytest

from fusionzoo.api import open_run
from fusionzoo.card.subgroups import Subgroup, subgroups
from fusionzoo.reopen import reopen
from tests import small_manifest


@pytest.fixture(scope="module")
def found(finished_run):
    return subgroups(reopen(open_run(finished_run)), "relapse", replicates=50)


def test_groups_are_those_of_the_test_cases(found, small_data):
    rows = [row for row in small_manifest.read(small_data) if row["split"] == "test"]
    sexes = {value: [r for r in rows if r["sex"] == value] for value in ("F", "M")}
    for group in (g for g in found if g.column == "sex" and g.name in sexes):
        own = sexes[group.name]
        assert group.num_cases == len(own)
        assert group.counts[1] == sum(row["relapse"] == "1" for row in own)
    for column in {g.column for g in found}:
        sizes = [g.num_cases for g in found if g.column == column]
        assert sum(sizes) == len(rows)
        assert len(sizes) > 1


def test_numbers_are_cut_at_the_training_parts_thirds(found, small_data):
    rows = small_manifest.read(small_data)
    train = [float(r["age"]) for r in rows if r["split"] == "train" and r["age"]]
    low, high = np.quantile(train, [1 / 3, 2 / 3])
    for group in (g for g in found if g.column == "age"):
        ages = [float(r["age"]) for r in rows if r["split"] == "test" and r["age"]]
        if group.name.startswith("up to"):
            assert group.num_cases == sum(age <= low for age in ages)
        if group.name.startswith("above"):
            assert group.num_cases == sum(age > high for age in ages)


def test_metrics_are_those_of_the_record_within_the_group(found, finished_run):
    run = open_run(finished_run)
    chosen = run.predictions().select(part="test", task="relapse", output="fused")
    cut = run.record.evaluation.row("relapse", "fused").threshold.value
    (group, *_) = (g for g in found if g.column == "sex" and g.counts[1])
    data = reopen(run).dataset
    place = {case: k for k, case in enumerate(data.cases)}
    sexes = data.table("table")["sex"].iloc[[place[case] for case in chosen.cases]]
    mine = (sexes == group.name).to_numpy() & (chosen.labels == 1)
    share = (chosen.probs[mine, 1] >= cut).mean()
    assert group.metrics["sensitivity"].value == pytest.approx(share)


@pytest.mark.parametrize(
    ("counts", "warning"),
    [
        ((10, 15), "fewer than 30 cases"),
        ((95, 5), "fewer than 10 cases of a class"),
        ((40, 40), ""),
    ],
)
def test_small_groups_carry_a_warning(counts, warning):
    assert Subgroup("sex", "F", sum(counts), 9, counts, {}).warning == warning
