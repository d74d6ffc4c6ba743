"""The figure: every input is there, colours say what they should, the same bytes every time."""

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.explain import panels
from fusionzoo.explain.case import Explanation, TableTold, explain_case
from fusionzoo.explain.gradients import Attributions, Cam
from fusionzoo.explain.modality import Shares
from fusionzoo.explain.score import Score
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, Modality
from tests.explain.analytic import BINARY, batch_of

RED, BLUE = (215, 48, 31), (43, 140, 190)


def explanation(**changes):
    """A volume with a spot for the class, a picture with one against it, and a table."""
    volume, photo = torch.zeros(1, 9, 12, 12), torch.rand(3, 16, 16)
    volume[0, 6, 4:8, 4:8] = 1.0
    added = {
        "ct": torch.zeros(1, 9, 12, 12),
        "derm": torch.zeros(3, 16, 16),
        "table": torch.tensor([1.0, -0.5, 0.25]),
    }
    added["ct"][0, 6, 4:8, 4:8] = 1.0
    added["derm"][:, 4:8, 4:8] = -1.0
    heat = torch.zeros(9, 12, 12)
    heat[6, 4:8, 4:8] = 1.0
    given = {
        "case": "p1",
        "score": Score(BINARY, 1),
        "label": "no",
        "shares": Shares({"ct": 3.0, "derm": -0.9, "table": 0.1}, 2.0, -0.2),
        "attributions": Attributions(added, 2.0, 0.0),
        "cams": {"ct": Cam(heat, (3, 3, 3), 1), "derm": Cam(torch.zeros(16, 16), (4, 4), 1)},
        "inputs": {"ct": volume, "derm": photo, "table": torch.zeros(3)},
        "tables": {"table": TableTold(("age", "sex", "sex"), {"age": "61", "sex": "M"})},
        "facts": {"part": "train"},
    }
    return Explanation(**{**given, **changes})


def colours(path):
    with Image.open(path) as figure:
        pixels = np.asarray(figure.convert("RGB")).astype(int)

    def count(colour):
        return int((np.abs(pixels - colour).max(axis=2) < 4).sum())

    return pixels.shape, count(RED), count(BLUE)


def test_the_same_bytes_every_time(tmp_path):
    torch.manual_seed(0)
    found = explanation()
    first, second = panels.draw(found, tmp_path / "a.png"), panels.draw(found, tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    (height, width, _), red, blue = colours(first)
    assert width == round(panels.WIDTH * 160)
    assert height > 1000
    assert red > 500
    assert blue > 500


def test_inputs_without_anything_to_lay_over_them(tmp_path):
    whole, _, _ = colours(panels.draw(explanation(), tmp_path / "a.png"))
    bare, red, _ = colours(
        panels.draw(explanation(attributions=None, cams=None), tmp_path / "b.png")
    )
    assert bare[0] < whole[0]
    assert red == 0


def test_titles():
    assert panels._title(explanation()) == (
        "p1 (train): dx = yes with probability 0.881; labelled no"
    )
    other = explanation(score=Score(BINARY, 1, "ct"), label=None, facts={})
    assert panels._title(other) == "p1: dx = yes with probability 0.881, output ct; no label"


def test_layers_are_scaled_and_say_when_there_is_nothing():
    names = [layer.name for layer in panels._layers(explanation(), "derm")]
    assert names == [panels.GRADIENTS, "Grad-CAM: nowhere"]
    gradients, cam = panels._layers(explanation(), "ct")
    assert np.unravel_index(gradients.heat.argmax(), (9, 12, 12))[0] == 6
    assert (gradients.signed, cam.signed) == (True, False)
    assert cam.heat.max() == 1
    assert panels._layers(explanation(), "table") == []


def test_slices_are_those_where_most_is_seen():
    found = explanation()
    chosen = panels._slices(found.inputs["ct"], panels._layers(found, "ct"))
    assert len(chosen) == panels.MOST_SLICES
    assert chosen == sorted(chosen)
    assert 6 in chosen
    assert panels._slices(found.inputs["ct"], []) == [0, 2, 3, 5, 6, 8]
    assert panels._slices(torch.zeros(1, 3, 4, 4), []) == [0, 1, 2]


@pytest.mark.parametrize(("channels", "coloured"), [(1, False), (3, True), (6, False)])
def test_pictures(channels, coloured):
    torch.manual_seed(0)
    x = torch.randn(channels, 5, 4)
    picture = panels._picture(x)
    assert picture.shape == (5, 4, 3)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert (np.ptp(picture, axis=2).max() > 0) == coloured


def test_a_real_model(tmp_path):
    data = DataSpec(
        "d", (Modality("derm", "image", 3, (32, 32)), Modality("table", "table", 3)), (BINARY,)
    )
    model = assemble("derm=timm(resnet10t), table=mlp -> concat -> linear", data).eval()
    torch.manual_seed(0)

    def cases(count):
        return batch_of({m.name: torch.randn(count, *m.shape) for m in data.modalities})

    found = explain_case(model, cases(1), data.tasks, cases(2), case="x", method="both", steps=4)
    shape, _, _ = colours(panels.draw(found, tmp_path / "x.png"))
    assert shape[1] == round(panels.WIDTH * 160)
