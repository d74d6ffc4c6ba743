"""`fusionzoo check`."""

import json

WRONG = '''"""An encoder in a file.

Source: this test.
"""

from torch import nn

from fusionzoo.interface import AbstractEncoder
from fusionzoo.spec import FeatureSpec


class Wrong(AbstractEncoder):
    accepts = frozenset({"table"})

    def __init__(self, modality):
        super().__init__()
        self.linear = nn.Linear(modality.channels, 4)
        self.stages = (FeatureSpec.vector(5),)

    def stage(self, level, x):
        return self.linear(x)
'''


def test_the_report_of_a_name_and_its_count(call):
    code, out, _ = call("check", "concat")
    assert code == 0
    first, *_, last = out.splitlines()
    assert first.startswith("fusion concat (fusionzoo): 18 of 21 checks ran, 0 failed.")
    assert "  ok       gradient of inputs   A gradient reaches every input" in out
    assert "  not run  compile              it takes seconds; ask for slow checks" in out
    assert last.startswith("built for: image 3x16x16 + table 5; ")


def test_a_file_with_mistakes_exits_with_1(call, tmp_path):
    path = tmp_path / "wrong_encoder.py"
    path.write_text(WRONG)
    code, out, _ = call("check", path)
    assert code == 1
    assert "FAILED   docstring            Wrong lacks a docstring of the class, 'modality'" in out
    assert "it declares 'output' as (1, 5); it gives (1, 4)." in out


def test_as_json(call):
    code, out, _ = call("check", "linear", "--json")
    (told,) = json.loads(out)
    assert code == 0
    assert (told["kind"], told["name"], told["ok"]) == ("head", "linear", True)
    assert told["ran"] == sum(one["status"] in ("passed", "failed") for one in told["checks"])


def test_a_mistyped_name_exits_with_2(call):
    code, _, err = call("check", "concta")
    assert code == 2
    assert "No component is called 'concta'. Closest: concat" in err
