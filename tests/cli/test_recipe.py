"""`fusionzoo recipe` as a person meets it."""

from tests.test_imports import heavy_after

QUIET = """
from fusionzoo.cli import main
for arguments in (["recipe", "list"], ["recipe", "show", "mmcaf_net"]):
    main(arguments)
"""


def test_list_and_show_are_light():
    heavy, printed = heavy_after(QUIET)
    assert heavy == []
    assert "mmcaf_net/table3" in printed


def test_show(call):
    code, out, _ = call("recipe", "show", "mmcaf_net/table1")
    assert code == 0
    assert "test set: 15 positive (squamous cell carcinoma), 28 negative" in out
    assert "DAFT (released)  ct=resnet3d(width=4), table=identity -> daft -> linear" in out
    assert "In doubt: no confusion matrix over 15 and 28 cases gives these figures" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("PEfusion ")]
    assert rows[0][1:] == ["0.740", "0.721", "0.600", "0.786", "0.600", "0.600", "0.786"]
    assert rows[1][1] == "(reconstruction)"


def test_show_of_folds(call):
    _, out, _ = call("recipe", "show", "iimgf_net/table1_dect")
    assert "test cases: 32 in each of 5 folds" in out
    (line,) = (line for line in out.splitlines() if line.startswith("ResT  "))
    assert line.split("  ")[-4:] == [
        "0.807 ± 0.015",
        "0.859 ± 0.048",
        "0.906 ± 0.069",
        "0.722 ± 0.061",
    ]
    assert "ResT (early, reconstruction)  low+high=rest -> linear" in out
    _, out, _ = call("recipe", "show", "iimgf_net/table1")
    assert "test cases: 395; numbers are means over 8 tasks" in out


def test_check(call, tmp_path):
    code, out, _ = call("recipe", "check", "mmcaf_net/readme_tabular")
    assert code == 0
    assert "KAN" in out
    assert "parameters" in out
    path = tmp_path / "mine.toml"
    path.write_text(
        'summary = "s"\npaper = "p"\nplace = "T"\ndataset = "lidc"\ndecimals = 2\n[[rows]]\n'
        'label = "A"\nspec = "ct=penet4d -> linear"\nbasis = "paper"\n'
    )
    code, out, errors = call("recipe", "check", path)
    assert code == 2
    assert "refused: No encoder is called 'penet4d'. Closest: penet3d" in out
    assert "1 rows can't be assembled for their stand-ins" in errors
