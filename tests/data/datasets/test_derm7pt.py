"""Derm7pt as it is unpacked, small: labels, split, images, metadata, everything wrong at once."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from fusionzoo.conformance import check as conforms
from fusionzoo.data.datasets.derm7pt import NORMALISATIONS, Derm7pt
from fusionzoo.data.derm7pt_labels import LEAKS, TASKS
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.new_cases import roles_text
from fusionzoo.data.splits import make_split
from fusionzoo.errors import BadOption, DataError
from tests.derm7pt_generator import LISTS, edit, read_table, write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release that tests must not change."""
    return write_release(tmp_path_factory.mktemp("derm7pt"))


@pytest.fixture
def own(release, tmp_path):
    """A copy to break, and its meta.csv."""
    shutil.copytree(release, tmp_path / "copy")
    return tmp_path / "copy", tmp_path / "copy" / "release_v0" / "meta" / "meta.csv"


def refused(root, **options):
    with pytest.raises(DataError) as caught:
        Derm7pt(root=str(root), **options)
    return str(caught.value)


def test_cases_tasks_and_classes(release):
    opened = Derm7pt(root=str(release), size=16)
    assert len(opened.cases) == len(set(opened.groups)) == 45
    assert [m.shape for m in opened.spec.modalities] == [(3, 16, 16)] * 2
    assert [m.name for m in opened.spec.modalities] == ["clinic", "derm"]
    assert [len(task.classes) for task in opened.spec.tasks] == [5, 3, 2, 3, 3, 3, 3, 2]
    assert sum(len(task.classes) for task in opened.spec.tasks) == 24
    assert not opened.columns
    rows = read_table(release / "release_v0" / "meta" / "meta.csv")
    for row, code in zip(rows, opened.targets["diagnosis"], strict=True):
        assert row["diagnosis"] in list(TASKS["diagnosis"].values())[code]
    wreath = [k for k, row in enumerate(rows) if row["vascular_structures"] == "wreath"]
    dotted = [k for k, row in enumerate(rows) if row["vascular_structures"] == "dotted"]
    assert set(opened.targets["vascular_structures"][wreath]) == {1}
    assert set(opened.targets["vascular_structures"][dotted]) == {2}


def test_the_split_is_the_release_s(release):
    opened = Derm7pt(root=str(release / "release_v0"), size=16)
    split = make_split(opened)
    for part, name in LISTS.items():
        listed = [int(row["indexes"]) for row in read_table(release / "release_v0/meta" / name)]
        assert getattr(split, part).tolist() == sorted(listed)
        assert listed != sorted(listed)
    assert split.scheme == "given"


def test_rows_of_the_lists_are_positions_and_not_case_numbers(own):
    root, meta = own
    edit(meta, case_num={k: str(1000 - k) for k in range(45)})
    opened = Derm7pt(root=str(root), size=16)
    assert opened.cases[0] == "case-1000"
    first = int(read_table(meta.parent / LISTS["test"])[0]["indexes"])
    assert opened.given_split[first] == "test"


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("normalise", ["none", "imagenet"])
def test_images_are_the_files(release, colour, normalise):
    opened = Derm7pt(root=str(release), size=32, crop=4, colour=colour, normalise=normalise)
    row = read_table(release / "release_v0" / "meta" / "meta.csv")[5]
    picture = Image.open(release / "release_v0" / "images" / row["derm"])
    width, height = picture.size
    box = (4, 4, width - 4, height - 4)
    small = picture.crop(box).resize((32, 32), Image.Resampling.BILINEAR)
    expected = np.moveaxis(np.asarray(small), -1, 0) / 255
    mean, std = NORMALISATIONS[normalise]
    if mean:
        expected = (expected - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    expected = expected[::-1] if colour == "bgr" else expected
    found = opened.image("derm", 5)
    assert found.dtype == np.float32
    assert found.shape == (3, 32, 32)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_table_is_off_and_says_what_leaks(release):
    assert not Derm7pt(root=str(release), size=16).spec.modalities[2:]
    clinical = Derm7pt(root=str(release), size=16, table="clinical")
    assert list(clinical.table("table").columns) == ["elevation", "sex", "location"]
    assert clinical.spec.modality("table").channels == 14
    assert not any("input" in line for line in clinical.warnings)
    published = Derm7pt(root=str(release), size=16, table="leaky_published")
    assert published.spec.modality("table").channels == 20
    told = [line for line in published.warnings if "as an input, though" in line]
    assert [name for name in LEAKS if any(repr(name) in line for line in told)] == [
        "management",
        "level_of_diagnostic_difficulty",
    ]
    score = Derm7pt(root=str(release), size=16, table="leaky_score")
    assert score.columns["table"].numeric == ("seven_point_score",)
    assert any(
        "'seven_point_score' as an input, though it is computed" in w for w in score.warnings
    )


def test_an_empty_cell_of_metadata_is_missing(own):
    root, meta = own
    edit(meta, sex={0: "", 1: "NA"}, elevation={2: ""})
    table = Derm7pt(root=str(root), size=16, table="clinical").table("table")
    assert table["sex"].isna().tolist()[:3] == [True, True, False]
    assert table["elevation"].isna().sum() == 1


def test_it_can_be_loaded(release):
    opened = Derm7pt(root=str(release), size=16)
    batch = CaseLoader(opened, np.arange(4), {}, batch_size=4).batch(0)
    assert {name: tuple(x.shape) for name, x in batch.inputs.items()} == {
        "clinic": (4, 3, 16, 16),
        "derm": (4, 3, 16, 16),
    }


def test_the_digest_follows_content_and_options_and_not_the_place(release, own):
    root, meta = own
    digest = Derm7pt(root=str(release), size=16).digest
    assert Derm7pt(root=str(root), size=16).digest == digest
    assert Derm7pt(root=str(root), size=16, colour="bgr").digest != digest
    edit(meta, streaks={0: "irregular", 1: "absent"})
    assert Derm7pt(root=str(root), size=16).digest != digest


def test_a_file_in_another_case_is_read_and_told(own):
    root, meta = own
    row = read_table(meta)[0]
    path = meta.parents[1] / "images" / row["clinic"]
    path.rename(path.with_name(path.name.lower()))
    opened = Derm7pt(root=str(root), size=16)
    (told,) = [line for line in opened.warnings if line.startswith("W20")]
    assert f"row 2, column 'clinic', value '{row['clinic']}': the file is written" in told
    assert path.name.lower() in told
    assert opened.image("clinic", 0).shape == (3, 16, 16)
    shutil.copy(path.with_name(path.name.lower()), path.with_name(path.name.title()))
    assert "are there, which differ in case alone. Keep one of them." in refused(root)


def test_everything_that_is_wrong_is_told_at_once(own):
    root, meta = own
    rows = read_table(meta)
    images = meta.parents[1] / "images"
    edit(
        meta,
        case_num={1: "1"},
        diagnosis={2: "melanom"},
        streaks={3: ""},
        derm={4: "", 5: "nowhere/x.jpg"},
        sex={6: "f"},
    )
    (images / rows[7]["clinic"]).write_bytes(b"")
    (images / rows[8]["derm"]).write_bytes((images / rows[8]["derm"]).read_bytes()[:40])
    tests = meta.parent / LISTS["test"]
    edit(tests, indexes={0: "45", 1: "x"})
    told = refused(root, size=16, table="clinical")
    for words in (
        "E03 row 3, column 'case_num', value '1': also in row 2.",
        "E10 row 4, column 'diagnosis', value 'melanom': not a label of the release. Closest: mel",
        "E10 row 5, column 'streaks', value '': not a label of the release. It has: absent, reg",
        "E04 row 6, column 'derm', value '': the cell is empty.",
        "E04 row 7, column 'derm', value 'nowhere/x.jpg': there is no such file below",
        "E09 row 8, column 'sex', value 'f': not one of the declared values.",
        "E05 row 9, column 'clinic'",
        "E11 row 2, column 'indexes', value '45': test_indexes.csv names no row of meta.csv, whose "
        "45 rows are 0 to 44.",
        "E11 row 3, column 'indexes', value 'x'",
        "counted from 0, is in none of the lists.",
    ):
        assert words in told
    edit(tests, indexes={0: read_table(meta.parent / LISTS["train"])[0]["indexes"]})
    assert "is in train_indexes.csv and in test_indexes.csv" in refused(root)


def test_damaged_images_are_found_by_their_headers_or_when_decoded(own):
    root, meta = own
    rows = read_table(meta)
    images = meta.parents[1] / "images"
    (images / rows[3]["derm"]).write_bytes(b"no picture at all")
    whole = (images / rows[4]["clinic"]).read_bytes()
    (images / rows[4]["clinic"]).write_bytes(whole[: len(whole) // 2])
    Image.new("L", (80, 80), 9).save(images / rows[5]["derm"], format="JPEG")
    told = refused(root, size=16)
    assert "E05 row 5, column 'derm'" in told
    assert "row 6" not in told
    told = refused(root, size=16, check="full")
    assert "E05 row 6, column 'clinic'" in told
    assert "E07 row 7, column 'derm'" in told
    assert "can't be cut off each border" in refused(root, size=16, crop=40)


def test_copies_in_two_parts_are_told(own):
    root, meta = own
    rows = read_table(meta)
    images = meta.parents[1] / "images"
    parts = Derm7pt(root=str(root), size=16).given_split
    one, two = (int(np.flatnonzero(parts == part)[0]) for part in ("train", "test"))
    shutil.copy(images / rows[one]["derm"], images / rows[two]["derm"])
    edit(meta, case_id={one: "p7", two: "p7"})
    warnings = Derm7pt(root=str(root), size=16, check="full").warnings
    (told,) = [line for line in warnings if line.startswith("W14")]
    places = sorted([(one, "train"), (two, "test")])
    named = ", ".join(f"{place + 1} ({part})" for place, part in places)
    assert f"cases {named} have the same file content" in told
    assert any("1 values of case_id are in two parts, such as 'p7'" in line for line in warnings)
    assert any("W21: this is not the whole release: 45 all (released: 1011)" in w for w in warnings)


def test_a_folder_that_is_no_release(tmp_path, own):
    assert "E01: there is no meta/meta.csv below" in refused(tmp_path)
    root, meta = own
    (meta.parent / LISTS["val"]).unlink()
    assert "valid_indexes.csv" in refused(root)
    text = meta.read_text().replace("pigment_network", "pigment network")
    meta.write_text(text)
    told = refused(root)
    assert "E02 column 'pigment_network'" in told
    assert "Closest: pigment network" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": "grb", "table": "all"}, "colour='grb' is none of rgb, bgr; table='all' is"),
        ({"normalise": "yes"}, "normalise='yes' is none of none, imagenet"),
        ({"size": 4, "crop": -1}, "size=4 is less than 8; crop=-1 is less than 0"),
        ({"check": "none"}, "check='none' is none of headers, full"),
    ],
)
def test_options_that_can_not_be(release, options, words):
    with pytest.raises(BadOption) as caught:
        Derm7pt(root=str(release), **options)
    assert f"Data set 'derm7pt' can't be opened so: {words}" in str(caught.value)


def test_new_cases_are_prepared_alike_or_not_at_all(release):
    told = roles_text(Derm7pt(root=str(release), size=16, normalise="imagenet"))
    assert yaml.safe_load(told)["images"]["derm"] == {
        "column": "derm",
        "kind": "rgb",
        "size": [16, 16],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    for options in ({"colour": "bgr"}, {"crop": 2}):
        told = roles_text(Derm7pt(root=str(release), size=16, **options))
        assert yaml.safe_load(told)["images"] == {}


def test_about_says_where_from_and_what_not():
    for words in ("derm.cs.sfu.ca", "10.1109/JBHI.2018.2824327", "patients aren't known"):
        assert words in Derm7pt.about


def test_it_keeps_what_data_sets_promise(release):
    conforms(f"derm7pt(root={str(release)!r}, size=16)").require(at_least=11)
