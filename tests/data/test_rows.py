import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.data.problems import Problems
from fusionzoo.data.rows import Rows, read_rows
from fusionzoo.errors import MissingExtra


def read(path: Path, content: str | bytes) -> tuple[Rows | None, tuple[str, ...]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems = Problems()
    return read_rows(path, problems), problems.lines()


def test_the_four_formats_give_the_same_cells(tmp_path):
    records = [
        {"case_id": "a", "age": 61, "sex": "F", "mass": 2.5, "seen": True},
        {"case_id": "b", "age": None, "sex": "M", "mass": None, "seen": False},
    ]
    frame = pd.DataFrame(records).astype({"age": "Int64"})
    frame.to_csv(tmp_path / "m.csv", index=False)
    frame.to_csv(tmp_path / "m.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "m.parquet")
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    wanted = {
        "case_id": ["a", "b"],
        "age": ["61", ""],
        "sex": ["F", "M"],
        "mass": ["2.5", ""],
        "seen": ["True", "False"],
    }
    for suffix, lines in (("csv", (2, 3)), ("tsv", (2, 3)), ("jsonl", (1, 2)), ("parquet", (1, 2))):
        rows = read_rows(tmp_path / f"m.{suffix}", Problems())
        assert rows is not None
        assert (rows.cells, rows.lines, len(rows)) == (wanted, lines, 2), suffix


def test_lines_are_those_of_the_file(tmp_path):
    text = '\ufeffcase_id,note\n\na,"two\nlines"\n , \nb , x\n'
    rows, problems = read(tmp_path / "m.csv", text)
    assert problems == ()
    assert rows is not None
    assert rows.lines == (3, 6)
    assert rows.cells == {"case_id": ["a", "b"], "note": ["two\nlines", "x"]}


def test_lists_in_cells_are_joined(tmp_path):
    rows, _ = read(tmp_path / "m.jsonl", '{"spacing": [2.5, 1, 1]}\n\n{"spacing": null}')
    assert rows is not None
    assert rows.cells == {"spacing": ["2.5 1 1", ""]}
    assert rows.lines == (1, 3)


def test_an_unnamed_column_is_left_out(tmp_path):
    rows, _ = read(tmp_path / "m.csv", ",case_id\n0,a\n")
    assert rows is not None
    assert rows.columns == ("case_id",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "", "E01: m.csv has no rows. Write one row a case."),
        ("m.csv", "a,b\n", "E01: m.csv has no rows"),
        ("m.xlsx", "x", "E01: m.xlsx is no manifest. Known: .csv, .tsv, .jsonl, .parquet."),
        (
            "m.csv",
            "a,b\nx,é\n".encode("latin-1"),
            "E01 row 2: m.csv can't be decoded, byte 0xe9 is",
        ),
        (
            "m.csv",
            "a,b\n1,2\n".encode("utf-16"),
            "E01: m.csv is written in UTF-16. Save it as UTF-8.",
        ),
        ("m.csv", b"a,b\n\0,2\n", "E01: m.csv holds zero bytes"),
        (
            "m.csv",
            "a;b\n1;2\n",
            "E01 row 1: the header has one column, 'a;b'. It seems to be separated",
        ),
        ("m.tsv", "a,b\n1,2\n", "separated by ',': save it with tabs."),
        ("m.csv", "a,b\n1,2\n3\n", "E01 row 3: 1 cells where the header has 2. Quote cells"),
        ("m.csv", 'a,b\n1,2\n3,"4\n', "E01 row 3: broken CSV"),
        ("m.csv", "a,b,a\n1,2,3\n", "E03 column 'a': the header has this column more than once"),
        ("m.jsonl", '{"a": 1}\n{"a": 1', "E01 row 2: not JSON"),
        ("m.jsonl", "[1, 2]", "E01 row 1: not a JSON object"),
        ("m.jsonl", '{"a": 1, "a": 2}', "E03 row 1, column 'a': the key is there twice"),
        ("m.parquet", "x", "E01: m.parquet is not Parquet"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, content, message):
    rows, problems = read(tmp_path / name, content)
    assert rows is None
    assert message in problems[0]


def test_an_absent_file_is_refused(tmp_path):
    problems = Problems()
    assert read_rows(tmp_path / "m.csv", problems) is None
    assert "there is no file" in problems.lines()[0]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="pip install pyarrow, or save the manifest as CSV"):
        read_rows(tmp_path / "m.parquet", Problems())


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (
            "ages",
            "E02 column 'ages': the manifest has no such column, which is an input. Closest: age",
        ),
        ("M-Stage", "'\uff2d-Stage' looks the same but is written with other characters"),
        ("AGE", "'age' looks the same"),
        ("xyz", "Columns: age, \uff2d-Stage."),
    ],
)
def test_an_absent_column_is_told_with_the_nearest(asked, hint):
    rows = Rows(("age", "\uff2d-Stage"), {"age": ["1"], "\uff2d-Stage": ["2"]}, (2,))
    problems = Problems()
    assert rows.has("age", problems, "an input")
    assert not rows.has(asked, problems, "an input")
    assert hint in problems.lines()[0]
