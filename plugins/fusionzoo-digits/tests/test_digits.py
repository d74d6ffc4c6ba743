"""digits: what is in it, and what the interface asks of every data set."""

import numpy as np
import pytest
from fusionzoo_digits.digits import Digits

from fusionzoo import registry
from fusionzoo.conformance import check
from fusionzoo.data.open import open_dataset
from fusionzoo.errors import BadOption
from fusionzoo.models.assemble import plan
from fusionzoo.recipes import load_recipe, recipe_names


def test_it_keeps_what_the_interface_promises():
    check("digits", kind="dataset").require(at_least=11)


def test_it_is_installed_under_its_name():
    assert registry.load("dataset", "digits") is Digits
    assert registry.entry("dataset", "digits").origin.startswith("fusionzoo-digits ")
    assert "digits/views" in recipe_names()


def test_cases_and_views():
    data = Digits(views=("pix", "mor", "zer", "fou", "kar", "fac"))
    assert [m.shape for m in data.spec.modalities] == [
        (1, 16, 15), (6,), (47,), (76,), (64,), (216,)
    ]  # fmt: skip
    assert np.bincount(data.targets["digit"]).tolist() == [200] * 10
    assert (data.cases[0], data.cases[-1]) == ("0-000", "9-199")
    assert data.table("mor").iloc[0].round(4).tolist() == [1, 0, 0, 133.15, 1.3117, 1620.2]
    first = (data.image("pix", 0)[0, 0] * 6).astype(int).tolist()
    assert first == [0, 3, 4, 4, 6, 6, 6, 6, 6, 5, 3, 1, 0, 0, 0]


def test_rows_of_an_image_are_15_pixels_long():
    image = np.stack([Digits().image("pix", k)[0] for k in range(0, 2000, 40)])
    below = np.corrcoef(image[:, :-1].ravel(), image[:, 1:].ravel())[0, 1]
    flat = image.reshape(len(image), -1)
    others = [np.corrcoef(flat[:, :-n].ravel(), flat[:, n:].ravel())[0, 1] for n in (14, 16)]
    assert below > max(others)


def test_other_views_are_other_data():
    assert Digits().digest != Digits(views=("pix", "fou")).digest


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (("pixel",), "Data set 'digits' has no view 'pixel'. Closest: pix. It has: pix, mor"),
        ((), "names none, or one twice"),
        (("pix", "pix"), "names none, or one twice"),
    ],
)
def test_views_that_are_not_there(views, message):
    with pytest.raises(BadOption) as caught:
        Digits(views=views)
    assert message in str(caught.value)


@pytest.mark.parametrize("label", [row.label for row in load_recipe("digits/views").rows])
def test_every_row_of_the_recipe_can_be_built(label):
    recipe = load_recipe("digits/views")
    resolved = plan(recipe.row(label).spec, open_dataset(recipe.dataset).spec)
    assert sum(stage.parameters for stage in resolved.stages) > 0


def test_a_table_of_numbers_and_an_image_are_learned_together(tmp_path):
    from fusionzoo.api import run

    spec = "mor=mlp, zer=mlp -> concat -> linear"
    record = run(
        spec,
        dataset="digits(views=(mor, zer))",
        fold=0,
        device="cpu",
        out=tmp_path,
        training={"epochs": 6, "fuse_epochs": 6, "baselines": "none"},
    )
    row = record.evaluation.row("digit", record.evaluation.main)
    assert row.metrics["accuracy"].value > 0.6
