"""A small data set with a volume and a table, for the tests of splits and loading."""

import numpy as np
import pandas as pd

from fusionzoo.data.dataset import AbstractDataset, TableColumns
from fusionzoo.spec import DataSpec, Modality, TaskSpec

SIZE = (2, 3, 3)


class ToyDataset(AbstractDataset):
    def __init__(self, groups, labels, *, num_classes=2, split=None, folds=None, absent=()):
        count = len(groups)
        self.cases = tuple(f"case-{row}" for row in range(count))
        self.groups = np.array([f"patient-{group}" for group in groups])
        self.targets = {"task": np.asarray(labels, dtype=np.int64)}
        self.columns = {"table": TableColumns(numeric=("age",), categorical={"sex": ("F", "M")})}
        self.given_split = None if split is None else np.array(split)
        self.given_folds = None if folds is None else np.array(folds)
        self.absent = list(absent)
        self.reads = []
        classes = tuple(f"class-{code}" for code in range(num_classes))
        self.spec = DataSpec(
            name="toy",
            modalities=(Modality("ct", "volume", 1, SIZE), Modality("table", "table", 3)),
            tasks=(TaskSpec("task", classes),),
        )

    @property
    def digest(self):
        return "0" * 64

    def image(self, modality, index):
        assert index not in self.absent, "an absent image was asked for"
        self.reads.append(index)
        return np.full((1, *SIZE), index + 1, dtype=np.float32)

    def table(self, modality):
        ages = np.arange(len(self.cases), dtype=np.float64)
        sexes = ["FM"[row % 2] for row in range(len(self.cases))]
        return pd.DataFrame({"age": ages, "sex": sexes})

    def present(self, modality):
        present = np.ones(len(self.cases), dtype=bool)
        if modality == "ct":
            present[self.absent] = False
        return present


def balanced(num_patients=40, per_patient=2):
    """Every second patient positive, the same number of cases each."""
    groups = np.repeat(np.arange(num_patients), per_patient)
    return ToyDataset(groups, groups % 2)
