"""`fusionzoo audit` as a person meets it."""

from tests.golden_rule import GOLDEN

PREDICTIONS = GOLDEN / "evaluation" / "squamous_43_patients.csv"


def test_all_tables_of_a_paper(call):
    code, out, _ = call("audit", "mmcaf_net")
    assert code == 0
    assert out.count(" consistent ") == 14
    assert "fits 9 positive and 25 negative (TP 3  FP 5  TN 20  FN 6, AUROC 138/225)" in out
    assert "fits 20 positive and 28 negative (TP 13  FP 6  TN 22  FN 7, AUROC 407/560)" in out
    assert "NPV is printed 0.857 and must be 0.750 (TP 6  FP 1  TN 27  FN 9)" in out
    assert "AUROC 0.786 (95% 0.632 to 0.940, Hanley-McNeil)" in out
    assert "only scores with a tied pair give it" in out


def test_other_class_counts(call):
    _, out, _ = call("audit", "mmcaf_net/table1", "--positives", 9, "--negatives", 25)
    assert "9 positive and 25 negative cases: one case is 2.9 points" in out
    (line,) = (line for line in out.splitlines() if "DrFuse" in line)
    assert " consistent " in line


def test_predictions_tell_the_threshold(call):
    _, out, _ = call("audit", "mmcaf_net/table2", "--predictions", PREDICTIONS)
    told = out.splitlines()[-1]
    assert told.startswith("PENet+E3D-MSCA+drop: the predictions have its AUROC (0.7119).")
    assert "for thresholds above 0.6943 up to 0.7019, the best Youden's index and accuracy" in told
    assert "At 0.5: TP 12  FP 14  TN 14  FN 3, accuracy 0.605, F1 0.585" in told
    _, out, _ = call("audit", "mmcaf_net/table3", "--predictions", PREDICTIONS)
    assert "the AUROC and the matrix of no row" in out


def test_a_csv_of_ones_own(call, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("model,ACC,SEN,SPE,PPV\nA,0.5,1.0,0.0,0.9\n")
    code, out, _ = call("audit", path, "--positives", 3, "--negatives", 3)
    assert code == 0
    assert "PPV is printed 0.9 and must be 0.5 (TP 3  FP 3  TN 0  FN 0)" in out
    path.write_text("model,ACC,SEN\nA,0.5,0.9\n")
    _, out, _ = call("audit", path, "--positives", 3, "--negatives", 3, "--most-cases", 5)
    assert "impossible        no class counts up to 5 cases fit" in out


def test_accuracies_alone_and_over_folds(call, tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("model,ACC_mean,ACC_std\nA,82.0,3.8\nB,84.0,4.4\n")
    _, out, _ = call("audit", path, "--cases", 30, "--folds", 5)
    assert "A: 123 of 150 right" in out
    assert "B: no counts give it" in out
    _, out, _ = call("audit", path, "--cases", 50)
    assert "A: 41 of 50 right" in out


def test_folds_of_a_recipe_and_the_size_that_they_had(call):
    code, out, _ = call("audit", "iimgf_net/table1_dect")
    assert code == 0
    assert "5 folds of 32 cases, sample deviation: 1 of 13 rows are possible" in out
    assert (
        "of folds of 24 to 40 cases, 30 with the sample deviation fit most: 10 of 13 rows "
        "(not MambaVision, ResNet, CRD-Net); next are 30 with the population deviation: 5" in out
    )


def test_means_over_tasks_of_a_recipe(call):
    _, out, _ = call("audit", "iimgf_net/table1")
    assert "395 cases and 8 tasks: 3160 answers: one is 0.032 points of accuracy" in out
    assert "IIMGF-Net: 2432, 2433, 2434 of 3160 right" in out
    _, out, _ = call("audit", "iimgf_net/table1", "--cases", 10)
    assert "IIMGF-Net: no counts give it" in out


def test_mistakes(call, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("model,AUC\nA,0.5\n")
    broken = tmp_path / "predictions.csv"
    broken.write_text("label,p\n1,0.5\n")
    for arguments, words in (
        ((path,), "--positives and --negatives"),
        ((path, "--folds", 5), "--folds needs --cases"),
        ((path, "--cases", 5), "has no accuracy to check"),
        ((path, "--cases", 5, "--folds", 5, "--ddof", 2), "--ddof is 1 or 0, not 2"),
        (("mmcaf_nte",), "No recipe is called 'mmcaf_nte'. Closest: mmcaf_net"),
        (("mmcaf_net/table2", "--predictions", broken), "no column 'prob'"),
        (("mmcaf_net/table2", "--predictions", tmp_path / "none.csv"), "it can't be read"),
    ):
        code, _, errors = call("audit", *arguments)
        assert code == 2
        assert words in errors
