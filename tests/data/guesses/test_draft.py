"""A first `dataset.yaml` for manifests of many kinds; what it says can be read and used."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fusionzoo.data.check_report import check_data
from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.guesses.draft import draft, open_rows
from fusionzoo.data.guesses.said import Said
from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import read_rows
from fusionzoo.errors import DataError
from tests import small_manifest
from tests.data.nifti_files import nifti
from tests.dicom_generator import write_series


def drafted(path, **said):
    known = Said(**said)
    return draft(open_rows(path, known), path, path.parent / "dataset.yaml", known)


def problems_of(path):
    problems = Problems()
    read_rows(path, problems)
    return problems.found


def table(folder, **columns):
    """A CSV of these columns."""
    path = folder / "rows.csv"
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path.write_text(file.getvalue(), encoding="utf-8")
    return path


def comment(text, key):
    (line,) = (x for x in text.splitlines() if x.strip().startswith((f"{key}:", f"- {key}")))
    return line.partition("# guess: ")[2]


def test_the_small_data_set_is_guessed_as_its_owner_wrote_it(tmp_path):
    path = small_manifest.write(tmp_path / "small")
    mine = parse_roles(path.read_text())
    text = drafted(path.parent / "manifest.csv")
    roles = parse_roles(text)
    assert (roles.id, roles.group, roles.split) == (mine.id, mine.group, mine.split)
    assert roles.images == mine.images
    assert roles.tables == mine.tables
    assert roles.targets == mine.targets
    assert "24 patients in 28 rows, so some have several cases" in comment(text, "group")
    assert "#   fold: its name says an id or a split" in text
    path.write_text(text)
    assert check_data(path).ok


def test_every_guess_has_a_reason_and_what_was_said_has_none(tmp_path):
    path = small_manifest.write(tmp_path / "small").parent / "manifest.csv"
    said = {"id": "case_id", "group": "patient", "split": "-", "name": "mine"}
    said |= {"images": {"scan": "ct_path"}, "kinds": {"scan": "volume"}, "numeric": ("age",)}
    said |= {"categorical": ("sex",), "targets": ("relapse",), "positive": "0"}
    text = drafted(path, **said, ignore=("weight", "stage", "fold"))
    roles = parse_roles(text)
    assert roles.images[0].name == "scan"
    assert roles.targets[0].classes == ("1", "0")
    assert (roles.name, roles.split) == ("mine", None)
    for key in ("id", "group", "name", "kind", "- age", "classes"):
        assert comment(text, key.removeprefix("- ")) == ""
    assert comment(text, "size") != ""
    assert "#   weight: said to be ignored" in text


def columns(num=40):
    rng = np.random.default_rng(0)
    labels = ["benign", "malignant"] * (num // 2)
    return {
        "study_uid": [f"1.2.{i}" for i in range(num)],
        "subject": [f"s{i // 2}" for i in range(num)],
        "age": [f"{x:.0f}" for x in rng.normal(60, 9, num)],
        "ki67": [*(f"{x:.1f}" for x in rng.normal(20, 5, num - 1)), "12,5"],
        "smoker": list(rng.choice(["yes", "no"], num)),
        "visit": [f"2021-03-{1 + i % 28:02d}" for i in range(num)],
        "remark": [f"text {i}" for i in range(num)],
        "clinic": ["A"] * num,
        "row_no": list(range(num)),
        "code": [f"{'BM'[i % 2]}" for i in range(num)],
        "survival": list(rng.integers(1, 90, num)),
        "empty": [""] * num,
        "finding": labels,
    }


def test_a_table_alone(tmp_path):
    text = drafted(table(tmp_path, **columns()))
    roles = parse_roles(text)
    assert (roles.id, roles.group) == ("study_uid", "subject")
    assert roles.tables["table"].numeric == ("age", "ki67")
    assert roles.tables["table"].categorical == {"smoker": ("no", "yes")}
    assert roles.targets[0].classes == ("benign", "malignant")
    assert "NOT SURE: the last column with few values (2)" in comment(text, "column")
    assert "but for 1 such as '12,5'" in comment(text, "ki67")
    unused = dict(
        line[4:].split(": ", 1) for line in text.splitlines() if line[:4] == "#   " and ": " in line
    )
    assert unused["visit"].startswith("dates")
    assert unused["remark"] == "40 different texts in 40 cells"
    assert unused["clinic"] == "it is 'A' throughout"
    assert unused["empty"] == "it is empty"
    assert unused["row_no"] == "it seems to number the rows"
    assert unused["code"].startswith("alone it says 'finding' (AUROC 1.00)")
    assert unused["survival"].startswith("its name says an outcome")


def test_words_that_yaml_reads_as_something_else_are_kept(tmp_path):
    given = columns()
    given["smoker"] = ["yes", "no", "null # x", "1e5", "yes"] * 8
    given["a: b"] = ["on", "off"] * 20
    given["finding"] = ["2", "10", "1", "10"] * 10
    roles = parse_roles(drafted(table(tmp_path, **given), targets=("finding",)))
    assert roles.tables["table"].categorical["smoker"] == ("1e5", "no", "null # x", "yes")
    assert roles.targets[0].classes == ("1", "2", "10")
    assert "a: b" not in roles.tables["table"].categorical  # it says the class 10


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8),
        st.lists(st.text(max_size=6), min_size=2, max_size=4),
        max_size=4,
    )
)
def test_whatever_the_cells_hold_the_draft_can_be_read(tmp_path_factory, others):
    folder = tmp_path_factory.mktemp("odd")
    given = {name: [values[i % len(values)] for i in range(12)] for name, values in others.items()}
    given = {n.strip(): v for n, v in given.items() if n.strip() not in ("", "case_id", "y")}
    given |= {"case_id": list(range(12)), "age": [50 + i % 7 for i in range(12)], "y": [0, 1] * 6}
    path = table(folder, **given)
    if problems_of(path):
        return
    assert parse_roles(drafted(path)).targets[0].name == "y"


@pytest.mark.parametrize(
    ("classes", "positive", "reason"),
    [
        (["0", "1"], "1", "the other is '0'"),
        (["pos", "neg"], "pos", "the other is 'neg'"),
        (["1", "2"], "2", "the larger number"),
        (["luad", "luad", "luad", "lusc"], "lusc", "NOT SURE: the rarer one (10 of 40)"),
    ],
)
def test_the_positive_class(tmp_path, classes, positive, reason):
    given = columns() | {"finding": (classes * 40)[:40]}
    text = drafted(table(tmp_path, **given), targets=("finding",))
    assert parse_roles(text).targets[0].classes[1] == positive
    assert comment(text, "classes").endswith(reason)


def test_several_classes_and_rows_without_a_label(tmp_path):
    given = columns() | {"finding": ["low", "mid", "high", ""] * 10}
    text = drafted(table(tmp_path, **given))
    (target,) = parse_roles(text).targets
    assert (target.classes, target.missing) == (("high", "low", "mid"), "ignore")
    assert comment(text, "missing") == "10 rows have no label"


def pictures(folder, mode="RGB", sizes=((40, 30),)):
    rng = np.random.default_rng(0)
    (folder / "pics").mkdir()
    for i in range(12):
        width, height = sizes[i % len(sizes)]
        shape = (height, width, 3) if mode == "RGB" else (height, width)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(
            folder / "pics" / f"{i}.png"
        )
    return {
        "id": list(range(12)),
        "file_name": [f"pics/{i}.png" for i in range(12)],
        "y": [0, 1] * 6,
    }


def test_pictures(tmp_path):
    text = drafted(table(tmp_path, **pictures(tmp_path)))
    (image,) = parse_roles(text).images
    assert (image.name, image.kind, image.size) == ("image", "rgb", (30, 40))
    assert "no column's name says patient or subject" in text
    assert "# group:" in text


def test_grey_pictures_of_many_sizes_some_absent(tmp_path):
    given = pictures(tmp_path, "L", ((40, 30), (900, 700)))
    given["file_name"][3] = ""
    text = drafted(table(tmp_path, **given))
    (image,) = parse_roles(text).images
    assert (image.kind, image.size, image.optional) == ("gray", (224, 224), True)
    assert comment(text, "size") == "files are 30x40 to 700x900; all are resized to this"


def test_volumes_of_several_voxel_sizes_below_another_root(tmp_path):
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        values = rng.normal(300, 90, (4, 10, 12)).astype(np.float32)
        affine = np.diag([-1.0, -1.0, 3.0 if i % 3 else 6.0, 1.0])
        nifti(tmp_path / "scans" / f"{i}.nii.gz", affine, values)
    given = {"id": list(range(12)), "mri": [f"{i}.nii.gz" for i in range(12)], "y": [0, 1] * 6}
    text = drafted(table(tmp_path, **given), root=tmp_path / "scans")
    roles = parse_roles(text)
    assert roles.root == "scans"
    (image,) = roles.images
    assert (image.name, image.kind, image.spacing_mm) == ("mri", "volume", (3.0, 1.0, 1.0))
    assert image.size == (8, 16, 16)
    assert image.window is not None
    assert 0 < image.window[0] < 300 < image.window[1] < 700
    assert "NOT SURE" in comment(text, "window")


def test_folders_of_dicom(tmp_path):
    names = [f"series{i}" for i in range(12)]
    for i, name in enumerate(names):
        write_series(tmp_path / name, num_slices=8, size=16, seed=i)
    given = {"id": list(range(12)), "study": names, "y": [0, 1] * 6}
    roles = parse_roles(drafted(table(tmp_path, **given)))
    (image,) = roles.images
    assert (image.name, image.kind, image.size) == ("study", "volume", (8, 16, 16))
    assert image.window == (-1000, 400)


def test_files_that_are_not_there_make_unsure_guesses(tmp_path):
    given = {"id": list(range(12)), "ct": [f"{i}.nii" for i in range(12)], "y": [0, 1] * 6}
    text = drafted(table(tmp_path, **given))
    assert comment(text, "kind") == "NOT SURE: no file could be opened"
    assert parse_roles(text).images[0].kind == "volume"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": [1] * 12, "age": [5] * 12}, "no column has a value of its own on each of the 12"),
        (
            {"y": [0] * 12, "age": [i / 7 for i in range(12)]},
            "no column could be the one to predict",
        ),
        ({"age": [5] * 12}, r"no column is left to predict from \(age: it is '5' throughout\)"),
    ],
)
def test_what_cannot_be_guessed_is_refused(tmp_path, change, words):
    given = {"id": list(range(12)), "age": [50 + i % 7 for i in range(12)], "y": [0, 1] * 6}
    with pytest.raises(DataError, match=words):
        drafted(table(tmp_path, **given | change))


def test_columns_that_are_not_there_are_refused_with_the_nearest_name(tmp_path):
    path = table(tmp_path, id=[1, 2], age=[3, 4], relapse=[0, 1])
    with pytest.raises(DataError, match=r"E02 column 'realpse'.*said to be a target. Closest: rel"):
        drafted(path, targets=("realpse",))
    with pytest.raises(DataError, match="column 'age' doesn't have a value of its own"):
        drafted(table(tmp_path, id=[1, 2], age=[3, 3], relapse=[0, 1]), id="age")


def test_an_id_that_is_there_twice_by_mistake(tmp_path):
    given = columns()
    given["study_uid"][7] = given["study_uid"][8]
    text = drafted(table(tmp_path, **given))
    assert parse_roles(text).id == "study_uid"
    assert comment(text, "id") == "NOT SURE: '1.2.8' is there twice"


def test_slips_of_the_pen_are_pointed_out(tmp_path):
    given = columns(80)
    given["smoker"][3] = "nno"
    given["finding"] = ["low", "mid", "high", "low"] * 20
    given["finding"][5] = "hgih"
    text = drafted(table(tmp_path, **given))
    assert comment(text, "smoker") == "the 3 values found; once only: 'nno'"
    assert comment(text, "classes") == "NOT SURE: the values found; once only: 'hgih'"
