"""Looking around is quick: nothing heavy is imported before it is used."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "pandas", "matplotlib", "sklearn")
LIST = """
import sys
from fusionzoo.cli import main
sys.argv = ["fusionzoo", "list"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def heavy_after(code: str) -> tuple[list[str], str]:
    """Which heavy packages a fresh interpreter holds after some code, and what the code printed."""
    ask = f"import json, sys\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ask}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *printed, answer = done.stdout.splitlines()
    return json.loads(answer), "\n".join(printed)


def test_importing_the_package_is_light():
    assert heavy_after("import fusionzoo") == ([], "")


def test_listing_the_parts_is_light():
    heavy, printed = heavy_after(LIST)
    assert heavy == []
    assert "penet3d" in printed


@pytest.mark.parametrize("name", ["pandas", "torch"])
def test_the_check_can_fail(name):
    assert name in heavy_after(f"import fusionzoo, {name}")[0]
