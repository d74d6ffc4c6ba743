"""Binormal scores of several models on the same folds, whose true metrics are known."""

import math
from statistics import NormalDist

import numpy as np

from fusionzoo.evaluation.pooled import FoldRun
from fusionzoo.evaluation.predictions import Selection

#: sqrt(2) times the normal quantile of an AUROC of 0.76.
GAP = 0.99892
#: At half of the gap both classes are called right equally often.
RIGHT = NormalDist().cdf(GAP / 2)
TRUTH = {"auroc": 0.76, "accuracy": RIGHT, "f1": RIGHT}


def draw_models(rng, *, models=1, folds=5, patients=24, cases_per_patient=2, seeds=1, gaps=None):
    """Runs of each model; half of a score's variance is the patient's, half of that is shared."""
    found = [[] for _ in range(models)]
    for fold in range(folds):
        labels = np.repeat(rng.integers(0, 2, patients), cases_per_patient)
        of = np.repeat(np.arange(patients), cases_per_patient)
        groups = np.array([f"{fold}-{i}" for i in of], dtype=object)
        cases = np.array([f"{fold}-{i:04d}" for i in range(len(of))], dtype=object)
        common = rng.normal(size=patients) / 2
        for model in range(models):
            own = rng.normal(size=patients) / 2
            gap = gaps[model] if gaps else GAP
            for seed in range(seeds):
                noise = rng.normal(size=len(labels)) * math.sqrt(0.5)
                probs = 1 / (1 + np.exp(-(gap * labels + (common + own)[of] + noise)))
                chosen = Selection(cases, groups, labels, np.stack([1 - probs, probs], axis=1))
                name, cut = f"model{model} fold{fold} seed{seed}", 1 / (1 + math.exp(-gap / 2))
                found[model].append(FoldRun(name, str(fold), {"t": chosen}, {"t": cut}))
    return found
