"""Every row of every published table is trained and evaluated on a data set of the package, small.

A recipe that can't be run on the package's own data has no `stand_in`, and none has that.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric

from fusionzoo.bench.size import Size, read_size
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.open import open_dataset
from fusionzoo.data.splits import Split, make_split
from fusionzoo.data.tabular import fit_encoders
from fusionzoo.evaluation.predict import prediction_blocks
from fusionzoo.evaluation.predictions import Predictions
from fusionzoo.evaluation.report import evaluate
from fusionzoo.grammar import parse
from fusionzoo.models.assemble import suggest
from fusionzoo.models.matrix import small_options
from fusionzoo.plugin_files import recipe_folders
from fusionzoo.recipes import load_recipe, recipe_names
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.observer import Observer
from fusionzoo.training.stages import Trainer

#: Recipes of the package, without those of plugins that happen to be installed.
SHIPPED = [name for name in recipe_names() if name.partition("/")[0] not in recipe_folders()]
BOARDS = Path(__file__).parents[2] / "benchmarks" / "boards"
#: The smallest form of every part, whatever the row says; of timm's networks, that of the boards.
SMALL = Size(
    "smallest",
    "",
    {**small_options(), "timm": read_size(str(BOARDS / "iimgf_net_small.toml")).options["timm"]},
    {},
)
QUICK = {"epochs": 1, "fuse_epochs": 1, "batch_size": 24, "views": 0, "encoder_first": False}
#: Cases of each part: enough for every class of eight tasks, fewer where there is one task.
COUNTS = {1: 12, 8: 48}


PARTS = ("train", "val", "test")


def _rows():
    """One row of each spec, tables of the same methods on other data left out."""
    found = {}
    for name in SHIPPED:
        recipe = load_recipe(name)
        for row in recipe.rows:
            combo = parse(row.spec)
            named = {old: f"m{k}" for k, old in enumerate(combo.modalities)}
            spec = row.spec
            for old, new in named.items():
                spec = spec.replace(old, new)
            found.setdefault(spec, (name, row.label))
    return list(found.values())


@cache
def data(text):
    """A data set with a few cases of each part of its split, and its table encoders."""
    dataset = open_dataset(text)
    split = make_split(dataset)
    count = COUNTS[len(dataset.spec.tasks)]
    few = {p: getattr(split, p)[:: len(getattr(split, p)) // count][:count] for p in PARTS}
    return dataset, Split(**few, scheme="a few", digest=""), fit_encoders(dataset, few["train"])


def test_the_few_cases_have_every_class():
    for text in {load_recipe(name).stand_in for name in SHIPPED}:
        dataset, split, _ = data(text)
        for task in dataset.spec.tasks:
            for part in PARTS:
                codes = dataset.targets[task.name][getattr(split, part)]
                assert set(codes) == set(range(len(task.classes))), (task.name, part)


@pytest.mark.parametrize(("name", "label"), _rows())
def test_a_row_is_trained_and_evaluated(name, label):
    recipe = load_recipe(name)
    dataset, split, encoders = data(recipe.stand_in)
    combo = suggest(SMALL.apply(parse(recipe.row(label).spec)), dataset.spec)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = Trainer(
        combo,
        dataset,
        split,
        encoders,
        TrainConfig.from_settings(recipe.training, recipe.row(label).training, QUICK),
        seed=0,
        fabric=fabric,
        folder=None,
        identity="test",
        observer=Observer(),
    )
    trained = trainer.train()
    loaders = {
        part: CaseLoader(
            dataset, getattr(split, part), encoders, batch_size=48, modalities=combo.modalities
        )
        for part in ("val", "test")
    }
    blocks = prediction_blocks(trained.models, loaders, dataset, fabric.device)
    predictions = Predictions.collect(blocks, dataset.spec.tasks)
    evaluation = evaluate(predictions, replicates=2, reference=trained.main)
    for row in evaluation.results:
        assert row.num_cases == len(split.test)
        for metric in ("auroc", "accuracy", "sensitivity", "specificity"):
            assert np.isfinite(row.metrics[metric].value), (row.task, row.output, metric)
    if len(dataset.spec.tasks) > 1:
        assert (evaluation.results[-1].task, evaluation.binary) == ("mean", "macro")
