"""Scale and shift inside the released code's residual blocks, and its refusals."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.errors import BadOption, LayoutMismatch
from fusionzoo.ops.modulation import Modulation, image_and_table
from fusionzoo.spec import FeatureSpec
from tests import golden_rule


def normalised(param: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.batch_norm(
        x,
        param[f"{name}.running_mean"],
        param[f"{name}.running_var"],
        param.get(f"{name}.weight"),
        param.get(f"{name}.bias"),
    )


def released_block(name: str, *, location: int, sees_map: bool, **options) -> tuple[Tensor, Tensor]:
    """The released residual block around our modulation, and what the release gave."""
    golden = golden_rule.load(name)
    param, table = golden["param"], golden["in"]["tab"]
    weights = param["aux.aux_base.weight"], param["aux.aux_out.weight"]

    def modulate(x: Tensor) -> Tensor:
        code = torch.cat([x.mean(dim=(2, 3, 4)), table], dim=1) if sees_map else table
        settings = {"scale": True, "shift": True, "activation": "linear"} | options
        module = Modulation(code.shape[1], x.shape[1], bottleneck=7, **settings)
        module.load_state_dict({"squeeze.weight": weights[0], "excite.weight": weights[1]})
        return module(x, code)

    x = golden["in"]["x"]
    x = modulate(x) if location == 0 else x
    main = normalised(param, "bn1", F.conv3d(x, param["conv1.weight"], stride=2, padding=1))
    main = F.relu(modulate(main) if location == 3 else main)
    main = modulate(main) if location == 4 else main
    main = normalised(param, "bn2", F.conv3d(main, param["conv2.weight"], padding=1))
    skip = F.conv3d(x, param["downsample.0.weight"], stride=2)
    return F.relu(main + normalised(param, "downsample.1", skip)), golden["out"]["y"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("film_block_loc3", {"location": 3, "sees_map": False}),
        ("daft_block_loc0", {"location": 0, "sees_map": True}),
        ("daft_block_loc3", {"location": 3, "sees_map": True}),
        ("daft_block_sigmoid", {"location": 3, "sees_map": True, "activation": "sigmoid"}),
        ("daft_block_scale_only", {"location": 3, "sees_map": True, "shift": False}),
        ("daft_block_shift_only", {"location": 3, "sees_map": True, "scale": False}),
    ],
)
def test_golden_blocks(name: str, settings: dict) -> None:
    actual, expected = released_block(name, **settings)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_tanh_bounds_the_scale() -> None:
    torch.manual_seed(0)
    module = Modulation(3, 2, bottleneck=4, scale=True, shift=False, activation="tanh")
    ones, code = torch.ones(5, 2, 1), 100 * torch.randn(5, 3)
    assert module(ones, code).abs().max() <= 1


def test_finds_the_image_and_the_table() -> None:
    image, table = [FeatureSpec.map(4, (2, 2), (8, 8))], [FeatureSpec.vector(3)]
    assert image_and_table({"table": table, "ct": image}) == ("ct", "table")
    deep = [FeatureSpec.pyramid(image[0].levels * 2)]
    assert image_and_table({"ct": deep, "table": table}) == ("ct", "table")
    message = "a goes through a map, b goes through a map. Use one image encoder"
    with pytest.raises(LayoutMismatch, match=message):
        image_and_table({"a": image, "b": image})
    with pytest.raises(LayoutMismatch, match="a goes through a vector"):
        image_and_table({"a": table, "b": table})


def test_bad_options() -> None:
    from fusionzoo.fusions.film import FiLM

    given = {"ct": FeatureSpec.vector(4), "table": FeatureSpec.vector(3)}
    with pytest.raises(BadOption, match="leave nothing to do"):
        FiLM(given, scale=False, shift=False)
    stages = {"ct": [FeatureSpec.map(4, (2, 2), (8, 8))], "table": [FeatureSpec.vector(3)]}
    with pytest.raises(BadOption, match="level=-2 is no stage of the encoder of 'ct', which has 1"):
        FiLM(given).attach(stages, [])
    tokens = {"ct": [FeatureSpec.tokens(9, 4)], "table": [FeatureSpec.vector(3)]}
    with pytest.raises(LayoutMismatch, match="the encoder of 'ct' gives a 9 tokens of 4 channels"):
        FiLM(given, level=0).attach(tokens, [])
