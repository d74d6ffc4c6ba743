import re
import shutil

import pytest

from fusionzoo.api import open_run
from fusionzoo.card.write import write_card
from fusionzoo.evaluation.robustness import write_robustness
from fusionzoo.stress.curves import stress

SECTIONS = (
    *("Intended use", "Data", "Performance", "Subgroups", "Calibration", "Robustness", "Limits"),
    "Provenance",
)


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / finished_run.name)


def test_the_card_says_everything_that_the_run_knows(call, run):
    before = (run / "record.json").read_bytes()
    opened = open_run(run)
    write_robustness(run, stress(opened, kinds=("drop",), replicates=100, draws=1))
    code, out, errors = call("card", run, "--intended-use", "To teach, not to treat.")
    assert code == 0, errors
    text = (run / "card.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert tuple(headings) == SECTIONS
    row = opened.record.evaluation.row("relapse", "fused")
    assert f"AUROC {row.metrics['auroc']} on 5 test cases of 5 patients" in text
    assert "To teach, not to treat." in text
    assert "| cases | 17 train, 6 val, 5 test; no patient is in two parts |" in text
    assert "| sex: F | " in text
    assert "fewer than 30 cases" in text
    assert "The temperature was fitted on 6 validation cases" in text
    assert "| drop ct | 1 | " in text
    assert "5 test patients" in text
    assert opened.record.predictions_digest in text
    figures = re.findall(r"\]\((.*\.png)\)", text)
    assert figures == [
        *("card-roc.png", "card-confusion.png", "card-calibration.png", "card-stress.png"),
    ]
    assert all((run / name).read_bytes()[:4] == b"\x89PNG" for name in figures)
    page = (run / "card.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert [f"<h2>{name}</h2>" in page for name in SECTIONS] == [True] * 8
    assert out.count(str(run)) == 6
    assert (run / "record.json").read_bytes() == before


def test_what_is_not_there_is_said(call, run, tmp_path):
    (run / "config.json").write_text(
        (run / "config.json").read_text().replace("dataset.yaml", "gone.yaml")
    )
    code, _, errors = call("card", run, "--out", tmp_path / "cards")
    assert code == 0, errors
    text = (tmp_path / "cards" / "card.md").read_text()
    assert "The data could not be opened for this card:" in text
    assert "Not available, since the data could not be opened:" in text
    assert f"Not tested. 'fusionzoo stress {run}' does it." in text.replace("\\", "")
    assert "Robustness to absent or worse inputs was not tested." in text
    assert not (run / "card.md").exists()


def test_a_stress_test_of_other_predictions_is_not_shown(run):
    opened = open_run(run)
    found = stress(opened, kinds=("drop",), replicates=100, draws=1)
    object.__setattr__(found, "predictions_digest", "0" * 64)
    write_robustness(run, found)
    write_card(opened)
    assert "stress.json is of other predictions than this run's" in (run / "card.md").read_text()
