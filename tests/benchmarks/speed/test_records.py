"""Every committed record of the speed suite stands beside the table that it gives."""

from pathlib import Path

import pytest

from fusionzoo.cli import main

RECORDS = sorted((Path(__file__).parents[3] / "benchmarks" / "speed" / "records").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_table_is_made_from_the_record(path, capsys):
    main(["bench", "speed", "--show", str(path)])
    assert capsys.readouterr().out == path.with_suffix(".md").read_text(encoding="utf-8")


def test_there_is_one():
    assert RECORDS
