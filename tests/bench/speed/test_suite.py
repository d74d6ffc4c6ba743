"""The speed suite measures both arms, and says what it can't measure."""

import pytest

from fusionzoo.bench.speed.record import read_speed, speed_table
from fusionzoo.bench.speed.suite import run_suite
from fusionzoo.errors import BadOption, RunError


@pytest.fixture(scope="module")
def record():
    return run_suite(["penet", "daft"], size="small", rounds=1)


def test_every_system_has_its_arms(record):
    assert [(t.system, t.arm) for t in record.timings] == [
        ("penet", "fusionzoo"),
        ("penet", "plain"),
        ("daft", "fusionzoo"),
    ]
    for timing in record.timings:
        assert len(timing.step_s) == len(timing.predict_s) == 1
        assert min(timing.step_s + timing.predict_s) > 0
        assert timing.peak_mib > timing.parameters * 4 / 2**20
    assert record.timings[1].differences == ("1 copies of one channel",)
    assert record.refused == {}


def test_the_table_has_a_row_per_system(record):
    text = speed_table(record)
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == ["| penet", "| daft"]
    assert "1 copies of one channel" in rows[0]
    assert rows[1].count("same") == 3
    assert "small sizes, batch 2, medians of 1 rounds" in text


def test_a_record_comes_back_as_it_was_written(record, tmp_path):
    path = record.write(tmp_path / "speed.json")
    assert read_speed(path) == record


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "speed.json"
    with pytest.raises(RunError, match="can't be read as a record of the speed suite"):
        read_speed(path)
    path.write_text("{}")
    with pytest.raises(RunError, match=r"no record of the speed suite of schema 1\. Measure again"):
        read_speed(path)


def test_an_unknown_system_is_refused():
    with pytest.raises(BadOption, match=r"'pennet' \(.*penet.*There are: .*mmcaf-net"):
        run_suite(["pennet"])
