"""What is explained: log-odds of a class, chosen by name or by probability."""

import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.explain.score import Score, choose_score, read_by, with_inputs
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import ModelOutput
from fusionzoo.spec import DataSpec, Modality
from tests.explain.analytic import BINARY, GRADED, batch_of

DATA = DataSpec("t", (Modality("a", "table", 3), Modality("b", "table", 2)), (BINARY, GRADED))
SPEC = "a=identity, b=identity -> late -> linear"


@pytest.fixture
def model():
    return assemble(SPEC, DATA).eval()


@pytest.fixture
def case():
    torch.manual_seed(0)
    return batch_of({"a": torch.randn(1, 3), "b": torch.randn(1, 2)}, DATA.tasks)


def test_log_odds_are_those_of_the_probabilities():
    logits = {"dx": torch.randn(4, 1), "grade": torch.randn(4, 3)}
    output = ModelOutput(logits, {"fused": logits}, {})
    positive = logits["dx"][:, 0].sigmoid()
    torch.testing.assert_close(Score(BINARY, 1).of(output).sigmoid(), positive)
    torch.testing.assert_close(Score(BINARY, 0).of(output).sigmoid(), 1 - positive)
    probs = logits["grade"].softmax(dim=1)
    for code in range(3):
        torch.testing.assert_close(
            Score(GRADED, code, "fused").of(output).sigmoid(), probs[:, code]
        )


def test_the_most_probable_class_is_the_default(model, case):
    chosen = choose_score(model, case, DATA.tasks)
    assert chosen.task is BINARY
    logit = model(case).logits["dx"][0, 0]
    assert chosen.class_name == ("yes" if logit > 0 else "no")
    graded = choose_score(model, case, DATA.tasks, task="grade")
    assert graded.code == int(model(case).logits["grade"].argmax())
    assert choose_score(model, case, DATA.tasks, class_name="no", output="a").output == "a"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"task": "grad"}, "There is no task 'grad'. Closest: grade. There are: dx, grade."),
        ({"class_name": "yess"}, "Task 'dx' has no class 'yess'. Closest: yes. It has: no, yes."),
        ({"output": "c"}, "The model has no output 'c'. It has: final, a, b."),
    ],
)
def test_what_there_is_not(model, case, asked, told):
    with pytest.raises(BadOption) as raised:
        choose_score(model, case, DATA.tasks, **asked)
    assert str(raised.value) == told


def test_a_case_with_other_inputs(model, case):
    case.present["b"][:] = False
    inputs = {"a": torch.zeros(5, 3), "b": torch.zeros(5, 2)}
    many = with_inputs(case, inputs)
    assert many.present["b"].tolist() == [False] * 5
    assert len(model(many).logits["dx"]) == 5
    assert read_by(model) == ("a", "b")
