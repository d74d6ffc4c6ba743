import pytest

from fusionzoo.cli import main
from tests.dicom_generator import write_collection, write_pet


def told(capsys, *arguments, code=0):
    given = ["data", *map(str, arguments)]
    if code:
        with pytest.raises(SystemExit, match=str(code)):
            main(given)
    else:
        main(given)
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


@pytest.fixture
def collection(tmp_path):
    return write_collection(tmp_path, ("A0001", "A0002", "G0001", "G0002"))


def test_doctor_tells_and_writes_a_page(collection, tmp_path, capsys):
    page = tmp_path / "report.html"
    text = told(
        capsys,
        *("doctor", collection.root, "--annotations", collection.annotations),
        *("--clinical", collection.clinical, "--html", page),
    )
    for words in (
        "to use: 5 series of 4 patients, 84 slices",
        "set aside: 4 files; no images by their looks: 2",
        "A adenocarcinoma 2 3 56 2",
        "modality PT (3 files), for example",
        "the modality is PT, not CT. Only CT is read here.",
        "good No study belongs to two of the 4 patients.",
        "Wrote",
    ):
        assert words in text
    assert page.read_text().startswith("<!doctype html>")


def test_prepare_decodes_once(collection, tmp_path, capsys):
    cache = tmp_path / "cache"
    first = told(capsys, "prepare", collection.root, "--out", cache)
    assert "5 series decoded, 0 kept" in first
    assert "4 files set aside" in first
    assert "0 series decoded, 5 kept" in told(capsys, "prepare", collection.root, "--out", cache)
    assert "to use: 5 series of 4 patients" in told(capsys, "doctor", cache, "--decode")


def test_mistakes_are_told(tmp_path, capsys):
    write_pet(tmp_path / "pet")
    text = told(capsys, "prepare", tmp_path / "pet", "--out", tmp_path / "out", code=2)
    assert "the modality is PT, not CT" in text
    for command in (("doctor", tmp_path / "none"), ("prepare", tmp_path / "none", "--out", "x")):
        assert "there is no folder" in told(capsys, *command, code=2)
