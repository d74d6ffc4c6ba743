"""`plugins/fusionzoo-example` is what the template writes, to the letter."""

from pathlib import Path

from fusionzoo.scaffold import contents

FOLDER = Path(__file__).parents[2] / "plugins" / "fusionzoo-example"


def test_the_example_is_what_the_template_writes():
    wanted = contents("fusionzoo-example", kind="fusion", name="example")
    assert len(wanted) == 5
    found = {path: (FOLDER / path).read_text(encoding="utf-8") for path in wanted}
    assert found == wanted, "Write it again: fusionzoo plugins new, in an environment without it."
