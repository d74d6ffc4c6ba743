import pytest

from fusionzoo.data.paths import Folder
from fusionzoo.data.problems import Problems


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "scans").mkdir(parents=True)
    (tmp_path / "in" / "scans" / "p1.npy").write_bytes(b"x")
    (tmp_path / "in" / "scans" / "empty.npy").touch()
    (tmp_path / "out.npy").write_bytes(b"x")
    return tmp_path / "in"


def test_files_are_found_by_relative_and_absolute_paths(folder):
    problems = Problems()
    wanted = folder / "scans" / "p1.npy"
    paths = ("scans/p1.npy", "./scans/p1.npy", "scans/../scans/p1.npy", str(wanted))
    for path in paths:
        assert Folder(folder).find(path, "ct", 2, problems) == wanted
    assert problems.lines() == ()


def test_a_folder_is_found_where_it_may_be_one(folder):
    problems = Problems()
    found = Folder(folder).find("scans", "ct", 2, problems, folders=True)
    assert (found, problems.lines()) == (folder / "scans", ())
    assert Folder(folder).find("scans/empty.npy", "ct", 2, problems, folders=True) is None


def test_a_link_may_lead_out(folder):
    (folder / "linked").symlink_to(folder.parent)
    assert Folder(folder).find("linked/out.npy", "ct", 2, Problems()) is not None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "scans/p2.npy",
            "E04 row 7, column 'ct', value 'scans/p2.npy': there is no such file below",
        ),
        ("scans/p2.npy", "Closest: p1.npy"),
        ("scan/p1.npy", "Closest: scans"),
        ("../out.npy", "E04 row 7, column 'ct', value '../out.npy': the path leaves"),
        ("scans/../../out.npy", "the path leaves"),
        ("{parent}/out.npy", "Move the file there, or set root: in the dataset.yaml."),
        (
            "scans/P1.npy",
            "differs in case or spelling. It is written 'p1.npy' on disk: copy it exactly.",
        ),
        ("Scans/p1.npy", "It is written 'scans' on disk"),
        ("scans\\p1.npy", "Write paths with '/', not with a backslash."),
        ("scans/empty.npy", "E05 row 7, column 'ct', value 'scans/empty.npy': the file is empty."),
        (
            "scans",
            "E06 row 7, column 'ct', value 'scans': a folder. Name a file; a DICOM series is",
        ),
        (".", "a folder"),
    ],
)
def test_what_cannot_be_used_is_noted(folder, path, message):
    problems = Problems()
    cell = path.format(parent=folder.parent)
    assert Folder(folder).find(cell, "ct", 7, problems) is None
    assert message in problems.lines()[0]
