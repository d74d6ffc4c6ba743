import pytest

from fusionzoo.errors import BadOption
from fusionzoo.leaderboard.options import BoardOptions


def test_defaults():
    options = BoardOptions()
    assert (options.metric, options.test, options.correction) == ("auroc", "cases", "holm")
    assert options.alpha == 0.05


def test_everything_wrong_is_told_at_once():
    with pytest.raises(BadOption) as caught:
        BoardOptions(
            metric="aurok", test="rows", correction="none", level=95.0, margin=0.0, replicates=5
        )
    told = str(caught.value)
    for words in (
        "no metric is called 'aurok'. Closest: auroc",
        "test must be cases or folds, is 'rows'",
        "correction must be holm or bh, is 'none'",
        "level must lie between 0 and 1, is 95.0",
        "margin must lie between 0 and 1, is 0.0",
        "replicates must be 100 or more, is 5",
    ):
        assert words in told
