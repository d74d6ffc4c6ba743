"""From a text to a data set: a name with options, or the path of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusionzoo import registry
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.datasets.manifest import Manifest
from fusionzoo.data.renamed import Renamed
from fusionzoo.errors import BadOption
from fusionzoo.grammar import parse_chain

#: What gives modalities other names, in the place of a neck.
RENAME = "rename"
MANIFEST_SUFFIXES = (".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".parquet")


def is_path(text: str) -> bool:
    """Whether a data set is named by the path of its manifest."""
    return text.lower().endswith(MANIFEST_SUFFIXES) or ("/" in text and "(" not in text)


def open_dataset(dataset: str | AbstractDataset, **overrides: Any) -> AbstractDataset:
    """Open a data set.

    Args:
        dataset: `lidc`, `lidc(size='5-20mm')`, the path of a manifest or its `dataset.yaml`, or one
            already open. `+rename(new=old)` after a name calls modalities otherwise, so that specs
            written for another data set fit: `lidc_views+rename(clinic=coronal, derm=axial)`.
        overrides: Options over those in the text.

    Raises:
        UnknownComponent: No data set has that name.
        BadOption: It doesn't take that option, or its modalities can't be renamed so.
        DataError: Everything that is wrong with the data.
    """
    if isinstance(dataset, AbstractDataset):
        return dataset
    if is_path(dataset):
        return _opened("manifest", {"path": str(Path(dataset).expanduser())}, overrides, dataset)
    call, *more = parse_chain(dataset).calls
    if [other.name for other in more] not in ([], [RENAME]):
        raise BadOption(
            f"A run uses one data set; {dataset!r} names {len(more) + 1}. Only +{RENAME}(new=old) "
            "may follow it, once."
        )
    opened = _opened(call.name, dict(call.options), overrides, dataset)
    return _renamed(opened, dict(more[0].options)) if more else opened


def _opened(
    name: str, given: dict[str, Any], overrides: dict[str, Any], text: str
) -> AbstractDataset:
    options = registry.bind("dataset", name, {**given, **overrides}, text)
    return registry.load("dataset", name)(**options)


def _renamed(dataset: AbstractDataset, names: dict[str, Any]) -> AbstractDataset:
    if isinstance(dataset, Manifest):
        raise BadOption(
            "A manifest's modalities have the names of its dataset.yaml: change them there."
        )
    return Renamed(dataset, names)


def dataset_text(dataset: str | AbstractDataset) -> str:
    """How to open a data set again, as text; a manifest by its absolute path."""
    if isinstance(dataset, AbstractDataset):
        return dataset.spec.name
    return (
        str(Path(dataset).expanduser().resolve()) if is_path(dataset) else str(parse_chain(dataset))
    )
