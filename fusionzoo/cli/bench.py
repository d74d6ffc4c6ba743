"""`fusionzoo bench`: run a table, every row on every fold with every seed; or the speed suite."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from fusionzoo.cli._bench import Asked, run_tables
from fusionzoo.cli._options import scoring_options, training_settings
from fusionzoo.cli._speed import speed
from fusionzoo.errors import BadOption

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MIB = {"MB": 1e6 / 2**20, "MiB": 1.0, "GB": 1e9 / 2**20, "GiB": 1024.0}


def _seconds(text: str) -> float:
    """`90`, `90s`, `30m`, `2h` in seconds."""
    return _amount(text, _SECONDS, "--timeout", "90s, 30m or 2h")


def _mib(text: str) -> float:
    """`500MiB`, `4GiB`, `4GB` in MiB."""
    return _amount(text, _MIB, "--memory", "500MiB or 4GiB")


def _amount(text: str, units: Mapping[str, float], flag: str, form: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not found or found[2] not in units or not float(found[1]):
        raise BadOption(f"{flag} takes an amount such as {form}, not {text!r}.")
    return float(found[1]) * units[found[2]]


class _TableOrSpeed(click.Command):
    """The word `speed` in the place of a table is a command of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args[:1] == ["speed"]:
            return speed.make_context(f"{info_name} speed", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_TableOrSpeed)
@click.argument("table")
@click.option("--dataset", default="", help="Data set of the runs, instead of the table's own.")
@click.option(
    "--folds",
    type=click.IntRange(0),
    help="Number of folds; 0 for the data set's one split. What comes with the data, or else 5.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeds.")
@click.option("--rows", multiple=True, help="Run these rows alone, 'MM*' too; repeatable.")
@click.option("--size", help="TOML file with smaller options and settings.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A training setting of every row, epochs=5 say; repeatable.",
)
@scoring_options
@click.option(
    "--precision",
    default="32-true",
    show_default=True,
    help="32-true, 16-mixed, bf16-mixed or 64-true.",
)
@click.option(
    "--out", "store", default="runs", show_default=True, help="Folder of all runs, the store."
)
@click.option("--dry-run", is_flag=True, help="List the cells and what they will cost.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray", "slurm"]),
    default="local",
    show_default=True,
    help="What runs the cells.",
)
@click.option("--address", help="Ray: the cluster's address, 'auto' here; Slurm: 'local' to try.")
@click.option(
    "--slurm", multiple=True, metavar="NAME=VALUE", help="Slurm: partition=gpu say; repeatable."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--jobs", type=click.IntRange(1), help="Cells at once; as many as fit.")
@click.option(
    "--threads-per-job",
    "threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Cores of a cell.",
)
@click.option(
    "--jobs-per-gpu",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Cells that share a GPU.",
)
@click.option("--timeout", default="12h", show_default=True, help="Longest time of a cell.")
@click.option("--memory", help="Most memory of a cell, 4GiB say; 90 % of the machine's.")
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="More tries after a crash, or too much time or memory.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first cell that fails.")
@click.option("--cold", is_flag=True, help="Start each cell as a program of its own.")
def command(timeout: str, memory: str | None, pairs: tuple[str, ...], **flags: Any) -> None:
    """Run a published table, or a grid of your own: rows x folds x seeds.

    What is in the store already is not run again, and what was interrupted goes on.

    \b
    fusionzoo bench mmcaf_net/table1 --dataset lidc --folds 5 --seeds 3
    fusionzoo bench grid.toml --dry-run
    fusionzoo bench speed --help         how fast every system is, beside plain PyTorch
    """
    asked = Asked(
        seconds=_seconds(timeout),
        memory_mib=_mib(memory) if memory else None,
        settings=training_settings(pairs, {}),
        **flags,
    )
    if not run_tables(asked):
        sys.exit(1)
