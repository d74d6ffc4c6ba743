"""Named systems: every one can be read, planned and told apart."""

import pytest

from fusionzoo import registry
from fusionzoo.errors import PluginError, UnknownComponent
from fusionzoo.grammar import parse
from fusionzoo.models.assemble import plan
from fusionzoo.spec import DataSpec, Modality, TaskSpec
from fusionzoo.systems import System, load_system

DATA = DataSpec(
    "any",
    (
        Modality("ct", "volume", 1, (12, 192, 192)),
        Modality("table", "table", 7),
        Modality("clinic", "image", 3, (224, 224)),
        Modality("derm", "image", 3, (224, 224)),
    ),
    (TaskSpec("malignant", ("no", "yes")),),
)


@pytest.mark.parametrize("name", registry.names("system"))
def test_every_system_is_a_spec_whose_parts_fit(name):
    system = load_system(name)
    assert (system.name, bool(system.summary)) == (name, True)
    assert system.spec == str(parse(system.spec))
    assert plan(system.spec, DATA).stages
    assert registry.entry("system", name).summary == system.summary


def test_mmcaf_net_is_its_papers_combo():
    spec = load_system("mmcaf-net").spec
    assert spec == "ct=penet3d+e3d_msca(dropout=0.3), table=kan -> msca -> linear"


def test_an_unknown_system():
    with pytest.raises(UnknownComponent, match=r"No system is called 'mmcaf'\. Closest: mmcaf-net"):
        load_system("mmcaf")


FOREIGN = System("foreign", "theirs", "table=mlp -> linear")


@pytest.mark.parametrize("given", [FOREIGN, "table=mlp -> linear"])
def test_a_plugins_system_is_an_object_of_that_kind(monkeypatch, given):
    entry = registry.Entry("system", "foreign", "foo 1", "foo:foreign")
    monkeypatch.setattr(registry, "entry", lambda kind, name: entry)
    monkeypatch.setattr(registry, "load", lambda kind, name: given)
    if given is FOREIGN:
        assert load_system("foreign") is FOREIGN
        return
    with pytest.raises(PluginError) as caught:
        load_system("foreign")
    assert str(caught.value) == f"The system 'foreign' of foo 1 is no System: {given!r}."
