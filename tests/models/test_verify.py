"""Parts that give other shapes than they declare are found before anything is trained."""

import pytest
import torch

from fusionzoo.errors import LayoutMismatch
from fusionzoo.models.assemble import assemble, plan
from fusionzoo.models.verify import verify_part
from fusionzoo.spec import FeatureSpec
from tests.models.toy_parts import DATA, ToyJoin, ToyNeck, ToySummary

pytestmark = pytest.mark.usefixtures("toys")

MEND = "Correct what it declares or what it computes."


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "table=toy_vector(more=1) -> linear",
            "Encoder 'toy_vector' declares a vector of 5 channels, so (2, 5) for 2 cases; it gives "
            f"(2, 4). {MEND}",
        ),
        (
            "derm=toy_maps(widths=(4,), lie=1) -> linear",
            "Encoder 'toy_maps' declares a map 5x4x4, so (2, 5, 4, 4) for 2 cases; it gives "
            f"(2, 4, 4, 4). {MEND}",
        ),
        (
            "derm=toy_maps(lie=1) -> linear",
            "Encoder 'toy_maps' declares a pyramid of 2 maps (5x4x4, 9x2x2), so (2, 5, 4, 4), "
            "(2, 9, 2, 2) for 2 cases; it gives a list of (2, 4, 4, 4), (2, 8, 2, 2). " + MEND,
        ),
        (
            "derm=toy_maps+toy_neck(lie=2) -> linear",
            "Neck 'toy_neck' declares a pyramid of 2 maps (10x4x4, 18x2x2), so (2, 10, 4, 4), "
            "(2, 18, 2, 2) for 2 cases; it gives a list of (2, 8, 4, 4), (2, 16, 2, 2). " + MEND,
        ),
        (
            "table=toy_vector, labs=toy_vector -> toy_refine(lie=1)+concat -> linear",
            "Fusion 'toy_refine' for 'table' declares a vector of 5 channels, so (2, 5) for 2 "
            f"cases; it gives (2, 4). {MEND}",
        ),
        (
            "table=toy_vector, labs=toy_vector -> toy_join(lie=3) -> linear",
            "Fusion 'toy_join' for 'table' declares a vector of 7 channels, so (2, 7) for 2 "
            f"cases; it gives (2, 4). {MEND}",
        ),
        (
            "table=toy_vector, labs=toy_vector -> toy_join(rename=_x) -> linear",
            f"Fusion 'toy_join' declares table, labs; it gives table_x, labs_x. {MEND}",
        ),
        (
            "derm=toy_maps, table=toy_vector -> toy_exchange(lie=1) -> linear",
            "Fusion 'toy_exchange', after stage 0, for 'derm' declares a map 4x4x4, so "
            f"(2, 4, 4, 4) for 2 cases; it gives (2, 3, 4, 4). {MEND}",
        ),
        (
            "table=toy_vector -> toy_head(lie=1)",
            "Head 'toy_head' for 'malignant' declares a vector of 1 channels, so (2, 1) for 2 "
            f"cases; it gives (2, 2). {MEND}",
        ),
    ],
)
def test_a_part_that_gives_something_else_is_named(spec, message):
    with pytest.raises(LayoutMismatch) as caught:
        plan(spec, DATA)
    assert str(caught.value) == message


def test_a_stage_that_gives_something_else_is_named(monkeypatch):
    from tests.models.toy_parts import ToyMaps

    monkeypatch.setattr(ToyMaps, "emit", lambda self, level, x: x[:, :4])
    monkeypatch.setattr(
        ToyMaps, "output", property(lambda self: FeatureSpec.map(4, (2, 2), (4, 4)))
    )
    monkeypatch.setattr(ToyMaps, "forward", lambda self, x: x.new_zeros(2, 4, 2, 2))
    assert plan("derm=toy_maps -> linear", DATA)
    original = ToyMaps.stage
    monkeypatch.setattr(ToyMaps, "stage", lambda self, at, x: original(self, at, x)[..., :1])
    with pytest.raises(LayoutMismatch, match=r"^Encoder 'toy_maps', stage 0, declares a map 4x4x4"):
        plan("derm=toy_maps -> linear", DATA)


def test_a_summary_is_compared_too(monkeypatch):
    monkeypatch.setattr(ToySummary, "forward", lambda self, x: x[-1].mean(dim=(2, 3)))
    with pytest.raises(LayoutMismatch) as caught:
        plan("derm=toy_maps(own_summary=True) -> linear", DATA)
    assert str(caught.value).startswith(
        "The summary of encoder 'toy_maps' declares a vector of 3 channels"
    )


def test_a_part_that_gives_no_tensor_is_told_so(monkeypatch):
    monkeypatch.setattr(ToyNeck, "forward", lambda self, x: "maps")
    with pytest.raises(LayoutMismatch, match=r"it gives str\. Correct"):
        plan("derm=toy_maps+toy_neck -> linear", DATA)
    monkeypatch.setattr(ToyJoin, "join", lambda self, x, c: type("Out", (), {"features": [1]}))
    with pytest.raises(LayoutMismatch, match=r"declares table, labs; it gives list\."):
        plan("table=mlp, labs=mlp -> toy_join -> linear", DATA)


def test_a_part_that_needs_memory_is_taken_at_its_word():
    resolved = plan("derm=toy_maps(numpy=True) -> linear", DATA)
    assert resolved.stages[0].gives == "pyramid of 2 maps (4x4x4, 8x2x2)"
    assert plan("derm=toy_maps(numpy=True, lie=1) -> linear", DATA)


def test_the_modes_of_the_parts_and_the_gradients_stay():
    part = torch.nn.Dropout()
    verify_part(part, FeatureSpec.vector(3), FeatureSpec.vector(3), "Dropout")
    assert part.training
    assert torch.is_grad_enabled()
    part.eval()
    verify_part(part, FeatureSpec.tokens(2, 3), FeatureSpec.tokens(2, 3), "Dropout")
    assert not part.training


def test_building_a_model_with_memory_does_not_run_it():
    from tests.models.toy_parts import LOG

    assemble("table=toy_vector -> toy_head", DATA)
    assert LOG == []
