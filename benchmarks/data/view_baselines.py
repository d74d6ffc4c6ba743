"""What the two images of `lidc_views` hold, alone and together, for a plain linear model.

    python benchmarks/data/view_baselines.py

prints the table of docs/datasets/lidc_views.md: one-vs-rest AUROC, mean over the five folds of
`make_split` (fitted on training and validation rows, measured on test rows), of logistic regression
(C = 0.01) on standardised features of each image: size, moments, lengths of edges, rings around the
centre, and edges by direction and distance. The last column has an axial slice at true scale in
place of both images.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fusionzoo.data.datasets.lidc_views import READERS, LidcViews
from fusionzoo.data.lidc_nodules import read_nodules
from fusionzoo.data.splits import Split, make_split

COLUMNS = {
    "coronal": ("coronal",),
    "axial": ("axial",),
    "both": ("coronal", "axial"),
    "axial slice at scale": ("slice",),
}
FOLDS = 5


def features(images: np.ndarray) -> np.ndarray:
    """Features of `(cases, height, width)` drawings in [0, 1], one row a case."""
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]] - (images.shape[1] - 1) / 2
    radius = np.hypot(rows, columns)
    area = images.sum(axis=(1, 2)) + 1e-6
    down, right = np.gradient(images, axis=(1, 2))
    edge, angle = np.hypot(down, right), np.arctan2(down, right)
    second = [(images * p).sum(axis=(1, 2)) / area for p in (rows**2, columns**2, rows * columns)]
    spread = second[0] + second[1]
    roundness = np.sqrt(np.maximum(second[0] * second[1] - second[2] ** 2, 1e-6)) / (spread + 1e-6)
    length, doubt = edge.sum(axis=(1, 2)), (images * (1 - images)).sum(axis=(1, 2))
    told = [np.log(area), np.log(length + 1e-3), length**2 / area, spread, roundness]
    told += [doubt, doubt / area, images.max(axis=(1, 2))]
    told += [images[:, (radius >= r) & (radius < r + 2)].mean(axis=1) for r in range(0, 16, 2)]
    for octant in range(8):
        turned = (angle >= (octant - 4) * np.pi / 4) & (angle < (octant - 3) * np.pi / 4)
        told += [
            (edge * turned)[:, (radius >= low) & (radius < high)].sum(axis=1)
            for low, high in ((0, 5), (5, 10), (10, 23))
        ]
    return np.stack(told, axis=1)


def inputs(dataset: LidcViews) -> dict[str, np.ndarray]:
    """Features of each image, and of the axial slices through the middle of the nodules."""
    count = range(len(dataset.cases))
    found = {
        m.name: features(np.stack([dataset.image(m.name, k)[0] for k in count]))
        for m in dataset.spec.modalities
    }
    read = read_nodules("volume", "num_readers")
    middle = read["volume"][read["num_readers"] >= READERS, 15:17].mean(axis=1) / 255
    return found | {"slice": features(middle)}


def fold_auroc(x: np.ndarray, codes: np.ndarray, split: Split) -> float:
    """One-vs-rest AUROC on the test rows of a fold."""
    fitted = np.concatenate([split.train, split.val])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    probs = model.fit(x[fitted], codes[fitted]).predict_proba(x[split.test])
    truth = codes[split.test]
    return float(np.mean([roc_auc_score(truth == k, probs[:, k]) for k in range(probs.shape[1])]))


def measure(
    dataset: LidcViews, tasks: Sequence[str], folds: int = FOLDS
) -> dict[str, dict[str, list[float]]]:
    """Per task and column, the AUROC of each fold."""
    x = inputs(dataset)
    splits = [make_split(dataset, fold=fold) for fold in range(folds)]
    return {
        task: {
            name: [
                fold_auroc(np.hstack([x[part] for part in parts]), dataset.targets[task], split)
                for split in splits
            ]
            for name, parts in COLUMNS.items()
        }
        for task in tasks
    }


def table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The table as Markdown, with the means over tasks."""
    lines = [f"| task | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for task, columns in found.items():
        lines.append(f"| {task} | {' | '.join(f'{np.mean(v):.3f}' for v in columns.values())} |")
    means = {
        name: np.mean([columns[name] for columns in found.values()], axis=0) for name in COLUMNS
    }
    lines.append(f"| **mean** | {' | '.join(f'**{m.mean():.3f}**' for m in means.values())} |")
    gain = means["both"] - np.maximum(means["coronal"], means["axial"])
    lines += ["", f"both minus the better one, per fold: {', '.join(f'{g:+.3f}' for g in gain)}"]
    return "\n".join(lines)


if __name__ == "__main__":
    views = LidcViews()
    sys.stdout.write(table(measure(views, list(views.targets))) + "\n")
