"""Weights: what files are read, what is refused, and the names of official releases."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from fusionzoo.encoders.penet3d import PENet3D
from fusionzoo.errors import BadOption, WeightsError
from fusionzoo.grammar import parse, print_value
from fusionzoo.models.assemble import assemble, plan
from fusionzoo.models.weights import filled_from, find_weights, load_component, read_weights
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from tests import golden_rule

DATA = DataSpec(
    "lung",
    (Modality("ct", "volume", 1, (12, 32, 32)), Modality("table", "table", 7)),
    (TaskSpec("malignant", ("no", "yes")),),
)
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


def save(path, state=STATE):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.tar"])
def test_what_is_saved_is_read(tmp_path, name):
    assert_same(read_weights(save(tmp_path / name)), STATE)


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state": state, "ckpt_info": {"epoch": 3}, "model_name": "PENet"},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{key}": t for key, t in state.items()}},
        lambda state: {**state, "epoch": 3},
    ],
)
def test_checkpoints_of_other_trainers_are_opened(tmp_path, nest):
    assert_same(read_weights(save(tmp_path / "w.pt", nest(STATE))), STATE)


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "w.pt")
    assert find_weights("~/w.pt") == tmp_path / "w.pt"


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the code in the file was run",))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])
    return path


CANT = (
    "It must be a whole safetensors file or a PyTorch checkpoint that holds tensors and plain "
    "values only; code in it is never run."
)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: save(folder / "w.pt", {**STATE, "x": Bomb()}),
        lambda folder: (folder / "w.pkl").write_bytes(pickle.dumps(Bomb())) and folder / "w.pkl",
        lambda folder: truncated(save(folder / "w.pt")),
        lambda folder: truncated(save(folder / "w.safetensors")),
        lambda folder: (folder / "w.pt").write_text("<html>") and folder / "w.pt",
        lambda folder: (folder / "w.safetensors").touch() or folder / "w.safetensors",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_with_code_or_with_an_end_missing_is_refused(tmp_path, write):
    path = write(tmp_path)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{str(path)!r} can't be read as weights (")
    assert str(caught.value).endswith(CANT)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.zeros(3), "holds a Tensor, not tensors by name. Save the model's state_dict()."),
        ([1, 2], "holds a list, not tensors by name. Save the model's state_dict()."),
        ({"epoch": 3}, "holds no tensors by name; found epoch. Save the model's state_dict()."),
        ({}, "holds no tensors by name; found nothing. Save the model's state_dict()."),
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path, state, message):
    path = save(tmp_path / "w.pt", state)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(caught.value) == f"{str(path)!r} {message}"


@pytest.mark.parametrize("name", ["nothing.pt", ""])
def test_a_path_without_a_file_is_refused(tmp_path, name):
    with pytest.raises(WeightsError) as caught:
        read_weights(tmp_path / name)
    assert str(caught.value) == (
        f"No weights file at {str(tmp_path / name)!r}. "
        "Give the path of a .safetensors, .pt or .pth file."
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop("bias"), "1 tensors are missing (bias)"),
        (lambda s: s.update(more=torch.zeros(1)), "1 have no place (more)"),
        (
            lambda s: s.update(weight=torch.zeros(2, 4)),
            "weight is (2, 4) in the file and (2, 3) in the model",
        ),
        (
            lambda s: s.update({f"x{i}": torch.zeros(1) for i in range(5)}, bias=torch.zeros(9)),
            "5 have no place (x0, x1, x2, ...); bias is (9,) in the file and (2,) in the model",
        ),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, change, problem):
    linear = torch.nn.Linear(3, 2)
    before = {key: tensor.clone() for key, tensor in linear.state_dict().items()}
    state = dict(linear.state_dict())
    change(state)
    path = save(tmp_path / "w.pt", state)
    with pytest.raises(WeightsError) as caught:
        load_component(linear, path, what="head 'linear'")
    assert str(caught.value) == (
        f"{str(path)!r} doesn't fit head 'linear': {problem}. "
        "Use the options that the weights were made with."
    )
    assert_same(linear.state_dict(), before)


def spec_with(path, text="table=mlp(weights={}) -> linear"):
    return text.format(print_value(str(path)))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_part_of_a_spec_is_filled_from_a_file(tmp_path, name):
    donor = assemble("table=mlp -> linear", DATA, seed=7).trunks["table"].encoder.state_dict()
    path = save(tmp_path / name, donor)
    model = assemble(spec_with(path), DATA, seed=1)
    assert_same(model.trunks["table"].encoder.state_dict(), donor)
    assert model.plan.weights == {"table:mlp": str(path)}
    assert plan(spec_with(path), DATA).weights == model.plan.weights


def test_fusions_heads_and_necks_are_filled_too(tmp_path):
    spec = "ct=penet3d(width=0.25, depth=14)+e3d_msca{}, table=kan -> msca{} -> linear{}"
    donor = assemble(spec.format("", "", ""), DATA, seed=7)
    parts = {
        "neck": donor.trunks["ct"].necks[0],
        "fusion": donor.fusion,
        "head": donor.heads["fused"],
    }
    given = []
    for name, part in parts.items():
        path = save(tmp_path / f"{name}.safetensors", part.state_dict())
        given.append(f"(weights={print_value(str(path))})")
    model = assemble(spec.format(*given), DATA, seed=1)
    assert_same(model.trunks["ct"].necks[0].state_dict(), parts["neck"].state_dict())
    assert_same(model.fusion.state_dict(), parts["fusion"].state_dict())
    assert_same(model.heads["fused"].state_dict(), parts["head"].state_dict())


def test_weights_for_other_options_are_refused(tmp_path):
    donor = assemble("table=mlp(channels=8) -> linear", DATA).trunks["table"].encoder.state_dict()
    path = save(tmp_path / "w.pt", donor)
    with pytest.raises(WeightsError, match=r"doesn't fit encoder 'mlp': layers\.1\.weight is"):
        assemble(spec_with(path), DATA)


OFFICIAL_PENET = "penet50_full"
OFFICIAL_IMAGE_MODEL = "img_new_full"


def penet_state(part):
    return PENet3D.official_parts(golden_rule.ruled_state(OFFICIAL_PENET))[part]


@pytest.mark.parametrize("nested", [False, True])
def test_an_official_penet_fills_the_encoder_and_its_summary(tmp_path, nested):
    state = golden_rule.ruled_state(OFFICIAL_PENET)
    if nested:
        state = {"model_state": {f"module.{k}": v for k, v in state.items()}, "model_args": {}}
    path = save(tmp_path / "penet.pth.tar", state)
    model = assemble(spec_with(path, "ct=penet3d(weights={}) -> linear"), DATA)
    trunk = model.trunks["ct"]
    assert_same(trunk.encoder.state_dict(), penet_state("encoder"))
    assert_same(trunk.reduction[0].state_dict(), penet_state("summary"))


def test_an_official_penet_without_its_summary_leaves_ours(tmp_path):
    state = golden_rule.ruled_state(OFFICIAL_PENET)
    state = {key: tensor for key, tensor in state.items() if not key.startswith("asp_pool")}
    path = save(tmp_path / "penet.pt", state)
    model = assemble(spec_with(path, "ct=penet3d(weights={}) -> linear"), DATA, seed=2)
    fresh = assemble("ct=penet3d -> linear", DATA, seed=2)
    assert_same(model.trunks["ct"].encoder.state_dict(), penet_state("encoder"))
    assert_same(
        model.trunks["ct"].reduction.state_dict(), fresh.trunks["ct"].reduction.state_dict()
    )


def test_an_official_penet_needs_no_summary_where_a_neck_has_its_own(tmp_path):
    path = save(tmp_path / "penet.pt", golden_rule.ruled_state(OFFICIAL_PENET))
    spec = spec_with(path, "ct=penet3d(weights={})+e3d_msca -> linear")
    model, fresh = assemble(spec, DATA), assemble("ct=penet3d+e3d_msca -> linear", DATA)
    assert_same(model.trunks["ct"].encoder.state_dict(), penet_state("encoder"))
    assert_same(model.trunks["ct"].necks.state_dict(), fresh.trunks["ct"].necks.state_dict())


def small_image_model(trunk):
    """A state dict under official names for a small trunk, by turning the renaming round."""
    state = {}
    for key, shape in golden_rule.shapes(OFFICIAL_IMAGE_MODEL).items():
        state[key] = torch.empty(shape, device="meta")
    parts = type(trunk.necks[0]).official_parts(state)
    encoder = PENet3D.official_parts(state)["encoder"]
    official = {id(tensor): key for key, tensor in state.items()}
    own = {
        **{official[id(t)]: (trunk.encoder, k) for k, t in encoder.items()},
        **{official[id(t)]: (trunk.necks[0], k) for k, t in parts["neck"].items()},
        **{official[id(t)]: (trunk.reduction[0], k) for k, t in parts["summary"].items()},
    }
    filled = {
        key: golden_rule.fill(key, tuple(part.state_dict()[name].shape))
        for key, (part, name) in own.items()
        if name in part.state_dict()
    }
    head = {k: torch.zeros(1) for k in state if k.startswith("fused_cls")}
    return filled | head, {key: place for key, place in own.items() if key in filled}


def test_the_official_image_model_fills_encoder_neck_and_summary(tmp_path):
    text = "ct=penet3d(width=0.25{0})+e3d_msca(dropout=0.3{0}) -> linear"
    fresh = assemble(text.format(""), DATA, seed=3).trunks["ct"]
    state, places = small_image_model(fresh)
    path = save(tmp_path / "img_new.pt", state)
    given = f", weights={print_value(str(path))}"
    model = assemble(text.format(given), DATA, seed=4)
    trunk = model.trunks["ct"]
    found = {fresh.encoder: trunk.encoder, fresh.necks[0]: trunk.necks[0]}
    found[fresh.reduction[0]] = trunk.reduction[0]
    filled = {"encoder": 0, "neck": 0, "summary": 0}
    for key, (part, name) in places.items():
        assert torch.equal(found[part].state_dict()[name], state[key]), key
        filled[
            "encoder" if part is fresh.encoder else "neck" if part is fresh.necks[0] else "summary"
        ] += 1
    for part, kind in ((fresh.encoder, "encoder"), (fresh.necks[0], "neck")):
        assert filled[kind] == len(part.state_dict())
    assert filled["summary"] == 2
    assert set(model.plan.weights) == {"ct:penet3d", "ct:e3d_msca"}


@pytest.mark.parametrize(
    ("spec", "golden", "part"),
    [
        (
            "ct=penet3d(width=0.25, depth=14), table=kan -> msca(weights={}) -> linear",
            "msca24",
            lambda model: model.fusion,
        ),
        (
            "ct=penet3d(width=0.25, depth=14), table=kan -> cross_attention(weights={}) -> linear",
            "simple_cross_attention24",
            lambda model: model.fusion,
        ),
        (
            "table=kan(weights={}) -> linear",
            "kan_layer_7x24",
            lambda model: model.trunks["table"].encoder,
        ),
        (
            "table=mlp(weights={}) -> linear",
            "tab_mlp",
            lambda model: model.trunks["table"].encoder,
        ),
    ],
)
def test_other_official_parts(tmp_path, spec, golden, part):
    param = golden_rule.load(golden)["param"]
    path = save(tmp_path / "w.pt", param)
    filled = part(assemble(spec_with(path, spec), DATA))
    fresh = part(assemble(spec.replace("(weights={})", ""), DATA))
    expected = fresh.rename_official(param)
    assert_same(filled.state_dict(), {k: expected[k] for k in filled.state_dict()})


@pytest.mark.parametrize(
    ("spec", "state", "said"),
    [
        (
            "ct=penet3d(weights={}) -> linear",
            {"conv1.weight": torch.zeros(1)},
            "doesn't fit encoder 'penet3d': These weights are no PENet's: 1 of 1 names",
        ),
        (
            "table=kan(weights={}) -> linear",
            {"coef": torch.zeros(7, 24, 8)},
            "doesn't fit encoder 'kan': it has neither our names nor all of the official "
            "release's (KeyError: 'grid'). It begins with 'coef'.",
        ),
        (
            "ct=penet3d(width=0.25, weights={}) -> linear",
            golden_rule.ruled_state(OFFICIAL_PENET, keep="in_conv"),
            "doesn't fit encoder 'penet3d':",
        ),
    ],
)
def test_what_is_not_that_release_is_refused(tmp_path, spec, state, said):
    path = save(tmp_path / "w.pt", state)
    with pytest.raises(WeightsError) as caught:
        assemble(spec_with(path, spec), DATA)
    assert str(caught.value).startswith(f"{str(path)!r} {said}")


SPEC = "ct=penet3d(weights=own), table=kan -> msca -> linear"


def test_files_for_all_parts_and_for_some():
    told = str(filled_from(parse(SPEC), ["whole.pt", "kan=a=b.pt"]))
    assert told == (
        "ct=penet3d(weights=own), table=kan(weights='a=b.pt') -> msca(weights=whole.pt) "
        "-> linear(weights=whole.pt)"
    )
    assert filled_from(parse(SPEC), ["runs/a=b.pt"]).head.options == (("weights", "runs/a=b.pt"),)
    assert filled_from(parse(SPEC), []) == parse(SPEC)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["mcsa=w.pt"], "names a part 'mcsa'. Closest: msca. The spec has: penet3d, kan, msca, "),
        (["a.pt", "b.pt"], "gives all parts two files: 'a.pt' and 'b.pt'"),
        (["kan=a.pt", "kan=b.pt"], "gives part 'kan' two files: 'a.pt' and 'b.pt'"),
    ],
)
def test_files_for_parts_that_are_not_there(told, said):
    with pytest.raises(BadOption) as raised:
        filled_from(parse(SPEC), told)
    assert said in str(raised.value)


def test_a_part_without_weights_takes_none(tmp_path):
    spec = spec_with(
        save(tmp_path / "w.pt"), "ct=penet3d, table=kan -> concat(weights={}) -> linear"
    )
    assert assemble(spec, DATA).plan.weights
