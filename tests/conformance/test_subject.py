"""What `check` may be asked about."""

from pathlib import Path

import pytest

from fusionzoo import registry
from fusionzoo.conformance import check, find_subjects
from fusionzoo.errors import BadOption, PluginError, UnknownComponent
from fusionzoo.fusions.film import FiLM
from tests.conformance.broken_parts import SoundFusion

FILE = Path(registry.__file__).parent / "fusions" / "film.py"


@pytest.mark.parametrize("asked", ["film", "fusionzoo.fusions.film:FiLM", FiLM, str(FILE)])
def test_a_component_by_name_module_class_or_file(asked):
    (subject,) = find_subjects(asked)
    assert (subject.kind, subject.name, subject.cls) == ("fusion", "film", FiLM)
    assert subject.origin == "fusionzoo"


def test_options_go_over_the_small_form():
    (subject,) = find_subjects("penet3d(width=0.5)")
    assert subject.options == {"width": 0.5, "depth": 14, "cardinality": 8}


def test_a_name_of_two_kinds():
    assert [subject.kind for subject in find_subjects("mlp")] == ["encoder", "head"]
    assert [subject.kind for subject in find_subjects("mlp", "head")] == ["head"]
    with pytest.raises(BadOption, match=r"means 2 components: encoder mlp, head mlp\."):
        check("mlp")


def test_a_class_that_nobody_registered_is_named_after_itself():
    (subject,) = find_subjects(SoundFusion)
    assert (subject.name, subject.origin) == ("sound_fusion", "tests.conformance.broken_parts")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ("flim", UnknownComponent, "No component is called 'flim'. Closest: film"),
        ("film+daft", BadOption, "One component is checked at a time; 'film+daft' names 2."),
        ("penet3d(widht=2)", BadOption, "has no option 'widht'. Closest: width"),
        ("nowhere.py", UnknownComponent, "There is no file 'nowhere.py' to check."),
        ("nowhere:Thing", PluginError, "'nowhere:Thing' can't be imported: ModuleNotFoundError"),
        ("fusionzoo.spec:Need", UnknownComponent, "Need is no component: it derives from none of"),
        ("fusionzoo.spec:SPATIAL_DIMS", UnknownComponent, "no class."),
    ],
)
def test_what_cannot_be_checked(asked, error, words):
    with pytest.raises(error) as caught:
        find_subjects(asked)
    assert words in str(caught.value)


def test_a_file_without_components(tmp_path):
    path = tmp_path / "empty_file.py"
    path.write_text("")
    with pytest.raises(UnknownComponent, match="it holds no component"):
        find_subjects(str(path))
    path = tmp_path / "wrong_file.py"
    path.write_text("import no_such_package")
    with pytest.raises(PluginError, match="No module named 'no_such_package'"):
        find_subjects(str(path))


def test_a_kind_that_it_is_not():
    with pytest.raises(UnknownComponent, match="is to be checked as head, and it holds fusion"):
        find_subjects(str(FILE), "head")


def test_the_registry_is_as_before():
    before = {kind: registry.names(kind) for kind in registry.FOLDERS}
    check(SoundFusion, name="lent_for_a_check")
    assert {kind: registry.names(kind) for kind in registry.FOLDERS} == before
