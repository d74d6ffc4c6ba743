"""Every image encoder with every fusion and head: what fits, and why the rest doesn't."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionzoo import registry
from fusionzoo.errors import FusionZooError
from fusionzoo.grammar import Call
from fusionzoo.models.assemble import plan
from fusionzoo.spec import DataSpec, Modality, TaskSpec

#: What a refining fusion is followed by, and what tables go through.
JOIN, TABLE = "concat", "mlp"

_TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("grade", ("low", "middle", "high")))
_TABLE = Modality("table", "table", 5)
_IMAGES = {
    "image": tuple(Modality(name, "image", 3, (32, 32)) for name in ("image", "second")),
    "volume": tuple(Modality(name, "volume", 1, (8, 32, 32)) for name in ("image", "second")),
}


@dataclass(frozen=True)
class Cell:
    """One combination.

    Args:
        setting: Which modalities it reads.
        encoder: The image encoder.
        fusion: The fusion, with `+concat` where it refines and doesn't join.
        head: The head.
        spec: The whole spec string.
        refusal: Why it can't be; empty where it can.
    """

    setting: str
    encoder: str
    fusion: str
    head: str
    spec: str
    refusal: str

    @property
    def allowed(self) -> bool:
        """Whether the contract allows it."""
        return not self.refusal


def tiny_settings(kind: str) -> dict[str, DataSpec]:
    """The smallest data that a combination may read: image and table, two images, all three.

    Args:
        kind: `image` or `volume`.
    """
    first, second = _IMAGES[kind]
    inputs = {
        "image + table": (first, _TABLE),
        "two images": (first, second),
        "two images + table": (first, second, _TABLE),
    }
    small = small_options()
    return {name: DataSpec(name, found, _TASKS, small) for name, found in inputs.items()}


def small_options() -> dict[str, Mapping[str, Any]]:
    """Options of the smallest form of each part that has one; the others are taken as they come."""
    found: dict[str, Mapping[str, Any]] = {}
    for kind in ("encoder", "neck", "fusion", "head"):
        for name in registry.names(kind):
            try:
                small = registry.load(kind, name).small
            except FusionZooError:
                continue  # a plugin that is set aside
            found |= {name: small} if small else {}
    return found


def kind_of(encoder: str) -> str | None:
    """The kind of image that an encoder is tried on: `image` before `volume`, None for tables."""
    accepts = registry.load("encoder", encoder).accepts
    return next((kind for kind in ("image", "volume") if kind in accepts), None)


def walk(
    *,
    encoders: Sequence[str] | None = None,
    fusions: Sequence[str] | None = None,
    heads: Sequence[str] | None = None,
) -> Iterator[tuple[Cell, DataSpec]]:
    """Every combination of the parts named, or of all there are, resolved on the meta device.

    Every image goes through an encoder of its own, every table through `TABLE`. A cell comes with
    the data that it was resolved for.
    """
    for encoder in encoders or registry.names("encoder"):
        kind = kind_of(encoder)
        if kind is None:
            continue
        for setting, data in tiny_settings(kind).items():
            for fusion in fusions or registry.names("fusion"):
                for head in heads or registry.names("head"):
                    yield _cell(setting, data, encoder, fusion, head), data


def walk_data(
    data: DataSpec,
    *,
    encoders: Sequence[str] | None = None,
    fusions: Sequence[str] | None = None,
    heads: Sequence[str] | None = None,
) -> Iterator[Cell]:
    """The same for all modalities of one data set; encoders of none of its images are left out."""
    kinds = {modality.kind for modality in data.modalities} - {"table"}
    for encoder in encoders or registry.names("encoder"):
        if registry.load("encoder", encoder).accepts & kinds:
            for fusion in fusions or registry.names("fusion"):
                for head in heads or registry.names("head"):
                    yield _cell(data.name, data, encoder, fusion, head)


def _cell(setting: str, data: DataSpec, encoder: str, fusion: str, head: str) -> Cell:
    """One combination, tried."""
    branches = ", ".join(
        f"{m.name}={TABLE if m.kind == 'table' else _call(encoder, data)}" for m in data.modalities
    )
    if "join" not in registry.load("fusion", fusion).places:
        fusion = f"{fusion}+{JOIN}"
    spec = f"{branches} -> {fusion} -> {head}"
    refusal = ""
    try:
        plan(spec, data)
    except FusionZooError as error:
        refusal = str(error)
    return Cell(setting, encoder, fusion, head, spec, refusal)


def _call(name: str, data: DataSpec) -> str:
    """A part with the options that the data suggest, so that the spec says all of it."""
    options: Mapping[str, Any] = data.suggestions.get(name, {})
    return str(Call(name, tuple(options.items())))


__all__ = ["Cell", "kind_of", "small_options", "tiny_settings", "walk", "walk_data"]
