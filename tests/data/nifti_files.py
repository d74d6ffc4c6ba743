"""Volumes written as NIfTI, with or without the geometry that a reader needs."""

from pathlib import Path

import nibabel
import numpy as np

VOLUME = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
#: x is to the left, y to the back, z to the head: the order that is wanted, with 1, 2 and 3 mm.
LPS = np.diag([-1.0, -2.0, 3.0, 1.0])


def nifti(path: Path, affine: np.ndarray | None, values: np.ndarray, codes: bool = True) -> Path:
    """Save `(z, y, x)` values; without codes the header says nothing of the orientation."""
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine)
    if not codes:
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    nibabel.save(image, path)
    return path
