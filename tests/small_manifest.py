"""A small data set of one's own, as a user would write it: volumes, a table and a binary target."""

import csv
from pathlib import Path

import numpy as np

NUM_PATIENTS = 24

YAML = """\
schema: 1
name: small
manifest: manifest.csv
id: case_id
group: patient
split: {{column: {split}}}
images:
  ct: {{column: ct_path, kind: volume, size: 16, window: [-1000, 400]}}
table:
  numeric: [age, weight]
  categorical: {{sex: [F, M], stage: ["1a", "1b", "2", is]}}
  missing: median+flag
targets:
  relapse: {{column: relapse, type: binary, positive: 1}}
"""


def write(folder: Path, *, split: str = "split", seed: int = 0) -> Path:
    """Write 24 patients with 28 cases below `folder` and give the path of the `dataset.yaml`.

    Volumes are 16 x 16 x 16 npy in HU: a bright ball that is larger in positive cases. Age and
    stage say a little, weight and sex nothing; about one cell in ten is empty.

    Args:
        folder: Where to write; made where it doesn't exist.
        split: Column that the yaml names: `split` (14 patients train, 5 val, 5 test) or `fold`
            (0, 1, 2).
        seed: Of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    (folder / "scans").mkdir(parents=True)
    rows = []
    for patient in range(NUM_PATIENTS):
        positive = patient % 2
        part = "train" if patient < 14 else "val" if patient < 19 else "test"
        for visit in range(2 if patient % 6 == 0 else 1):
            case = f"p{patient:02d}v{visit}"
            np.save(folder / "scans" / f"{case}.npy", _ball(rng, 3.0 + 2.0 * positive))
            cells = {
                "age": f"{rng.normal(55 + 8 * positive, 9):.0f}",
                "weight": f"{rng.normal(70, 12):.1f}",
                "sex": str(rng.choice(["F", "M"])),
                "stage": str(rng.choice(["1a", "1b", "2", "is"], p=[0.3, 0.3, 0.2, 0.2])),
            }
            kept = {name: "" if rng.random() < 0.1 else cell for name, cell in cells.items()}
            names = {"case_id": case, "patient": f"p{patient:02d}", "ct_path": f"scans/{case}.npy"}
            parts = {"split": part, "fold": str(patient // 2 % 3), "relapse": str(positive)}
            rows.append(names | kept | parts)
    path = folder / "dataset.yaml"
    path.write_text(YAML.format(split=split), encoding="utf-8")
    store(path, rows)
    return path


def _ball(rng: np.random.Generator, radius: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(16) - 7.5] * 3, indexing="ij"))
    inside = np.sqrt((grid**2).sum(axis=0)) < radius
    return (np.where(inside, 40.0, -800.0) + rng.normal(0, 30, (16, 16, 16))).astype(np.float32)


def read(path: Path) -> list[dict[str, str]]:
    """The rows of the manifest beside a `dataset.yaml`."""
    with (path.parent / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def change(path: Path, **columns: dict[int, str]) -> None:
    """Change cells of the manifest, `age={5: "4O"}`; rows are counted by line, the first is 2."""
    rows = read(path)
    for column, cells in columns.items():
        for row in rows:
            row.setdefault(column, "")
        for line, cell in cells.items():
            rows[line - 2][column] = cell
    store(path, rows)


def store(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the manifest beside a `dataset.yaml`."""
    with (path.parent / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def replace(path: Path, old: str, new: str) -> None:
    """Change one place of the `dataset.yaml`."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new), encoding="utf-8")
