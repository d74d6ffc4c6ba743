"""What a combo costs, against counts made by hand."""

import pytest
import torch

from fusionzoo.models.assemble import assemble_meta
from fusionzoo.models.profile import activation_bytes, count_flops, example_batch
from tests.models.toy_parts import DATA

pytestmark = pytest.mark.usefixtures("toys")

VECTOR = "table=toy_vector(channels=4) -> toy_head"
#: Columns x 6, 6 x 4, and heads of 1 and 3 logits on 4 channels.
PRODUCTS = 5 * 6 + 6 * 4 + 4 * (1 + 3)


def test_a_multiply_and_an_add_are_two_operations():
    assert count_flops(assemble_meta(VECTOR, DATA), DATA) == 2 * PRODUCTS


def test_convolutions_count_at_every_position():
    # 3 -> 4 channels at 4 x 4, 4 -> 8 at 2 x 2, kernels of 9; then heads of 4 logits on 8.
    expected = 2 * (9 * 3 * 4 * 16 + 9 * 4 * 8 * 4 + 8 * 4)
    assert count_flops(assemble_meta("derm=toy_maps -> toy_head", DATA), DATA) == expected


def test_two_branches_cost_what_each_costs():
    both = assemble_meta("table=toy_vector, labs=toy_vector -> toy_join -> toy_head", DATA)
    assert count_flops(both, DATA) == 2 * 2 * PRODUCTS


def test_activations_are_what_the_innermost_modules_give():
    assert activation_bytes(assemble_meta(VECTOR, DATA), DATA) == 4 * (6 + 4 + 1 + 3)


def test_a_combo_that_needs_memory_is_not_counted():
    model = assemble_meta("derm=toy_maps(numpy=True) -> toy_head", DATA)
    assert count_flops(model, DATA) is None
    assert activation_bytes(model, DATA) is None


def test_an_example_has_every_modality_and_task():
    batch = example_batch(DATA, 2, torch.device("cpu"))
    assert {n: tuple(x.shape) for n, x in batch.inputs.items()} == {
        "derm": (2, 3, 8, 8),
        "clinic": (2, 3, 8, 8),
        "ct": (2, 1, 4, 8, 8),
        "table": (2, 5),
        "labs": (2, 5),
    }
    assert all(present.all() for present in batch.present.values())
    assert set(batch.targets) == {"malignant", "grade"}
    assert batch.index.tolist() == [0, 1]
