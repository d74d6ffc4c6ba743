"""From a text to a data set: a name with options, or the path of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusionzoo import registry
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.errors import BadOption
from fusionzoo.grammar import parse_chain

MANIFEST_SUFFIXES = (".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".parquet")


def is_path(text: str) -> bool:
    """Whether a data set is named by the path of its manifest."""
    return text.lower().endswith(MANIFEST_SUFFIXES) or ("/" in text and "(" not in text)


def open_dataset(dataset: str | AbstractDataset, **overrides: Any) -> AbstractDataset:
    """Open a data set.

    Args:
        dataset: `lidc`, `lidc(size='5-20mm')`, the path of a manifest or its `dataset.yaml`, or one
            already open.
        overrides: Options over those in the text.

    Raises:
        UnknownComponent: No data set has that name.
        BadOption: It doesn't take that option.
        DataError: Everything that is wrong with the data.
    """
    if isinstance(dataset, AbstractDataset):
        return dataset
    given: dict[str, Any]
    if is_path(dataset):
        name, given = "manifest", {"path": str(Path(dataset).expanduser())}
    else:
        chain = parse_chain(dataset)
        if len(chain.calls) != 1:
            raise BadOption(f"A run uses one data set; {dataset!r} names {len(chain.calls)}.")
        name, given = chain.calls[0].name, dict(chain.calls[0].options)
    options = registry.bind("dataset", name, {**given, **overrides}, dataset)
    return registry.load("dataset", name)(**options)


def dataset_text(dataset: str | AbstractDataset) -> str:
    """How to open a data set again, as text; a manifest by its absolute path."""
    if isinstance(dataset, AbstractDataset):
        return dataset.spec.name
    return (
        str(Path(dataset).expanduser().resolve()) if is_path(dataset) else str(parse_chain(dataset))
    )
