"""The same data set under other names of its modalities."""

import numpy as np
import pytest

from fusionzoo.data.open import dataset_text, open_dataset
from fusionzoo.data.renamed import Renamed
from fusionzoo.errors import BadOption
from tests.data.toy_dataset import balanced

TEXT = "lidc_views+rename(clinic=coronal, derm=axial)"


def test_only_names_change():
    inner = open_dataset("lidc_views")
    opened = open_dataset(TEXT)
    assert [m.name for m in opened.spec.modalities] == ["clinic", "derm"]
    assert opened.spec.tasks == inner.spec.tasks
    assert opened.spec.training == inner.spec.training
    assert opened.cases == inner.cases
    np.testing.assert_array_equal(opened.image("derm", 7), inner.image("axial", 7))
    assert opened.options == {"size": 32, "rename": {"clinic": "coronal", "derm": "axial"}}
    assert dataset_text(TEXT) == "lidc_views+rename(clinic=coronal, derm=axial)"


def test_names_are_part_of_the_digest():
    swapped = open_dataset("lidc_views+rename(axial=coronal, coronal=axial)")
    assert [m.name for m in swapped.spec.modalities] == ["axial", "coronal"]
    digests = {open_dataset(t).digest for t in ("lidc_views", TEXT)} | {swapped.digest}
    assert len(digests) == 3
    assert open_dataset(TEXT).digest in digests


def test_tables_and_missing_cases_go_along():
    toy = balanced(6)
    kinds = {m.kind: m.name for m in toy.spec.modalities}
    renamed = Renamed(toy, {"rows": kinds["table"]})
    assert list(renamed.columns) == ["rows"]
    assert renamed.table("rows").equals(toy.table(kinds["table"]))
    np.testing.assert_array_equal(renamed.present("rows"), toy.present(kinds["table"]))
    others = [m for m in renamed.spec.modalities if m.name != "rows"]
    assert others == [m for m in toy.spec.modalities if m.kind != "table"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("rename(clinic=corona)", "there is no 'corona'"),
        ("rename(axial=coronal)", "'axial' is another modality already"),
        ("rename(clinic=axial, derm=axial)", "'axial' gets two names"),
        ("rename(clinic=3)", "there is no 3"),
        ("rename", "no name is given"),
        ("rename(coronal)", "'' is no name"),
    ],
)
def test_names_that_can_not_be(call, told):
    with pytest.raises(BadOption) as caught:
        open_dataset(f"lidc_views+{call}")
    assert told in str(caught.value)
    assert "it has: coronal, axial." in str(caught.value)


def test_a_manifest_names_its_own(small_yaml):
    with pytest.raises(BadOption, match=r"names of its dataset\.yaml: change them there"):
        open_dataset(f"manifest(path={str(small_yaml)!r})+rename(clinic=ct)")


def test_one_renaming_only():
    with pytest.raises(BadOption, match=r"names 3\. Only \+rename\(new=old\) may follow"):
        open_dataset("lidc_views+rename(a=axial)+rename(b=a)")
