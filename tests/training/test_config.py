"""Training settings: layers of them, and everything that is wrong at once."""

import dataclasses
import json
import math

import pytest

from fusionzoo.data.transforms import CHOICES
from fusionzoo.errors import BadOption
from fusionzoo.training.config import AUGMENT, TrainConfig


def refusal(make):
    with pytest.raises(BadOption) as caught:
        make()
    return str(caught.value).splitlines()


def test_later_layers_win():
    config = TrainConfig.from_settings({"epochs": 5, "lr": 0.1}, {}, {"epochs": 7})
    assert (config.epochs, config.lr, config.batch_size) == (7, 0.1, TrainConfig().batch_size)


def test_the_defaults_pass_and_are_plain_values():
    told = TrainConfig().to_json()
    assert TrainConfig.from_settings(told) == TrainConfig()
    assert json.loads(json.dumps(told)) == told


def test_a_whole_number_means_the_same_rate():
    one, other = TrainConfig.from_settings({"lr": 1}), TrainConfig.from_settings({"lr": 1.0})
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


def test_every_setting_is_documented():
    doc = TrainConfig.__doc__ or ""
    for field in dataclasses.fields(TrainConfig):
        assert f"        {field.name}: " in doc


def test_augment_takes_what_the_transforms_have():
    assert AUGMENT == CHOICES


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "Training has no setting 'epoch'. Closest: epochs"),
        ({"epochs": 2.5}, "Training setting 'epochs' takes a whole number, not 2.5."),
        ({"epochs": True}, "Training setting 'epochs' takes a whole number, not True."),
        ({"lr": "fast"}, "Training setting 'lr' takes a number, not 'fast'."),
        ({"lr": None}, "Training setting 'lr' takes a number, not None."),
        (
            {"optimizer": "rmsprop"},
            "Training setting 'optimizer' takes adamw or adam or sgd, not 'rmsprop'.",
        ),
        ({"recipe": ["joint"]}, "Training setting 'recipe' takes auto or staged or joint or "),
    ],
)
def test_a_setting_of_the_wrong_kind(settings, message):
    (line,) = refusal(lambda: TrainConfig.from_settings(settings))
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0."),
        ({"fuse_epochs": -1}, "fuse_epochs must be at least 1, not -1."),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0."),
        ({"lr": 0.0}, "lr must be above 0, not 0.0."),
        ({"fuse_lr": -1.0}, "fuse_lr must be above 0, not -1.0."),
        ({"weight_decay": -0.1}, "weight_decay can't be negative, it is -0.1."),
        ({"patience": -1}, "patience can't be negative, it is -1."),
        ({"views": -1}, "views can't be negative, it is -1."),
        ({"clip": -1.0}, "clip can't be negative, it is -1.0."),
        ({"warmup": 1.0}, "warmup must be in [0, 1), not 1.0."),
        ({"ema": -0.5}, "ema must be in [0, 1), not -0.5."),
        ({"weight_decay": math.nan}, "weight_decay must be finite, not nan."),
        ({"lr": math.inf}, "lr must be finite, not inf."),
    ],
)
def test_a_setting_out_of_its_range(settings, message):
    assert refusal(lambda: TrainConfig(**settings)) == [message]


def test_everything_that_is_wrong_is_told_at_once():
    lines = refusal(lambda: TrainConfig.from_settings({"epoch": 1, "lr": "x"}, {"views": 0.5}))
    assert len(lines) == 3
    assert len(refusal(lambda: TrainConfig(epochs=0, lr=-1.0, ema=2.0))) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("atuo", "There is no augmentation 'atuo'. Closest: auto. augment takes: auto, none, "),
        ("auto+none", "There is no augmentation 'auto'. "),
        ("auto(", "augment='auto(' can't be read: "),
    ],
)
def test_an_augmentation_that_is_not_there(text, message):
    assert refusal(lambda: TrainConfig(augment=text))[0].startswith(message)
