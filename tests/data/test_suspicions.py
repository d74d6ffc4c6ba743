import numpy as np
import pytest

from fusionzoo.data.datasets.manifest import Manifest
from tests import small_manifest

ROWS = range(2, 30)


def warnings(path) -> str:
    return "\n".join(Manifest(path=path).warnings)


def positives(path) -> list[bool]:
    return [row["relapse"] == "1" for row in small_manifest.read(path)]


def test_sound_data_have_no_warning(small_yaml):
    assert warnings(small_yaml) == ""


def test_w01_a_column_that_nearly_is_the_answer(small_yaml):
    values = [50 + 20 * y + i / 100 for i, y in enumerate(positives(small_yaml))]
    values[0] = 70.05  # above two of the twelve positive cases
    small_manifest.change(small_yaml, age=dict(zip(ROWS, map(str, values), strict=True)))
    text = warnings(small_yaml)
    assert "W01 column 'age': alone it tells class '1' of 'relapse' with an AUROC of 0.99" in text


def test_w02_names_that_tell_the_answer(small_yaml):
    ids = [f"{'AG'[y]}{i:04d}x" for i, y in enumerate(positives(small_yaml))]
    paths = []
    for case, row in zip(ids, small_manifest.read(small_yaml), strict=True):
        folder = small_yaml.parent / ("sick" if row["relapse"] == "1" else "well")
        folder.mkdir(exist_ok=True)
        (small_yaml.parent / row["ct_path"]).rename(folder / f"{case}.npy")
        paths.append(f"{folder.name}/{case}.npy")
    small_manifest.change(
        small_yaml,
        case_id=dict(zip(ROWS, ids, strict=True)),
        ct_path=dict(zip(ROWS, paths, strict=True)),
    )
    text = warnings(small_yaml)
    assert "W02 column 'case_id': its beginning tells class '1' of 'relapse'" in text
    assert (
        "W02 column 'ct_path': its folder tells class '1' of 'relapse' with an AUROC of 1.000"
        in text
    )
    assert "W02 column 'ct_path': its file name tells" in text


def test_w03_and_w04_empty_cells(small_yaml):
    cells = dict(zip(ROWS, ["" if y else "70.5" for y in positives(small_yaml)], strict=True))
    cells |= dict.fromkeys((2, 3, 5, 7), "")
    small_manifest.change(small_yaml, weight=cells)
    text = warnings(small_yaml)
    assert (
        "W03 column 'weight': empty in 100% of class '1' of 'relapse' and in 25% of the others"
        in text
    )
    assert "W04 column 'weight': 57% of the cells are empty. Leave it out?" in text
    assert "W05 column 'weight': every known cell is 70.5." in text


def test_w06_many_categories(small_yaml):
    small_manifest.replace(small_yaml, "[F, M]", f"[F, M, {', '.join(f'x{i}' for i in range(20))}]")
    assert "W06 column 'sex': 22 values in table 'table'. Merge rare ones." in warnings(small_yaml)


def test_w07_rare_classes(small_yaml):
    small_manifest.replace(small_yaml, "split: {column: split}", "")
    small_manifest.change(
        small_yaml,
        relapse={line: "1" if line == 5 else "0" for line in ROWS},
        split=dict.fromkeys(ROWS, "train") | {4: "test", 5: "test"},
    )
    rows = small_manifest.read(small_yaml)
    small_manifest.store(
        small_yaml, [{k: v for k, v in row.items() if k not in ("split", "fold")} for row in rows]
    )
    assert "W07 column 'relapse': class '1' of target 'relapse' has 3.6% of the cases" in warnings(
        small_yaml
    )


def test_w08_units(small_yaml):
    small_manifest.change(small_yaml, age={3: "612"}, weight={4: "0.07", 5: "0.08"})
    text = warnings(small_yaml)
    assert "W08 column 'age': 1 cells outside 0 to 120 years, as 612. Check the unit." in text
    assert "W08 column 'weight': 2 cells outside 2 to 400 kg, as 0.07." in text


def test_w10_a_shift_between_training_and_test(small_yaml):
    parts = [row["split"] for row in small_manifest.read(small_yaml)]
    weights = [f"{(60 if part == 'test' else 80) + i / 10:.1f}" for i, part in enumerate(parts)]
    small_manifest.change(small_yaml, weight=dict(zip(ROWS, weights, strict=True)))
    assert "W10 column 'weight': it tells test from training cases with an AUROC" in warnings(
        small_yaml
    )


def test_w11_every_case_its_own_group(small_yaml):
    small_manifest.replace(small_yaml, "group: patient", "group: case_id")
    assert "W11: every case is a group of its own. Is it really one case a patient?" in warnings(
        small_yaml
    )


def test_w14_the_same_image_in_two_groups(small_yaml):
    first, other = (small_yaml.parent / "scans" / f"{case}.npy" for case in ("p01v0", "p03v0"))
    other.write_bytes(first.read_bytes())
    assert "W14 row 4: the files of image 'ct' in rows 4, 6 have the same content" in warnings(
        small_yaml
    )


@pytest.mark.parametrize("num", [3, 30])
def test_warnings_are_no_errors(tmp_path, num):
    rng = np.random.default_rng(num)
    lines = [f"c{i},{rng.normal():.2f},{i % 2}" for i in range(num)]
    (tmp_path / "manifest.csv").write_text("\n".join(["case_id,age,y", *lines]))
    (tmp_path / "dataset.yaml").write_text(
        "table: {numeric: [age]}\ntargets: {y: {column: y, type: binary, positive: 1}}"
    )
    assert "W11" in warnings(tmp_path / "dataset.yaml")
