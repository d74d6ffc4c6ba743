"""FusionM4Net: released branches, both searches, the second stage, and what is saved of it."""

from typing import Any

import numpy as np
import pytest
import torch

from fusionzoo.errors import BadOption, LayoutMismatch, WeightsError
from fusionzoo.fusions.fusionm4net import FusionM4Net, released_grid, simplex_grid
from fusionzoo.interface import Context
from fusionzoo.models.weights import fill, load_component
from fusionzoo.ops.support_vectors import SupportVectorMachine
from fusionzoo.spec import FeatureSpec, TaskSpec
from tests import golden_normal
from tests.golden_rule import GOLDEN

IMAGE, TABLE = FeatureSpec.vector(6), FeatureSpec.vector(3)
TWO = {"clinic": IMAGE, "derm": IMAGE}
MAP = FeatureSpec.map(6, (2, 2), (8, 8))
TASKS = (TaskSpec("dx", ("no", "yes")), TaskSpec("grade", ("low", "middle", "high")))


def built(given: dict[str, FeatureSpec] = TWO, **options: Any) -> FusionM4Net:
    torch.manual_seed(0)
    fusion = FusionM4Net(given, **{"hidden_dim": 8, "embed_dim": 4} | options)
    fusion.attach({n: [s if s is TABLE else MAP] for n, s in given.items()}, TASKS)
    return fusion.eval()


def everyone(names: Any, count: int) -> Context:
    return Context({name: torch.ones(count, dtype=torch.bool) for name in names})


def judged(fusion: FusionM4Net, count: int = 60, seed: int = 0) -> tuple[Any, Any]:
    """Logits of branches that know something, columns that know more, and the truth."""
    torch.manual_seed(seed)
    targets = {"dx": torch.arange(count) % 2, "grade": torch.arange(count) % 3}
    logits = {
        name: {
            "dx": (2.0 * targets["dx"] - 1)[:, None] + 2 * torch.randn(count, 1),
            "grade": 2.0 * torch.eye(3)[targets["grade"]] + 2 * torch.randn(count, 3),
        }
        for name in fusion.branches
    }
    if fusion.tables:
        columns = torch.stack([targets["dx"], targets["grade"]], 1) + 0.3 * torch.randn(count, 2)
        logits["columns"] = {"dx": columns, "grade": columns}
    return logits, targets


def test_golden_branches_and_heads() -> None:
    golden = golden_normal.load("fusionm4net_heads")
    fusion = FusionM4Net(
        {"clinic": FeatureSpec.vector(64), "derm": FeatureSpec.vector(64)},
        hidden_dim=32,
        embed_dim=16,
    )
    fusion.attach({"clinic": [MAP], "derm": [MAP]}, TASKS)
    prefixes = {"clinic": "clin_mlp", "derm": "derm_mlp", "fused": "fc_fusion_"}
    for name, official in prefixes.items():
        branch = fusion.branches[name]
        golden_normal.fill_module(branch, {k: f"{official}.{k}" for k in branch.state_dict()})
    features = {"clinic": golden["in"]["clinic_feat"], "derm": golden["in"]["derm_feat"]}
    found = fusion.join(features, everyone(features, 4)).features
    suffixes = {"clinic": "cli", "derm": "derm", "fused": "fusion"}
    for branch, suffix in suffixes.items():
        for task, classes in {"DIAG": 5, "PN": 3, "BWV": 2, "RS": 2}.items():
            head = f"fc_{suffix}" if task == "DIAG" else f"fc_{task.lower()}_{suffix}"
            weight = golden_normal.fill(f"{head}.weight", (classes, 16))
            logits = found[branch] @ weight.T + golden_normal.fill(f"{head}.bias", (classes,))
            expected = golden["out"][f"{suffix if branch == 'fused' else branch}.{task}"]
            torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)


def test_golden_search_of_the_second_stage(monkeypatch) -> None:
    """One task whose P_2 is told: the share with the best accuracy, and the accuracy of each."""
    with np.load(GOLDEN / "fusionm4net_p1p2_search.npz") as file:
        golden = {key: torch.from_numpy(file[key]) for key in file.files}
    fusion = FusionM4Net({"derm": IMAGE}, hidden_dim=8, embed_dim=4)
    fusion.attach({"derm": [MAP]}, TASKS[1:])
    monkeypatch.setattr(SupportVectorMachine, "fit", lambda self, x, codes: None)
    monkeypatch.setattr(SupportVectorMachine, "fitted", True)
    second = golden["in/p2"].float()
    monkeypatch.setattr(SupportVectorMachine, "forward", lambda self, x: second)
    logits = {"derm": {"grade": golden["in/p1"].log().float()}}
    targets = {"grade": golden["in/labels"].long()}
    fusion.fit_stacked(logits, targets, logits, targets)
    assert fusion.share.item() == pytest.approx(golden["out/best_weight"].item())
    final = fusion.decide(logits, everyone(["derm"], 40))
    assert fusion._accuracy(final, targets).item() == golden["out/best_acc"].item()


def test_first_stage_weighs_logits() -> None:
    fusion = built(stage="fs")
    fusion.weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    logits, _ = judged(fusion)
    final = fusion.decide(logits, everyone(TWO, 60))
    each = [logits[name]["grade"] for name in ("clinic", "derm", "fused")]
    torch.testing.assert_close(final["grade"], 0.5 * each[0] + 0.2 * each[1] + 0.3 * each[2])


def test_absent_images_have_no_say() -> None:
    fusion = built()
    fusion.weights.copy_(torch.tensor([0.5, 0.2, 0.3]))
    logits, _ = judged(fusion, 3)
    context = everyone(TWO, 3)
    context.present["clinic"][0] = False
    context.present["clinic"][1] = context.present["derm"][1] = False
    final, zs = fusion.decide(logits, context)["dx"], [z["dx"] for z in logits.values()]
    torch.testing.assert_close(final[0], 0.4 * zs[1][0] + 0.6 * zs[2][0])
    torch.testing.assert_close(final[1], torch.stack(zs).mean(0)[1])
    vectors = {name: torch.randn(3, 6) for name in TWO}
    joined = fusion.join(vectors, context).features["fused"]
    torch.testing.assert_close(joined[0], fusion.branches["fused"](vectors["derm"])[0])


def test_weights_with_the_best_accuracy_are_found() -> None:
    fusion = built(stage="fs")
    logits, targets = judged(fusion)
    targets["dx"][:10] = -1
    fusion.fit(logits, targets)

    def accuracy(weights: tuple[float, ...]) -> float:
        right = []
        for task, codes in targets.items():
            z = sum(w * by[task] for w, by in zip(weights, logits.values(), strict=True))
            said = z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(1)
            right.append((said == codes)[codes >= 0].double().mean().item())
        return float(np.mean(right))

    scores = [accuracy(weights) for weights in simplex_grid(3, 25)]
    assert accuracy(tuple(fusion.weights.tolist())) == pytest.approx(max(scores))
    assert max(scores) > scores[0]
    even = built(stage="fs")
    even.fit(judged(even)[0], {name: torch.full((60,), -1) for name in targets})
    assert even.weights.max() - even.weights.min() <= 0.041  # all alike: the centre of the grid


def test_simplex_grid() -> None:
    grid = simplex_grid(3, 4)
    assert len(grid) == len(set(grid)) == 15
    assert all(sum(weights) == 1 for weights in grid)
    assert set(grid[:3]) == {(0.5, 0.25, 0.25), (0.25, 0.5, 0.25), (0.25, 0.25, 0.5)}
    assert set(grid[-3:]) == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_released_grid_goes_on_with_scaled_weights() -> None:
    grid = list(released_grid(20))  # 0.05, 0.1, ..., 1
    np.testing.assert_allclose(np.sum(grid, axis=1), 1)
    np.testing.assert_allclose(grid[0], [1 / 3] * 3)
    # From 1/3, 1/3 the inner loop's next values up to 1/3 still fit.
    total = 2 / 3 + 0.1
    np.testing.assert_allclose(grid[1], [1 / 3 / total, 1 / 3 / total, 0.1 / total])
    fusion = built(grid="released", steps=20)
    fusion.fit(*judged(fusion))
    assert min(np.abs(np.array(grid) - fusion.weights.numpy()).max(1)) < 1e-6


def test_second_stage_reads_all_tasks_and_the_table() -> None:
    given = {"clinic": IMAGE, "table": TABLE, "derm": IMAGE}
    fusion = built(given)
    held, val = judged(fusion, 80, 1), judged(fusion, 60, 2)
    fusion.fit(*val)
    fusion.fit_stacked(*held, *val)
    first = fusion._weighed(val[0], fusion.weights, torch.ones(3, 60, dtype=torch.bool))
    yes = first["dx"].sigmoid()
    x = torch.cat([1 - yes, yes, first["grade"].softmax(1), val[0]["columns"]["dx"]], dim=1)
    assert [machine.vectors.shape[1] for machine in fusion.machines] == [7, 7]
    second = fusion.machines[1](x)
    expected = fusion.share * first["grade"].softmax(1) + (1 - fusion.share) * second
    final = fusion.decide(val[0], everyone(given, 60))
    torch.testing.assert_close(final["grade"].softmax(1), expected)
    assert fusion._accuracy(final, val[1]) > fusion._accuracy(first, val[1]) + 0.05
    assert fusion.share < 1


def test_tasks_without_classes_to_learn_keep_the_first_stage() -> None:
    fusion = built()
    (held, targets), val = judged(fusion, 80, 1), judged(fusion)
    fusion.fit_stacked(held, targets | {"dx": torch.zeros_like(targets["dx"])}, *val)
    final, first = fusion.decide(val[0], everyone(TWO, 60)), fusion._alike(val[0], fusion.weights)
    torch.testing.assert_close(final["dx"], first["dx"])
    nothing = built()
    gone = {name: torch.full((80,), -1) for name in targets}
    nothing.fit_stacked(held, gone, *val)
    final = nothing.decide(val[0], everyone(TWO, 60))
    torch.testing.assert_close(final["grade"], nothing._alike(val[0], nothing.weights)["grade"])


def test_what_was_fitted_is_saved(tmp_path) -> None:
    fusion, again = built(), built()
    held, val = judged(fusion, 80, 1), judged(fusion)
    fusion.fit(*val)
    fusion.fit_stacked(*held, *val)
    fill(again, fusion.state_dict(), what="the fusion", path=tmp_path)
    context = everyone(TWO, 60)
    assert torch.equal(again.decide(val[0], context)["dx"], fusion.decide(val[0], context)["dx"])


def test_the_share_that_is_held_out() -> None:
    assert built(held_out=0.3).held_out == 0.3
    assert built(stage="fs").held_out == 0


def test_a_table_has_a_classifier_of_its_own() -> None:
    fusion = built({"derm": IMAGE, "table": TABLE})
    assert fusion.supervised == {"derm": 0.33, "table": 0.33}
    features = {"derm": torch.randn(2, 6), "table": torch.randn(2, 3)}
    context = everyone(features, 2)
    context.present["table"][0] = False
    joined = fusion.join(features, context)
    torch.testing.assert_close(joined.features["table"][1], features["table"][1])
    assert not joined.logits["columns"]["grade"][0].any()


def test_gradient_reaches_every_parameter() -> None:
    given = {"clinic": IMAGE, "derm": FeatureSpec.vector(4)}
    fusion = built(given, dropout=0.0).train()
    features = {n: torch.randn(5, spec.channels, requires_grad=True) for n, spec in given.items()}
    vectors = fusion.join(features, everyone(given, 5)).features
    assert list(vectors) == ["clinic", "derm", "fused"]
    sum((x.square() * torch.arange(4)).sum() for x in vectors.values()).backward()
    silent = [n for n, p in fusion.named_parameters() if not p.grad.abs().max() > 1e-6]
    # A batch norm takes away what a bias before it adds.
    assert all(name.endswith(("0.bias", "4.bias")) for name in silent)
    assert all(x.grad.abs().max() > 0 for x in features.values())


def test_the_size_of_the_release() -> None:
    """54.5 million: two whole ResNet-50 of 25,557,032 each, branches, and heads of 24 logits."""
    with torch.device("meta"):
        fusion = FusionM4Net(dict.fromkeys(TWO, FeatureSpec.vector(2048)))
        fusion.attach({name: [MAP] for name in TWO}, TASKS)
    count = sum(p.numel() for p in fusion.parameters())
    assert count == 3_348_096
    assert round((count + 3 * 24 * 129 + 2 * 25_557_032) / 1e6, 1) == 54.5


def test_official_names(tmp_path) -> None:
    fusion, path = built(), tmp_path / "fusionnet.pth"
    names = {"clinic": "clin_mlp", "derm": "derm_mlp", "fused": "fc_fusion_"}
    state = {
        f"{names[n]}.{key}": golden_normal.fill(key, tuple(x.shape))
        for n, branch in fusion.branches.items()
        for key, x in branch.state_dict().items()
    }
    torch.save(state | {"fc_cli.bias": torch.ones(5)}, path)
    load_component(fusion, path, what="fusionm4net")
    assert torch.equal(fusion.branches["derm"][1].weight, state["derm_mlp.1.weight"])
    assert fusion.weights.tolist() == pytest.approx([1 / 3] * 3)
    torch.save({"conv1.weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="none of its 1 names is of a FusionNet's branches"):
        load_component(fusion, path, what="fusionm4net")
    with pytest.raises(WeightsError, match="first image is the clinical one"):
        built(dict(reversed(TWO.items()))).rename_official(state)


@pytest.mark.parametrize(
    ("given", "options", "error", "told"),
    [
        ({"a": TABLE, "b": TABLE}, {}, LayoutMismatch, "none of a, b goes through maps"),
        ({"a": IMAGE, "b": TABLE}, {"stage": "fs"}, LayoutMismatch, "never reads a table, and b"),
        (dict.fromkeys("abc", IMAGE), {"grid": "released"}, BadOption, "is of three branches; a"),
        (TWO, {"steps": 1}, BadOption, "steps=1 must be at least 2, and held_out=0.5 between 0"),
    ],
)
def test_refusals(given: Any, options: Any, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        built(given, **options)
