"""What augmentations promise: changes that depend on the cases' keys and on nothing else."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fusionzoo.conformance.examination import Check, Examination, difference
from fusionzoo.conformance.quiet import PYTHON, random_states, seeded, watch
from fusionzoo.conformance.report import Fault
from fusionzoo.data.transforms import case_keys
from fusionzoo.errors import FusionZooError
from fusionzoo.interface import AbstractAugmentation
from fusionzoo.spec import Modality

_KIND = frozenset({"augmentation"})
_CASES = 6
_MODALITIES = (
    Modality("image", "image", 3, (16, 16)),
    Modality("image", "image", 1, (24, 18)),
    Modality("volume", "volume", 1, (8, 16, 16)),
    Modality("volume", "volume", 2, (6, 12, 18)),
)


def _built(examined: Examination) -> Iterator[tuple[Modality, AbstractAugmentation]]:
    """The augmentation for every modality of a kind that it accepts and doesn't refuse."""
    made = 0
    for modality in _MODALITIES:
        if modality.kind not in examined.cls.accepts:
            continue
        try:
            part = examined.cls(modality, **examined.subject.options)
        except FusionZooError:
            continue
        made += 1
        yield modality, part
    if not made:
        raise Fault("It can be built for none of the images and volumes that it says it accepts.")


def _batch(modality: Modality, cases: int = _CASES) -> tuple[Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(cases, *modality.shape, generator=generator)
    return x, case_keys(0, 0, np.arange(cases))


def check_shapes(examined: Examination) -> None:
    """What comes out has the shape and type of what went in, which stays as it was."""
    for modality, part in _built(examined):
        x, keys = _batch(modality)
        before = x.clone()
        changed = part(x, keys)
        what = f"{modality.name} {modality.shape}"
        if changed.shape != x.shape or changed.dtype != x.dtype:
            raise Fault(
                f"Of {what} it makes {changed.dtype} {tuple(changed.shape)} from {x.dtype} "
                f"{tuple(x.shape)}."
            )
        if not bool(torch.isfinite(changed).all()):
            raise Fault(f"Of {what} it makes values that are not finite.")
        if not torch.equal(x, before):
            raise Fault(f"It changes the batch of {what} itself; give a changed copy.")


def check_keys(examined: Examination) -> None:
    """The same keys change a case in the same way, others in another, in any company."""
    for modality, part in _built(examined):
        x, keys = _batch(modality)
        what = f"{modality.name} {modality.shape}"
        with seeded(1):
            before = random_states()
            first = {"it": part(x, keys)}
            drawn = [n for n, s in random_states().items() if s != before[n] and n != PYTHON]
        if drawn:
            raise Fault(f"For {what} it draws from {' and '.join(drawn)}; draw from the keys.")
        with seeded(2):
            apart = difference({"it": part(x, keys)}, first)
        if apart:
            raise Fault(f"For {what} the same keys give two results: {apart}.")
        alone = torch.cat([part(x[k : k + 1], keys[k : k + 1]) for k in range(_CASES)])
        apart = difference({"it": alone}, first, tolerance=1e-5)
        if apart:
            raise Fault(f"For {what} a case alone is changed in another way: {apart}.")
        other = part(x, case_keys(0, 1, np.arange(_CASES)))
        if torch.equal(other, first["it"]):
            raise Fault(f"For {what}, another epoch's keys change nothing.")


def check_quiet(examined: Examination) -> None:
    """Building and using it does nothing to the process."""
    modality, part = next(iter(_built(examined)))
    x, keys = _batch(modality)
    part(x, keys)
    with watch() as deeds:
        examined.cls(modality, **examined.subject.options)(x, keys)
    if deeds:
        raise Fault(f"Using it {'; '.join(deeds[:4])}.")


CHECKS: tuple[Check, ...] = (
    Check(
        "shapes",
        "It gives a changed copy of the same shape and type.",
        check_shapes,
        _KIND,
    ),
    Check(
        "keys",
        "What it draws depends on the cases' keys and on nothing else.",
        check_keys,
        _KIND,
        after=("shapes",),
    ),
    Check(
        "use",
        "Building and using it prints nothing and opens no files or connections.",
        check_quiet,
        _KIND,
        after=("shapes",),
    ),
)
