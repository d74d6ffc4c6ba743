"""What a node of a cluster does with a job, tried here."""

import time

from fusionzoo.bench.engines.remote import attempt_here, lost, outcome_of
from tests.bench.test_process import make_job


def test_the_outcome_comes_back_as_text(tmp_path):
    """The command itself, which refuses the job's data set."""
    found = outcome_of(attempt_here(make_job(tmp_path).dumps(), 600.0, None))
    assert (found.ending, found.again) == ("refused", False)
    assert found.reason.startswith("No dataset is called 'no_such_dataset'.")
    assert "UnknownComponent" in found.log_tail
    assert ", torch " in found.environment


def test_bounds_hold_on_the_node(tmp_path):
    found = outcome_of(attempt_here(make_job(tmp_path).dumps(), 0.01, None))
    assert (found.ending, found.again) == ("timeout", True)


def test_a_store_that_the_node_cannot_write(tmp_path):
    (tmp_path / "logs").write_text("a file")
    found = outcome_of(attempt_here(make_job(tmp_path).dumps(), None, None))
    assert found.ending == "store"
    assert "Can't write" in found.reason


def test_a_lost_job_may_be_tried_again():
    found = lost("Its node is gone.", time.monotonic() - 5)
    assert (found.ending, found.again, found.reason) == ("crash", True, "Its node is gone.")
    assert found.seconds >= 5
