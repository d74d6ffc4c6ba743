from fusionzoo.leaderboard.render.markdown import render


def test_the_page_reads_as_it_is(table):
    told = render([table])
    assert told.startswith("# A paper, Table 1: four ways of fusing\n\nPrinted numbers: Doe et al.")
    lines = told.splitlines()
    grid = [line for line in lines if line.startswith("| ")]
    first = grid[: 2 + len(table.rows)]
    assert len({len(line) for line in first}) == 1
    assert " **0.9" in told
    assert "<u>0." in told
    assert "| MSCA        |" in told
    for heading in (
        "## Ours and the printed numbers",
        "## All metrics",
        "## Calibration and cost",
        "## Not complete",
        "## Models",
    ):
        assert heading in lines
    assert "not testable here: measured on lung_pet_ct_dx" in told
    assert "- Late: partial, 1 of 2 runs; not ranked, fold 1 missing" in lines
    assert "  - fold 1, seed 0: memory, The run was killed for memory" in told
    assert "- CLIP: refused, 'clip' needs two vectors." in lines
    assert "- MSCA (released): `ct=penet3d, table=kan -> msca -> linear`" in lines
    assert max(len(line) for line in grid[:8]) < 110


def test_a_board_of_complete_rows_has_nothing_missing(table):
    rows = table.rows[:4]
    told = render([table.__class__(**{**vars(table), "rows": rows})])
    assert "## Not complete" not in told


def test_every_column_has_a_rule_that_markdown_reads(table):
    rows = table.rows[:1]
    told = render([table.__class__(**{**vars(table), "rows": rows})])
    rules = [line for line in told.splitlines() if line.startswith("| -")]
    cells = [cell.strip() for line in rules for cell in line.strip("|").split("|")]
    assert cells
    assert all(cell.rstrip(":").startswith("--") for cell in cells)
