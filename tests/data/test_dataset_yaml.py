import pytest

from fusionzoo.data.dataset import TableColumns
from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.data.roles import ImageRole, SplitRole, TargetRole
from fusionzoo.errors import DataError

FULL = """
schema: 1
name: mine
manifest: rows.parquet
root: ../scans
id: id
group: patient
split: {scheme: group_kfold, k: 4, seed: 3}
images:
  ct: {column: ct_path, kind: volume, spacing: [2.5, 1, 1], size: [12, 192, 192],
       window: [-1000, 400]}
  derm: {column: d, kind: rgb, size: 224, mean: [0.5, 0.4, 0.3], std: 0.2, fit: pad, optional: true}
tables:
  blood: {numeric: [crp], scale: minmax}
  person: {categorical: {sex: [F, M], smokes: [yes, no]}, missing: refuse}
targets:
  diagnosis: {column: dx, type: multiclass, classes: [BCC, NEV, MEL]}
  relapse: {column: y, type: binary, positive: 1, missing: ignore}
  grade: {column: g, type: binary, classes: [high, low], positive: high}
"""

SMALL = """
images:
  xray: {column: file, kind: gray, size: [32, 40]}
targets:
  y: {column: y, type: binary, classes: ["no", "yes"]}
"""


def test_every_key_is_read():
    roles = parse_roles(FULL)
    assert (roles.name, roles.manifest, roles.root, roles.id) == (
        "mine",
        "rows.parquet",
        "../scans",
        "id",
    )
    assert roles.group == "patient"
    assert roles.split == SplitRole(scheme="group_kfold", num_folds=4, seed=3)
    ct, derm = roles.images
    assert ct == ImageRole(
        "ct",
        "ct_path",
        "volume",
        (12, 192, 192),
        (2.5, 1.0, 1.0),
        window=(-1000.0, 400.0),
        fit="pad",
    )
    assert derm.mean == (0.5, 0.4, 0.3)
    assert derm.std == (0.2, 0.2, 0.2)
    assert (derm.fit, derm.optional, derm.size) == ("pad", True, (224, 224))
    assert derm.modality.shape == (3, 224, 224)
    assert roles.tables == {
        "blood": TableColumns(("crp",), {}, "median", "minmax"),
        "person": TableColumns((), {"sex": ("F", "M"), "smokes": ("yes", "no")}, "refuse"),
    }
    assert roles.targets == (
        TargetRole("diagnosis", "dx", ("BCC", "NEV", "MEL")),
        TargetRole("relapse", "y", ("0", "1"), "ignore"),
        TargetRole("grade", "g", ("low", "high")),
    )
    assert roles.text == FULL


def test_defaults():
    roles = parse_roles(SMALL)
    assert (roles.manifest, roles.id, roles.group, roles.split) == (
        "manifest.csv",
        "case_id",
        None,
        None,
    )
    (xray,) = roles.images
    assert (xray.fit, xray.modality.kind, xray.modality.shape) == ("resize", "image", (1, 32, 40))
    assert parse_roles(SMALL + "table: {numeric: [age]}").tables.keys() == {"table"}
    assert parse_roles(SMALL + "split: {fold: f}").split == SplitRole(column="f", folds_only=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: 1", "schema: 2", "line 2, schema: schema 2 is not known"),
        ("manifest:", "manfest:", "manfest: no such key. Closest: manifest"),
        ("kind: volume,", "", "images.ct.kind: the key is missing"),
        ("kind: volume", "kind: volum", "images.ct.kind: 'volum' is not known. Closest: volume"),
        ("column: ct_path, ", "", "images.ct.column: the key is missing"),
        ("size: [12, 192, 192]", "size: [192, 192]", "3 positive numbers or one for all"),
        ("size: [12, 192, 192]", "size: 1.5", "images.ct.size: not whole numbers"),
        ("spacing: [2.5, 1, 1]", "spacing: [2.5, 1, 0]", "images.ct.spacing: [2.5, 1, 0] where"),
        ("window: [-1000, 400]", "window: [400, -1000]", "lower end is not below the upper"),
        ("fit: pad", "spacing: 1", "images.derm.spacing: a rgb image has no spacing"),
        ("fit: pad", "window: [0, 1]", "images.derm.window: colours have no window"),
        ("optional: true", "optional: yess", "'yess' where true or false is wanted"),
        ("  ct:", "  CT:", "images.CT: not a name. Use lower-case letters"),
        ("  blood:", "  ct:", "images: 'ct' is an image and a table"),
        ("numeric: [crp]", "numeric: crp", "tables.blood.numeric: 'crp' where a list is wanted"),
        ("{numeric: [crp], ", "{", "tables.blood.numeric: table 'blood' has no columns"),
        ("sex: [F, M]", "sex: [F]", "categorical.sex: fewer than two values"),
        (
            "{categorical: {sex",
            "{numeric: [sex], categorical: {sex",
            "'sex' is numeric and categorical",
        ),
        ("type: multiclass", "type: regression", "'regression' is not known"),
        ("classes: [BCC, NEV, MEL]", "classes: [BCC, NEV]", "2 classes. List three or more"),
        ("classes: [BCC, NEV, MEL]", "classes: [a, b, c], positive: a", "have no positive one"),
        ("positive: 1", "positive: sick", "classes: [negative, positive]"),
        ("positive: high", "positive: hihg", "'hihg' is not one of the classes"),
        (
            "scheme: group_kfold",
            "scheme: kfold",
            "split.scheme: 'kfold' is not known. Closest: group_kfold",
        ),
        ("scheme: group_kfold,", "", "split.column: not exactly one of column, fold and scheme"),
        ("scheme: group_kfold", "column: fold", "k and seed belong to a scheme"),
        ("k: 4", "k: 1", "a whole number of 2 or more"),
        ("tables:", "table: {numeric: [a]}\ntables:", "both table and tables are there"),
    ],
)
def test_a_mistake_is_told_with_its_place(old, new, message):
    assert FULL.count(old) == 1
    with pytest.raises(DataError) as caught:
        parse_roles(FULL.replace(old, new))
    assert message in str(caught.value)


def test_all_mistakes_at_once():
    text = FULL.replace("schema: 1", "schema: 9").replace("k: 4", "k: x").replace("  ct:", "  CT:")
    with pytest.raises(DataError) as caught:
        parse_roles(text)
    assert len(caught.value.problems) == 3


def test_modalities_and_targets_are_needed():
    with pytest.raises(DataError) as caught:
        parse_roles("schema: 1")
    assert "neither images nor a table" in str(caught.value)
    assert "nothing to predict" in str(caught.value)
