"""A traced model takes any number of cases, and lacks no operator of this package."""

import pytest
import torch

from fusionzoo.errors import BadOption
from fusionzoo.export.program import Exportable, trace
from fusionzoo.fusions.concat import Concat
from fusionzoo.models.assemble import assemble
from fusionzoo.spec import DataSpec, Modality, TaskSpec

DATA = DataSpec(
    "toy",
    (
        Modality("derm", "image", 3, (32, 32)),
        Modality("blood", "table", 4),
        Modality("table", "table", 5),
    ),
    (TaskSpec("bad", ("no", "yes")), TaskSpec("grade", ("a", "b", "c"))),
)


def inputs(exportable, count):
    draw = torch.Generator().manual_seed(count)
    found = exportable.examples(count)
    for modality in exportable.modalities:
        found[modality.name] = torch.randn(count, *modality.shape, generator=draw)
    return found


def same(exportable, program, given):
    ours, theirs = exportable(given), program.module()(given)
    assert list(ours) == list(theirs) == ["bad", "grade"]
    for task in ours:
        torch.testing.assert_close(theirs[task], ours[task], rtol=0, atol=1e-6)
    return ours


@pytest.mark.parametrize(
    "spec",
    [
        "blood=kan, table=mlp -> late -> linear",
        "blood=mlp, table=mlp -> clip -> linear",
        "blood=mlp, table=mlp -> medfuse -> linear",
    ],
)
def test_any_number_of_cases_with_any_modality_absent(spec):
    exportable = Exportable(assemble(spec, DATA), DATA).eval()
    assert exportable.names == ("blood", "table", "present_blood", "present_table")
    program = trace(exportable)
    for count in (1, 2, 5):
        given = inputs(exportable, count)
        whole = same(exportable, program, given)
        for probs in whole.values():
            torch.testing.assert_close(probs.sum(dim=1), torch.ones(count))
        given["present_blood"][0] = False
        given["blood"][0] = 0
        without = same(exportable, program, given)
        assert not torch.equal(without["bad"][0], whole["bad"][0])


def test_scans_are_written_out(unchecked):
    spec = "derm=vmamba(channels=8, depths=[1, 1, 1, 1], num_stages=1) -> linear"
    exportable = Exportable(assemble(spec, DATA), DATA).eval()
    assert exportable.names == ("derm",)
    program = trace(exportable)
    assert not [n for n in program.graph.nodes if "fusionzoo" in str(n.target)]
    same(exportable, program, inputs(exportable, 3))


def test_a_fusion_that_needs_everything_has_no_masks(monkeypatch):
    monkeypatch.setattr(Concat, "missing", "refuse")
    exportable = Exportable(assemble("blood=mlp, table=mlp -> concat -> linear", DATA), DATA).eval()
    assert exportable.names == ("blood", "table")
    same(exportable, trace(exportable), inputs(exportable, 3))
    assert Concat.missing == "refuse"


def test_parts_that_cannot_be_exported_are_named(monkeypatch):
    monkeypatch.setattr(Concat, "exports", False)
    exportable = Exportable(assemble("blood=mlp, table=mlp -> concat -> linear", DATA), DATA)
    with pytest.raises(BadOption, match=r"can't be exported: Concat does what no graph"):
        trace(exportable)


def test_what_pytorch_cannot_trace_is_told_as_it_says_it(monkeypatch):
    join = Concat.join

    def counting(self, features, context):
        if float(features["blood"].sum()) > 0:
            features = {name: x * 2 for name, x in features.items()}
        return join(self, features, context)

    monkeypatch.setattr(Concat, "join", counting)
    exportable = Exportable(assemble("blood=mlp, table=mlp -> concat -> linear", DATA), DATA)
    with pytest.raises(BadOption, match="can't be exported: PyTorch can't trace it"):
        trace(exportable)
