"""Recipes and systems of plugins: TOML files in packages that are never imported."""

import sys

import pytest

from fusionzoo import registry
from fusionzoo.errors import PluginError, UnknownComponent
from fusionzoo.plugin_files import recipe_folders, system_file
from fusionzoo.recipes import load_recipe, recipe_names
from fusionzoo.systems import load_system
from tests.pretend_plugins import pretend

RECIPE = """
summary = "s"
paper = "p"
place = "Table 1"
dataset = "lidc"
decimals = 2
[[rows]]
label = "a"
spec = "ct=penet3d -> linear"
basis = "paper"
"""
SYSTEM = """
summary = "a net"
paper = "p"
basis = "paper"
spec = "ct=penet3d -> linear"
default = "own"
[presets.own]
summary = "its own"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with tables and a system, whose import fails."""
    for folder in ("zoo_tables", "zoo_tables/tables", "zoo_tables/nets"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "zoo_tables" / "tables" / "__init__.py").write_text("raise RuntimeError('read')")
    (tmp_path / "zoo_tables" / "tables" / "table1.toml").write_text(RECIPE)
    (tmp_path / "zoo_tables" / "nets" / "my-net.toml").write_text(SYSTEM)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "zoo_tables"
    for name in [name for name in sys.modules if name.startswith("zoo_tables")]:
        del sys.modules[name]
    registry.refresh()


def test_recipes_of_a_plugin(package, monkeypatch):
    pretend(monkeypatch, [("recipes", "zoo", "zoo_tables.tables", "zoo-tables")])
    (folder,) = recipe_folders().values()
    assert (folder.name, folder.origin, folder.path) == (
        "zoo",
        "zoo-tables 0.2",
        package / "tables",
    )
    assert "zoo/table1" in recipe_names()
    assert load_recipe("zoo/table1").rows[0].label == "a"
    assert load_recipe("zoo").name == "zoo/table1"


def test_a_name_that_is_taken_and_a_package_that_is_not_there(package, monkeypatch):
    pretend(
        monkeypatch,
        [
            ("recipes", "mmcaf_net", "zoo_tables.tables", "zoo-tables"),
            ("recipes", "lost", "zoo_tables.nothing", "zoo-tables"),
            ("recipes", "zoo", "zoo_tables.tables", "zoo-tables"),
            ("recipes", "zoo", "zoo_tables.nets", "other-zoo"),
        ],
    )
    assert set(recipe_folders()) == {"zoo"}
    reasons = {(part.name, part.origin): part.reason for part in registry.broken()}
    assert "fusionzoo has recipes of that name too" in reasons["mmcaf_net", "zoo-tables 0.2"]
    assert "'zoo_tables.nothing' is no package" in reasons["lost", "zoo-tables 0.2"]
    assert len(reasons) == 3
    assert "mmcaf_net/table1" in recipe_names()


def test_plugins_that_are_turned_off_have_no_recipes(package, monkeypatch):
    monkeypatch.setenv("FUSIONZOO_PLUGINS", "off")
    pretend(monkeypatch, [("recipes", "zoo", "zoo_tables.tables", "zoo-tables")])
    assert recipe_folders() == {}


def test_a_system_of_a_plugin(package, monkeypatch):
    pretend(monkeypatch, [("systems", "my-net", "zoo_tables.nets", "zoo-tables")])
    assert "my-net" in registry.names("system")
    assert load_system("my-net").spec == "ct=penet3d -> linear"


def test_a_system_without_its_file(package, monkeypatch):
    pretend(monkeypatch, [("systems", "other-net", "zoo_tables.nets", "zoo-tables")])
    with pytest.raises(PluginError) as caught:
        system_file(registry.entry("system", "other-net"))
    assert str(caught.value) == (
        "The system 'other-net' of zoo-tables 0.2 can't be used: There is no file "
        "'other-net.toml' in 'zoo_tables.nets'. 'fusionzoo plugins --traceback' shows where."
    )
    assert [part.name for part in registry.broken()] == ["other-net"]


def test_a_recipe_that_is_not_there_is_told(monkeypatch):
    pretend(monkeypatch, [])
    with pytest.raises(UnknownComponent, match="No recipe is called 'zoo/table1'"):
        load_recipe("zoo/table1")
    registry.refresh()
