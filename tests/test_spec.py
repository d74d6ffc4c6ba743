"""Descriptions of inputs, features and tasks: what they say of themselves and what they refuse."""

import subprocess
import sys

import pytest

from fusionzoo.spec import DataSpec, FeatureSpec, Level, Modality, Need, TaskSpec

PYRAMID = FeatureSpec.pyramid((Level(8, (6, 4), (2, 2)), Level(16, (3, 2), (4, 4))))


def test_a_modality_knows_its_shape_and_its_raw_features():
    ct = Modality("ct", "volume", 2, (4, 5, 6))
    assert ct.shape == (2, 4, 5, 6)
    assert ct.feature == FeatureSpec.map(2, (4, 5, 6), (1, 1, 1))
    table = Modality("table", "table", 7)
    assert table.shape == (7,)
    assert table.feature == FeatureSpec.vector(7)


@pytest.mark.parametrize(
    ("kind", "size", "axes"), [("volume", (4, 4), 3), ("image", (), 2), ("table", (3,), 0)]
)
def test_a_modality_of_another_size_than_its_kind_is_refused(kind, size, axes):
    with pytest.raises(ValueError, match=rf"modality 'x': a {kind} has {axes} axes, not "):
        Modality("x", kind, 1, size)


@pytest.mark.parametrize(
    ("spec", "channels", "size", "spatial_dims", "num_tokens", "text"),
    [
        (FeatureSpec.vector(8), 8, (), 0, 1, "vector of 8 channels"),
        (FeatureSpec.tokens(5, 8), 8, (5,), 0, 5, "5 tokens of 8 channels"),
        (FeatureSpec.map(8, (3, 4), (2, 2)), 8, (3, 4), 2, 12, "map 8x3x4"),
        (PYRAMID, 16, (3, 2), 2, 6, "pyramid of 2 maps (8x6x4, 16x3x2)"),
    ],
)
def test_features(spec, channels, size, spatial_dims, num_tokens, text):
    assert (spec.channels, spec.size) == (channels, size)
    assert (spec.spatial_dims, spec.num_tokens) == (spatial_dims, num_tokens)
    assert str(spec) == text
    assert hash(spec) == hash(FeatureSpec(spec.layout, spec.levels))


def test_a_level_of_a_pyramid_is_a_map():
    assert PYRAMID.at(0) == FeatureSpec.map(8, (6, 4), (2, 2))
    assert PYRAMID.at(-1) == FeatureSpec.map(16, (3, 2), (4, 4))


@pytest.mark.parametrize(("layout", "levels"), [("vector", 2), ("map", 0), ("pyramid", 0)])
def test_a_number_of_levels_that_a_layout_can_not_have(layout, levels):
    with pytest.raises(ValueError, match=f"a {layout} can't have {levels} levels"):
        FeatureSpec(layout, (Level(1),) * levels)


@pytest.mark.parametrize(
    ("need", "text"),
    [
        (Need(("vector",)), "a vector"),
        (Need(("vector", "tokens"), channels=24), "a vector or tokens of 24 channels"),
        (
            Need(("pyramid",), num_levels=3, spatial_dims=3),
            "a pyramid of 3 maps with 3 spatial axes",
        ),
        (Need(("map",), num_levels=3), "a map"),
    ],
)
def test_a_need_in_words(need, text):
    assert str(need) == text


@pytest.mark.parametrize(
    ("classes", "binary", "num_logits"), [(("no", "yes"), True, 1), (("a", "b", "c"), False, 3)]
)
def test_tasks(classes, binary, num_logits):
    task = TaskSpec("x", classes)
    assert (task.binary, task.num_logits) == (binary, num_logits)


def test_a_task_of_one_class_is_refused():
    with pytest.raises(ValueError, match=r"task 'x' needs two or more classes, has \('a',\)"):
        TaskSpec("x", ("a",))


def test_a_data_set_is_hashable_and_finds_its_modalities():
    ct, table = Modality("ct", "volume", 1, (2, 2, 2)), Modality("table", "table", 7)
    data = DataSpec("toy", (ct, table), (), suggestions={"penet3d": {"width": 0.25}})
    assert data.modality("table") is table
    assert isinstance(hash(data), int)
    with pytest.raises(KeyError):
        data.modality("mri")


def test_torch_is_not_needed():
    code = "import sys, fusionzoo.spec, fusionzoo.errors; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
