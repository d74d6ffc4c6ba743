import json

from tests import small_manifest
from tests.small_manifest import change, replace


def test_errors_warnings_and_exit_code(call, tmp_path):
    path = small_manifest.write(tmp_path / "my")
    code, out, _ = call("data", "check", path)
    assert code == 0
    assert "28 cases of 24 patients" in out
    assert "0 errors, 0 warnings: the data can be used, for instance by" in out
    change(path, age={5: "4O", 6: "640"}, split={3: "test"})
    code, out, _ = call("data", "check", path)
    assert code == 2
    leak, number, odd = (out.index(code) for code in ("E12", "E08", "W08"))
    assert leak < number < odd
    assert "E08 row 5, column 'age', value '4O': not a number. Write a plain number" in out
    assert "mend the errors and check again" in out
    assert "leakage (1)" in out


def test_json_holds_every_one(call, tmp_path):
    path = small_manifest.write(tmp_path / "my")
    change(path, age=dict.fromkeys(range(2, 30), "x"))
    code, out, _ = call("data", "check", path, "--format", "json")
    told = json.loads(out)
    assert (code, told["ok"], len(told["errors"])) == (2, False, 28)
    assert told["errors"][0]["row"] == 2
    code, out, _ = call("data", "check", path)
    assert "E08, column 'age': and 8 more like these." in out
    code, out, _ = call("data", "check", path, "--all")
    assert out.count("value 'x'") == 28


def test_headers_only(call, tmp_path):
    path = small_manifest.write(tmp_path / "my")
    replace(path, "window: [-1000, 400]", "window: [5000, 6000]")
    assert call("data", "check", path)[0] == 2
    assert call("data", "check", path, "--images", "headers")[0] == 0
    assert call("data", "check", tmp_path / "no.yaml")[0] == 2
