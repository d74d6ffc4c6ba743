"""`fusionzoo explain`: why a finished run's model decided as it did about a case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.explain.case import Explanation
    from fusionzoo.reopen import Reopened

#: Columns of a table that are printed.
_SHOWN = 5


@click.command()
@click.argument("run", type=click.Path())
@click.option("--case", help="The case, by its name in the data set.")
@click.option("--task", help="Which task; the first where not said.")
@click.option("--class", "class_name", help="Which class; the most probable one where not said.")
@click.option(
    "--method",
    type=click.Choice(["ig", "gradcam", "both"]),
    default="ig",
    show_default=True,
    help="Integrated Gradients for every input, Grad-CAM for images, or both.",
)
@click.option(
    "--output", default="final", show_default=True, help="Or one of the fusion's outputs."
)
@click.option(
    "--baseline",
    type=click.Choice(["mean", "zeros"]),
    default="mean",
    show_default=True,
    help="Where Integrated Gradients start: the mean of training cases, or zeros.",
)
@click.option(
    "--absence",
    type=click.Choice(["background", "missing"]),
    default="background",
    show_default=True,
    help="What stands for an absent modality in the shares: those of training cases, or nothing, "
    "where the fusion takes cases without it.",
)
@click.option(
    "--background", "count", default=16, show_default=True, help="Training cases to compare with."
)
@click.option("--steps", default=64, show_default=True, help="Points of Integrated Gradients.")
@click.option("--level", type=int, help="Encoder level of Grad-CAM's maps; the last wide one.")
@click.option("--dataset", help="Where the data are now, if they have moved.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="PNG to write, a JSON file beside it; RUN/explain/CASE-TASK-METHOD.png where not given.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda", "mps"]), default="cpu", show_default=True
)
def command(run: str, case: str | None, out: str | None, device: str, **options: Any) -> None:
    """Show what spoke for RUN's decision about a case: in each input, and by modality.

    Writes a figure with every input and what it added laid over it, and the numbers as JSON.

    Example: 'fusionzoo explain runs/RUN --case 12-1 --method both'.
    """
    from fusionzoo.api import open_run
    from fusionzoo.explain.panels import draw
    from fusionzoo.reopen import reopen
    from fusionzoo.storage import write_atomic

    opened = open_run(run)
    data = reopen(opened, options.pop("dataset"))
    name = _known(case, data)
    found = _explained(data, name, device, options)
    path = Path(out) if out else _default_path(opened.folder, found, options["method"])
    if path.suffix.lower() != ".png":
        raise BadOption(f"--out is a PNG file, and {str(path)!r} doesn't end with .png.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(found, path)
    numbers = path.with_suffix(".json")
    write_atomic(numbers, json.dumps(found.to_json(), indent=2) + "\n")
    click.echo("\n".join([*_lines(found), f"written: {path}, {numbers.name}"]))


def _known(case: str | None, data: Reopened) -> str:
    """The case, where it is in the data set."""
    from fusionzoo.errors import nearest

    cases = data.dataset.cases
    if case in cases:
        return str(case)
    test = [cases[i] for i in data.split.test]
    some = (
        f"Test cases of this run: {', '.join(test[:5])}{', ...' * (len(test) > 5)} ({len(test)})."
    )
    if case is None:
        raise BadOption(f"Say which case to explain: --case NAME. {some}")
    raise BadOption(
        f"Data set {data.dataset.spec.name!r} has no case {case!r}. {nearest(case, cases)}{some}"
    )


def _explained(data: Reopened, case: str, device: str, options: dict[str, Any]) -> Explanation:
    import numpy as np
    import torch

    from fusionzoo.explain.case import explain_case, table_told

    count = options.pop("count")
    if count < 1:
        raise BadOption(f"--background needs one training case or more, not {count}.")
    row = data.dataset.cases.index(case)
    train = data.split.train
    chosen = train[np.unique(np.linspace(0, len(train) - 1, count).round().astype(int))]
    if device == "cuda" and not torch.cuda.is_available():
        raise BadOption("No CUDA device is usable here. Use --device cpu.")
    where = torch.device(device)
    (one,) = data.loader(np.array([row]))
    (background,) = data.loader(chosen, batch_size=len(chosen))
    parts = {"train": train, "val": data.split.val, "test": data.split.test}
    facts = {
        "run": data.run.record.run_id,
        "part": next((part for part, rows in parts.items() if row in rows), "none"),
        "baseline": options["baseline"],
        "absence": options["absence"],
    }
    tables = {
        name: table_told(columns, dict(data.dataset.table(name).iloc[row]))
        for name, columns in data.dataset.columns.items()
    }
    return explain_case(
        data.run.model(data.dataset.spec).to(where),
        one.to(where),
        data.dataset.spec.tasks,
        background.to(where),
        case=case,
        tables=tables,
        facts=facts,
        **options,
    )


def _default_path(folder: Path, found: Explanation, method: str) -> Path:
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in found.case)
    return folder / "explain" / f"{kept}-{found.score.task.name}-{method}.png"


def _lines(found: Explanation) -> list[str]:
    """What the terminal says."""
    score, shares = found.score, found.shares
    own = "no label" if found.label is None else f"label {found.label}"
    lines = [
        f"{found.case} ({found.facts['part']}), {score.task.name}: p({score.class_name}) = "
        f"{found.probability:.3f}, {own}",
        f"log-odds {shares.score:+.2f}, {shares.baseline:+.2f} without any modality of its own",
    ]
    width = max(map(len, shares.values))
    lines += [
        f"  {name:<{width}}  {value:+.2f}  {shares.parts[name]:>4.0%}"
        for name, value in shares.values.items()
    ]
    if found.attributions is not None:
        sums = found.attributions.by_modality
        listed = ", ".join(f"{name} {value:+.2f}" for name, value in sums.items())
        difference = found.attributions.score - found.attributions.baseline
        lines.append(
            f"integrated gradients: {listed}; {difference + found.attributions.gap:+.3f} of "
            f"{difference:+.3f} from the baseline"
        )
        for name in found.tables:
            columns = list(found.columns(name).items())[:_SHOWN] if name in sums else []
            lines += [f"  {name}: {column} {value:+.2f}" for column, value in columns]
    for name, cam in (found.cams or {}).items():
        size = "x".join(map(str, cam.size))
        nowhere = "" if cam.heat.any() else "; nothing there speaks for the class"
        lines.append(f"Grad-CAM of {name}: from maps of {size} positions{nowhere}")
    return lines
