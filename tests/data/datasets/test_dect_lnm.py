"""DECT-LNM: six crops a case as two images, folds by case, everything wrong at once."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fusionzoo.conformance import check as conforms
from fusionzoo.data.datasets.dect_lnm import MEAN, STD, DectLnm
from fusionzoo.data.splits import make_split
from fusionzoo.errors import BadOption, DataError
from tests.dect_generator import COLUMNS, read_rows, write_cases, write_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that tests must not change."""
    return write_cases(tmp_path_factory.mktemp("dect")).parent


@pytest.fixture
def own(folder, tmp_path):
    """A copy to break: its manifest."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy" / "manifest.csv"


def change(manifest, *, drop=(), **cells):
    rows = read_rows(manifest)
    for column, values in cells.items():
        for place, value in values.items():
            rows[place][column] = value
    write_rows(manifest, [{k: v for k, v in row.items() if k not in drop} for row in rows])


def refused(manifest, **options):
    with pytest.raises(DataError) as caught:
        DectLnm(root=str(manifest), size=16, **options)
    return str(caught.value)


def crop(folder, case, column):
    row = read_rows(folder / "manifest.csv")[case]
    picture = Image.open(folder / row[column])
    small = picture.convert("F").resize((16, 16), Image.Resampling.BILINEAR)
    return np.asarray(small) / 255


def test_three_crops_of_an_energy_are_the_channels_of_an_image(folder):
    opened = DectLnm(root=str(folder), size=16)
    assert [(m.name, m.shape) for m in opened.spec.modalities] == [
        ("low", (3, 16, 16)),
        ("high", (3, 16, 16)),
    ]
    assert len(opened.cases) == 20
    assert len(set(opened.groups)) == 10
    assert opened.targets["metastasis"].tolist() == [0, 1] * 10
    assert opened.spec.tasks[0].classes == ("absent", "present")
    found = opened.image("high", 7)
    assert found.dtype == np.float32
    for k in range(3):
        np.testing.assert_allclose(found[k], crop(folder, 7, f"img_high_{k}"), atol=1e-5)


def test_pairs_are_cases_of_their_own(folder):
    opened = DectLnm(root=str(folder), size=16, inputs="pairs")
    assert len(opened.cases) == 60
    assert opened.cases[21:24] == ("n007/0", "n007/1", "n007/2")
    assert set(opened.groups[21:24]) == {"p3"}
    assert opened.targets["metastasis"][21:24].tolist() == [1, 1, 1]
    found = opened.image("low", 22)
    for channel in found:
        np.testing.assert_allclose(channel, crop(folder, 7, "img_low_1"), atol=1e-5)


@pytest.mark.parametrize("inputs", ["stacked", "pairs"])
def test_folds_are_the_manifest_s(folder, inputs):
    opened = DectLnm(root=str(folder), size=16, inputs=inputs)
    tested = []
    for fold in range(5):
        split = make_split(opened, fold=fold)
        assert set(opened.given_folds[split.test]) == {fold}
        assert "given folds" in split.scheme
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(opened.cases)))


def test_folds_are_drawn_by_group_where_there_are_none(tmp_path):
    manifest = write_cases(tmp_path / "free", folds=None)
    opened = DectLnm(root=str(manifest), size=16)
    assert opened.given_folds is None
    assert "fold 1 of 5 stratified folds" in make_split(opened, fold=1).scheme
    change(manifest, drop=("group",))
    assert list(DectLnm(root=str(manifest), size=16).groups) == list(opened.cases)


@pytest.mark.parametrize(("form", "window"), [("png16", None), ("npy", (-400.0, 620.0))])
def test_other_forms_of_the_same_crops(folder, tmp_path, form, window):
    manifest = write_cases(tmp_path / "other", form=form)
    opened = DectLnm(root=str(manifest), size=16, window=window)
    first = DectLnm(root=str(folder), size=16)
    np.testing.assert_allclose(opened.image("low", 3), first.image("low", 3), atol=0.004)
    assert opened.warnings == ()


def test_values_that_need_a_window(tmp_path):
    opened = DectLnm(root=str(write_cases(tmp_path / "hu", form="npy")), size=16)
    told = [line for line in opened.warnings if line.startswith("W22")]
    assert len(told) == len(COLUMNS)
    assert "W22 column 'img_low_0': values go from -" in told[0]
    assert told[0].endswith("Say which of them become 0 and 1: window=[low, high].")


def test_normalised_for_networks_of_imagenet(folder):
    plain, normal = (DectLnm(root=str(folder), size=16, normalise=n) for n in ("none", "imagenet"))
    expected = (plain.image("low", 2) - MEAN[:, None, None]) / STD[:, None, None]
    np.testing.assert_allclose(normal.image("low", 2), expected, atol=1e-5)
    assert normal.preparation["low"]["mean"] == [0.485, 0.456, 0.406]
    assert plain.preparation["low"] == {}


def test_the_digest_follows_content_and_not_rows_or_place(folder, own):
    digest = DectLnm(root=str(folder), size=16).digest
    write_rows(own, read_rows(own)[::-1])
    assert DectLnm(root=str(own), size=16).digest == digest
    assert DectLnm(root=str(own), size=16, inputs="pairs").digest != digest
    change(own, label={0: "0"})
    assert DectLnm(root=str(own), size=16).digest != digest


def test_everything_that_is_wrong_is_told_at_once(own):
    rows = read_rows(own)
    (own.parent / rows[5]["img_low_0"]).write_bytes(b"")
    path = own.parent / rows[6]["img_high_2"]
    path.rename(path.with_suffix(".PNG"))
    change(
        own,
        case_id={1: "n000"},
        label={2: "yes"},
        fold={3: "one", 8: "0"},
        img_low_1={4: ""},
        img_high_1={7: "../outside.png"},
    )
    told = refused(own)
    for words in (
        "E03 row 3, column 'case_id', value 'n000': a row above has this id too.",
        "E10 row 4, column 'label', value 'yes': no label. Write 1 with metastasis and 0 without.",
        "E11 row 5, column 'fold', value 'one': no fold. Number the folds 0, 1, 2",
        "E12 column 'fold': group 'p4' is in folds 0, 4. Put all of its cases in one.",
        "E04 row 6, column 'img_low_1': the cell is empty. A case has six crops.",
        "E05 row 7, column 'img_low_0'",
        "E04 row 8, column 'img_high_2'",
        "It is written 'n006_img_high_2.PNG' on disk",
        "E04 row 9, column 'img_high_1', value '../outside.png': the path leaves",
    ):
        assert words in told


def test_damaged_and_wrong_images(own):
    rows = read_rows(own)
    whole = (own.parent / rows[0]["img_low_0"]).read_bytes()
    (own.parent / rows[0]["img_low_0"]).write_bytes(whole[: len(whole) // 2])
    colours = np.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype(np.uint8)
    Image.fromarray(colours).save(own.parent / rows[1]["img_low_1"])
    Image.new("L", (20, 20), 7).save(own.parent / rows[2]["img_high_0"])
    told = refused(own)
    assert "E05 row 2, column 'img_low_0'" in told
    assert "E07 row 3, column 'img_low_1'" in told
    assert "E07 row 4, column 'img_high_0'" in told
    assert len(DectLnm(root=str(own), size=16, check="headers").cases) == 20


def test_the_same_crop_twice_is_told(own):
    rows = read_rows(own)
    shutil.copy(own.parent / rows[0]["img_low_0"], own.parent / rows[9]["img_low_2"])
    (told,) = DectLnm(root=str(own), size=16).warnings
    assert told.startswith("W14 row 11, column 'img_low_2': the same content as of case 'n000', ")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"fold": dict.fromkeys(range(20), "0")}, "E11 column 'fold': the folds are 0. Number two"),
        ({"label": dict.fromkeys(range(20), "1")}, "E10 column 'label': no row has the label 0."),
    ],
)
def test_columns_that_say_nothing(own, cells, words):
    change(own, **cells)
    assert words in refused(own)


def test_a_folder_without_a_manifest_and_a_manifest_without_columns(tmp_path, own):
    assert "E01: there is no file" in refused(tmp_path)
    change(own, drop=("img_high_2", "label"))
    told = refused(own)
    assert "E02 column 'label': the manifest has no such column, which is 0 or 1." in told
    assert "E02 column 'img_high_2'" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"inputs": "six", "normalise": "z"}, "inputs='six' is none of stacked, pairs; normalise="),
        ({"size": 4, "window": (3.0, 2.0)}, "size=4 is less than 8; window=[3.0, 2.0] is no [low"),
    ],
)
def test_options_that_can_not_be(folder, options, words):
    with pytest.raises(BadOption) as caught:
        DectLnm(root=str(folder), **options)
    assert f"Data set 'dect_lnm' can't be opened so: {words}" in str(caught.value)


def test_there_is_no_table(folder):
    with pytest.raises(KeyError):
        DectLnm(root=str(folder), size=16).table("table")


def test_it_keeps_what_data_sets_promise(folder):
    conforms(f"dect_lnm(root={str(folder)!r}, size=16)").require(at_least=11)
