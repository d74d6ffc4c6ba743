import numpy as np
import pytest

from fusionzoo.evaluation import weighted
from fusionzoo.evaluation.metrics import BINARY, MULTICLASS
from fusionzoo.evaluation.weighted import binary_metrics, multiclass_metrics

RNG = np.random.default_rng(5)
WEIGHTS = RNG.multinomial(30, np.full(30, 1 / 30), size=8)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_a_weight_is_the_same_as_so_many_copies(kind):
    probs = np.round(RNG.dirichlet([1, 1, 1], 30), 1)
    labels = RNG.integers(0, 3, 30)
    if kind == "binary":
        labels, probs = np.minimum(labels, 1), probs[:, 0]

    def metrics(rows, weights):
        if kind == "binary":
            return binary_metrics(labels[rows], probs[rows], weights, 0.35, BINARY)
        return multiclass_metrics(labels[rows], probs[rows], weights, MULTICLASS)

    together = metrics(np.arange(30), WEIGHTS.astype(float))
    for row, counts in enumerate(WEIGHTS):
        copies = np.repeat(np.arange(30), counts)
        alone = metrics(copies, np.ones((1, len(copies))))
        for name, found in together.items():
            np.testing.assert_allclose(found[row], alone[name][0], rtol=1e-12, err_msg=name)


def test_no_case_gives_nan_everywhere():
    nothing = binary_metrics(
        np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros((2, 0)), 0.5, BINARY
    )
    assert all(np.isnan(value).all() and value.shape == (2,) for value in nothing.values())


def test_both_ways_to_an_auroc_give_the_same_bits(monkeypatch):
    scores = np.round(RNG.random(30), 1)
    positive = RNG.random(30) < 0.4
    by_pairs = weighted.auroc(positive, scores, WEIGHTS.astype(float))
    monkeypatch.setattr(weighted, "MOST_PAIRS", 0)
    np.testing.assert_array_equal(weighted.auroc(positive, scores, WEIGHTS.astype(float)), by_pairs)
