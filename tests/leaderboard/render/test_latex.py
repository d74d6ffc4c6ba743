import re
import shutil
import subprocess

import pytest

from fusionzoo.leaderboard.render.latex import escape, render

PAGE = (
    "\\documentclass{article}\n\\usepackage[landscape,margin=5mm]{geometry}\n"
    "\\usepackage{booktabs}\n\\begin{document}\n\\tiny\n%s\\end{document}\n"
)


def test_tables_are_in_booktabs(table):
    told = render([table])
    assert told.count(r"\begin{table}") == told.count(r"\end{table}") == 3
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert told.count(rule) == 3
    assert re.search(r"\\textbf\{0\.\d{3}\} \$\\pm\$ 0\.\d{3}", told)
    assert r"\underline{0." in told
    assert r"measured on lung\_pet\_ct\_dx" in told
    assert "Holm" in told


def test_every_line_has_as_many_cells_as_its_table(table):
    for shape, body in re.findall(
        r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", render([table]), re.DOTALL
    ):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) > 3
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(shape) - 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a_b & 50% #1", r"a\_b \& 50\% \#1"),
        ("p <0.001", r"p \textless{}0.001"),
        (r"\x{y}~^$", r"\textbackslash{}x\{y\}\textasciitilde{}\textasciicircum{}\$"),
        ("0.1 ± 0.2", r"0.1 $\pm$ 0.2"),
    ],
)
def test_what_latex_would_read_is_written_out(text, told):
    assert escape(text) == told


@pytest.mark.slow
def test_it_compiles(table, tmp_path):
    engine = shutil.which("pdflatex") or shutil.which("tectonic")
    if engine is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    spoilt = table.rows[0].__class__(**{**vars(table.rows[0]), "label": r"50% of_a & \b{c}~^#$"})
    tables = [table, table.__class__(**{**vars(table), "rows": (spoilt, *table.rows[1:])})]
    (tmp_path / "board.tex").write_text(PAGE % render(tables), encoding="utf-8")
    options = ["-halt-on-error", "-interaction=nonstopmode"] if "pdflatex" in engine else []
    done = subprocess.run(
        [engine, *options, "board.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "board.pdf").stat().st_size > 10_000
