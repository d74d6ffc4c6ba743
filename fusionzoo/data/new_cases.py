"""New cases for a finished run: its data set's roles as a `dataset.yaml`, over another manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.datasets.manifest import Manifest


def roles_text(dataset: AbstractDataset) -> str:
    """The `dataset.yaml` under which new cases of a data set can be given as a manifest.

    A manifest's own text is kept. For a data set with a reader of its own, images and volumes are
    read from the column of their name, at the size and in the scale that the data set gives them
    (see `AbstractDataset.image`), or as its `preparation` says; one that no yaml can prepare is
    left out.
    """
    if isinstance(dataset, Manifest):
        return dataset.roles.text
    told = _roles(dataset)
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _roles(dataset: AbstractDataset) -> dict[str, Any]:
    spec = dataset.spec
    kinds = {("volume", 1): "volume", ("image", 3): "rgb", ("image", 1): "gray"}
    images = {}
    for m in spec.modalities:
        more = dataset.preparation.get(m.name, {})
        if (m.kind, m.channels) in kinds and more is not None:
            kind = kinds[m.kind, m.channels]
            images[m.name] = {"column": m.name, "kind": kind, "size": list(m.size), **more}
    tables = {
        name: {
            "numeric": list(roles.numeric),
            "categorical": {column: list(values) for column, values in roles.categorical.items()},
            "missing": roles.missing,
            "scale": roles.scale,
        }
        for name, roles in dataset.columns.items()
    }
    targets = {
        t.name: {"column": t.name, "type": "multiclass", "classes": list(t.classes)}
        for t in spec.tasks
    }
    return {"schema": 1, "name": spec.name, "images": images, "tables": tables, "targets": targets}


def open_new_cases(
    manifest: Path,
    roles: Path,
    *,
    root: str | Path | None = None,
    optional: Sequence[str] = (),
) -> AbstractDataset:
    """New cases without targets, read as strictly as those that the run was trained on.

    Args:
        manifest: The new cases.
        roles: The `dataset.yaml` that was kept with the run.
        root: Folder that paths are relative to; the manifest's own where not given.
        optional: Images that a case may be without.

    Raises:
        DataError: Everything that is wrong, unknown categories and words in number columns
            included.
    """
    return Manifest(path=manifest, roles=roles, root=root, predict=True, optional=tuple(optional))
