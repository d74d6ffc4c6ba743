"""scikit-learn's estimator face: a combo that is fitted to a DataFrame or an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from lightning_fabric import Fabric
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fusionzoo.api import PRECISIONS
from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.frame import TABLE, FrameDataset
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.roles import Roles
from fusionzoo.data.splits import Split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.errors import BadOption, DataError, nearest
from fusionzoo.evaluation.predict import predict
from fusionzoo.grammar import parse
from fusionzoo.models.assemble import suggest
from fusionzoo.models.missing import check_present
from fusionzoo.spec import TaskSpec
from fusionzoo.training.checkpoint import random_state as generators
from fusionzoo.training.checkpoint import restore_random_state
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.observer import Observer
from fusionzoo.training.stages import Trainer

TARGET = "target"
DEVICES = ("auto", "cpu", "cuda", "mps")


class FusionClassifier(ClassifierMixin, BaseEstimator):
    """A combo as a scikit-learn classifier, for one task.

    `X` is an array of numbers, which become the modality `table`, or a DataFrame whose columns have
    the roles that are given here. A part of the cases that `fit` is given is held back to choose
    the epoch; no group is in both parts. What `fit` leaves in the random generators of Python,
    NumPy and PyTorch is what it found there.

    Args:
        spec: A spec string; images have the names given in `images`, columns are `table`.
        numeric: Columns of numbers; every column of a numeric type without another role where not
            given.
        categorical: Columns of categories: names, with the values found in training, or a mapping
            from name to all values. Other values are refused in `predict`.
        images: Per image modality, its role as in a `dataset.yaml`: `{"ct": {"column": "ct_path",
            "kind": "volume", "size": 32}}`.
        missing: What an empty cell becomes: `median`, `median+flag` or `refuse`.
        scale: `standard`, `minmax` or `none`.
        group: Column with the patient, whose cases stay together; `fit` also takes `groups`.
        root: Folder that paths are relative to; the current one where not given.
        validation: Share of the cases that is held back, about.
        training: Settings of training, as `fusionzoo.run` takes them.
        device: `cpu`, `cuda`, `mps` or `auto`.
        precision: `32-true`, `16-mixed`, `bf16-mixed` or `64-true`.
        random_state: Seed of weights, order, augmentation and the held-back part.

    Attributes:
        classes_: The classes, sorted.
        n_features_in_: Columns of `X`.
        feature_names_in_: Their names, where `X` was a DataFrame.
        model_: The trained model.
        history_: Epoch reports per stage.

    Raises:
        FusionZooError: The spec can't be read, its parts don't fit, or the data have mistakes; all
            of them are ValueErrors too.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> model = FusionClassifier(training={"fuse_epochs": 5}, random_state=0)
        >>> model.fit(X, X[:, 0] > 0).predict_proba(X).shape
        (60, 2)
    """

    def __init__(
        self,
        spec: str = "table=mlp -> linear",
        *,
        numeric: Sequence[str] | None = None,
        categorical: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        images: Mapping[str, Mapping[str, Any]] | None = None,
        missing: Literal["median", "median+flag", "refuse"] = "median",
        scale: Literal["standard", "minmax", "none"] = "standard",
        group: str | None = None,
        root: str | Path | None = None,
        validation: float = 0.15,
        training: Mapping[str, Any] | None = None,
        device: str = "cpu",
        precision: str = "32-true",
        random_state: Any = None,
    ):
        self.spec = spec
        self.numeric = numeric
        self.categorical = categorical
        self.images = images
        self.missing = missing
        self.scale = scale
        self.group = group
        self.root = root
        self.validation = validation
        self.training = training
        self.device = device
        self.precision = precision
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "refuse"
        tags.input_tags.string = self.categorical is not None or self.images is not None
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> FusionClassifier:
        """Train on cases and their classes.

        Args:
            X: `cases columns`, an array of numbers or a DataFrame.
            y: Class of each case.
            groups: Patient of each case; over the column `group`.
        """
        X, y = self._validated_both(X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"FusionClassifier needs two classes or more; the data have {len(self.classes_)} "
                f"class ({str(self.classes_[0])!r})."
            )
        frame = self._frame(X)
        self._roles = self._named_roles(frame)
        dataset = self._dataset(frame, codes, self._groups(frame, groups))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        before = generators()
        try:
            self._train(dataset, codes, seed)
        finally:
            restore_random_state(before)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, `cases classes`, in the order of `classes_`."""
        check_is_fitted(self)
        frame = self._frame(self._validated(X))
        dataset = self._dataset(frame, None, None)
        self._refuse_absent(dataset)
        loader = CaseLoader(
            dataset,
            np.arange(len(frame)),
            self.encoders_,
            batch_size=self._config.batch_size,
            modalities=self._combo.modalities,
        )
        device = next(self.model_.parameters()).device
        _, found = predict(self.model_, loader, dataset.spec.tasks, device)
        return found[TARGET]

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each case."""
        probs = self.predict_proba(X)
        return np.asarray(self.classes_[probs.argmax(axis=1)])

    @property
    def _plain(self) -> bool:
        """Whether `X` is nothing but numbers."""
        return all(
            role is None for role in (self.numeric, self.categorical, self.images, self.group)
        )

    def _validated(self, X: Any) -> Any:
        """`X` of new cases, checked as scikit-learn does."""
        if self._plain:
            return validate_data(self, X, reset=False, **self._numbers)
        self._refuse_other_than_frames(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def _validated_both(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """`X` and `y` of training cases, checked as scikit-learn does."""
        if self._plain:
            X, y = validate_data(self, X, y, **self._numbers)
        else:
            self._refuse_other_than_frames(X)
            validate_data(self, X, y, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            if len(y) != len(X):
                raise ValueError(f"X has {len(X)} rows and y has {len(y)}. Give one class a row.")
        check_classification_targets(y)
        return X, y

    @property
    def _numbers(self) -> dict[str, Any]:
        finite = True if self.missing == "refuse" else "allow-nan"
        return {"dtype": np.float64, "ensure_all_finite": finite}

    def _refuse_other_than_frames(self, X: Any) -> None:
        if not isinstance(X, pd.DataFrame):
            raise ValueError(
                f"Columns have roles by name, so X must be a pandas DataFrame, not "
                f"{type(X).__name__}."
            )

    def _frame(self, X: Any) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            return X
        names = getattr(self, "feature_names_in_", [f"x{k}" for k in range(X.shape[1])])
        return pd.DataFrame(X, columns=list(names))

    def _named_roles(self, frame: pd.DataFrame) -> Roles:
        """The roles of the columns, read as strictly as a `dataset.yaml`."""
        numeric, categorical = self._table_columns(frame)
        told: dict[str, Any] = {"images": {k: dict(v) for k, v in (self.images or {}).items()}}
        if not told["images"]:
            del told["images"]
        if numeric or categorical:
            told["table"] = {"missing": self.missing, "scale": self.scale}
            if numeric:
                told["table"]["numeric"] = numeric
            if categorical:
                told["table"]["categorical"] = categorical
        classes = {"column": TARGET, "type": "binary", "classes": ["0", "1"]}
        roles = parse_roles(
            yaml.safe_dump({**told, "targets": {TARGET: classes}}, allow_unicode=True),
            "the roles of FusionClassifier",
        )
        self._refuse_columns(frame, [*(role.column for role in roles.images)])
        return roles

    def _table_columns(self, frame: pd.DataFrame) -> tuple[list[str], dict[str, list[str]]]:
        given = self.categorical or {}
        images = [role.get("column") for role in (self.images or {}).values()]
        self._refuse_columns(frame, [*(self.numeric or ()), *given, *filter(None, [self.group])])
        if isinstance(given, Mapping):
            categorical = {str(name): list(map(str, values)) for name, values in given.items()}
        else:
            categorical = {
                str(name): sorted({_word(cell) for cell in frame[name].dropna()}) for name in given
            }
        if self.numeric is not None:
            return list(map(str, self.numeric)), categorical
        taken = {*categorical, *images, self.group}
        types = frame.dtypes
        numeric = [
            str(name)
            for name in frame.columns
            if name not in taken and pd.api.types.is_numeric_dtype(types[name])
        ]
        return numeric, categorical

    def _refuse_columns(self, frame: pd.DataFrame, names: Sequence[str]) -> None:
        known = list(map(str, frame.columns))
        absent = [
            f"there is no column {name!r}. {nearest(name, known)}It has: {', '.join(known)}."
            for name in names
            if name not in known
        ]
        if absent:
            raise DataError(absent, "the DataFrame")

    def _groups(self, frame: pd.DataFrame, groups: Any) -> np.ndarray | None:
        if groups is None:
            return None if self.group is None else frame[self.group].astype(str).to_numpy()
        if len(groups) != len(frame):
            raise ValueError(f"X has {len(frame)} rows and groups has {len(groups)}.")
        return np.asarray(groups).astype(str)

    def _dataset(
        self, frame: pd.DataFrame, codes: np.ndarray | None, groups: np.ndarray | None
    ) -> FrameDataset:
        return FrameDataset(
            frame,
            columns=self._roles.tables.get(TABLE),
            images=self._roles.images,
            root=Path() if self.root is None else Path(self.root),
            task=TaskSpec(TARGET, tuple(map(str, range(len(self.classes_))))),
            codes=codes,
            groups=groups,
        )

    def _refuse_absent(self, dataset: FrameDataset) -> None:
        present = {name: dataset.present(name) for name in self._combo.modalities}
        check_present(self._combo, present, dataset.cases, "the DataFrame")

    def _train(self, dataset: FrameDataset, codes: np.ndarray, seed: int) -> None:
        self._combo = suggest(parse(self.spec), dataset.spec)
        self._config = TrainConfig.from_settings({"baselines": "none"}, self.training or {})
        split = self._held_back(codes, dataset.groups, seed)
        self._refuse_absent(dataset)
        self.encoders_ = fit_encoders(dataset, split.train)
        trained = Trainer(
            self._combo,
            dataset,
            split,
            self.encoders_,
            self._config,
            seed=seed,
            fabric=self._fabric(),
            folder=None,
            identity="",
            observer=Observer(),
        ).train()
        self.model_ = trained.models[trained.main].eval()
        self.history_ = trained.history

    def _fabric(self) -> Fabric:
        for what, value, known in (
            ("device", self.device, DEVICES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise BadOption(f"There is no {what} {value!r}. Use one of: {', '.join(known)}.")
        precision: Any = self.precision
        return Fabric(accelerator=self.device, devices=1, precision=precision)

    def _held_back(self, codes: np.ndarray, groups: np.ndarray, seed: int) -> Split:
        """Train and validation parts: every class in both, no group in two."""
        if not 0 < self.validation <= 0.5:
            raise BadOption(
                f"validation is the share that is held back, above 0 and up to 0.5, not "
                f"{self.validation}."
            )
        counts = [len(set(groups[codes == code])) for code in range(len(self.classes_))]
        if min(counts) < 2:
            few = str(self.classes_[int(np.argmin(counts))])
            raise ValueError(
                f"Class {few!r} has n_samples=1 (or one group); training and validation need one "
                "sample each."
            )
        folds = max(2, min(round(1 / self.validation), *counts))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        train, val = next(splitter.split(codes, codes, groups))
        return Split(train, val, val[:0], "held back", "")


def _word(cell: object) -> str:
    """A category as text, `2` for 2.0."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


__all__ = ["FusionClassifier"]
