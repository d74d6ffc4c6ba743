"""A bench from the command line: plan it, list it, or run it, and say what became of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionzoo.cli._bench_board import print_boards
from fusionzoo.errors import BadOption, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from fusionzoo.bench.conduct import Summary
    from fusionzoo.bench.engines.engine import Engine
    from fusionzoo.bench.estimate import Estimator
    from fusionzoo.bench.expand import Bench, Cell
    from fusionzoo.records.store import RunStore


@dataclass(frozen=True)
class Asked:
    """What the flags say; `fusionzoo bench --help` says what each is."""

    table: str
    dataset: str
    folds: int | None
    seeds: int
    rows: tuple[str, ...]
    size: str | None
    settings: Mapping[str, Any]
    rule: str
    binary: str
    precision: str
    store: str
    dry_run: bool
    engine: str
    address: str | None
    slurm: tuple[str, ...]
    device: str
    jobs: int | None
    threads: int
    jobs_per_gpu: int
    seconds: float
    memory_mib: float | None
    retries: int
    fail_fast: bool
    cold: bool


def run_tables(asked: Asked) -> bool:
    """Do what is asked; gives whether every cell is done."""
    _stay_forkable()

    from rich.console import Console

    from fusionzoo.bench.engines.local import visible_gpus
    from fusionzoo.bench.estimate import Estimator
    from fusionzoo.records.index import read_index

    console = Console(soft_wrap=True, highlight=False)
    benches = _planned(asked)
    cells = _chosen(benches, asked.rows)
    for bench in benches:
        _introduce(console, bench)
    if not cells:
        raise BadOption("There is nothing to run: every row is refused, for the reasons above.")
    gpu = asked.device == "cuda" or (asked.device == "auto" and bool(visible_gpus()))
    estimator = Estimator(read_index(asked.store), gpu=gpu)
    if asked.dry_run:
        _list(console, cells, asked, estimator)
        return True
    return _run(console, benches, cells, asked, estimator)


def _stay_forkable() -> None:
    """Libraries that are loaded from here on start no threads, so that cells can be forks."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _planned(asked: Asked) -> list[Bench]:
    from fusionzoo.bench.expand import Ask, expand
    from fusionzoo.bench.grid import read_tables
    from fusionzoo.bench.size import FULL, read_size

    ask = Ask(
        dataset=asked.dataset,
        folds=asked.folds,
        seeds=asked.seeds,
        precision=asked.precision,
        size=read_size(asked.size) if asked.size else FULL,
        settings=asked.settings,
        threshold_rule=asked.rule,
        binary=asked.binary,
    )
    return expand(read_tables(asked.table), ask)


def _chosen(benches: Sequence[Bench], patterns: tuple[str, ...]) -> list[Cell]:
    """The cells of the rows that are asked for, each once, also where two tables share it."""
    from fnmatch import fnmatchcase

    labels = [row.label for bench in benches for row in bench.sheet.rows]
    unknown = [p for p in patterns if not any(fnmatchcase(label, p) for label in labels)]
    if unknown:
        raise BadOption(
            f"No row is called {', '.join(map(repr, unknown))}. The rows: {', '.join(labels)}."
        )
    cells = [cell for bench in benches for cell in bench.cells]
    if patterns:
        cells = [cell for cell in cells if any(fnmatchcase(cell.label, p) for p in patterns)]
    return list({cell.run_id: cell for cell in cells}.values())


def _introduce(console: Console, bench: Bench) -> None:
    sheet = bench.sheet
    fitting = sum(not row.refusal for row in sheet.rows)
    folds = f"{sheet.num_folds} folds" if sheet.num_folds else "one split"
    size = f", size {sheet.size!r}" if sheet.size else ""
    console.print(
        f"[bold]{sheet.name}[/bold] on {sheet.dataset_name}{size}: {_count(fitting, 'row')}, "
        f"{folds}, {_count(len(sheet.seeds), 'seed')}: {_count(len(bench.cells), 'cell')}"
    )
    for warning in bench.warnings:
        console.print(f"[yellow]{warning}[/yellow]")
    for row in sheet.rows:
        if row.refusal:
            console.print(f"  [yellow]refused[/yellow] {row.label}: {row.refusal}", markup=True)


def _list(console: Console, cells: Sequence[Cell], asked: Asked, estimator: Estimator) -> None:
    """Every cell, whether it is done, and what it will take."""
    from fusionzoo.bench.estimate import in_words, total_seconds
    from fusionzoo.records.lease import owners
    from fusionzoo.records.store import RunStore

    store, taken = RunStore(asked.store), owners(asked.store)
    todo = []
    width = max(len(str(cell)) for cell in cells)
    for cell in cells:
        if store.is_complete(cell.run_id):
            told = "done"
        elif cell.run_id in taken:
            told = f"being trained by process {taken[cell.run_id].pid}"
        else:
            todo.append(estimate := estimator(cell))
            time = in_words(estimate.seconds) if estimate.seconds is not None else "?"
            told = f"about {time} ({estimate.basis})"
        console.print(f"  {cell!s:<{width}}  {told}", markup=False)
    seconds = total_seconds(todo)
    if todo and seconds is not None:
        slots = _engine(asked).slots()
        total = f"; about {in_words(seconds)} of training, {in_words(seconds / slots)} with "
        console.print(f"{len(todo)} to do{total}{slots} at once")
    else:
        console.print(f"{len(todo)} to do")


def _run(
    console: Console,
    benches: Sequence[Bench],
    cells: Sequence[Cell],
    asked: Asked,
    estimator: Estimator,
) -> bool:
    """Run what isn't done; gives whether all of it is then."""
    from fusionzoo.bench.conduct import conduct
    from fusionzoo.bench.timing import TimeLeft
    from fusionzoo.cli._bench_progress import BenchProgress
    from fusionzoo.records.store import RunStore
    from fusionzoo.storage import check_writable

    store = RunStore(asked.store)
    todo = [cell for cell in cells if not store.is_complete(cell.run_id)]
    if not todo:
        console.print("Every cell is done already.")
        _write_sheets(console, asked.store, benches, needed=False)
        return True
    check_writable(asked.store)
    _write_sheets(console, asked.store, benches, needed=True)
    engine = _engine(asked)
    left = TimeLeft(todo, estimator, engine.slots())
    with BenchProgress(console, asked.store, len(cells), len(todo), left) as progress:
        try:
            summary = conduct(
                todo,
                engine,
                asked.store,
                retries=asked.retries,
                fail_fast=asked.fail_fast,
                observer=progress,
            )
        except RunError as error:
            raise RunError(f"{error}\n{_kept(store, cells)}") from error
        except KeyboardInterrupt:
            progress.close()
            console.print(_kept(store, cells))
            raise
    _conclude(console, asked.store, todo, len(cells) - len(todo), summary)
    print_boards(console, asked.store, [bench.sheet.slug for bench in benches])
    console.print(f"Boards: fusionzoo leaderboard {asked.store}")
    return not summary.failed and not summary.left


def _write_sheets(console: Console, store: str, benches: Sequence[Bench], *, needed: bool) -> None:
    """Say in the store which runs are which rows, where that isn't said yet."""
    from fusionzoo.records.sheet import SHEETS, write_sheet
    from fusionzoo.schema import dumps

    for bench in benches:
        path = Path(store) / SHEETS / f"{bench.sheet.slug}.json"
        try:
            if not path.is_file() or path.read_text(encoding="utf-8") != dumps(bench.sheet) + "\n":
                write_sheet(store, bench.sheet)
        except RunError as error:
            if needed:
                raise
            console.print(f"[yellow]The sheet is not written. {error}[/yellow]")
        else:
            console.print(f"[dim]sheet: {path}[/dim]")


def _engine(asked: Asked) -> Engine:
    from fusionzoo.bench.attempt import Limits
    from fusionzoo.bench.engines.local import LocalEngine, Resources

    resources = Resources(
        device=asked.device,
        threads=asked.threads,
        jobs=asked.jobs,
        jobs_per_gpu=asked.jobs_per_gpu,
        limits=Limits(asked.seconds, asked.memory_mib),
    )
    if asked.slurm and asked.engine != "slurm":
        raise BadOption("--slurm says what Slurm is asked for; add --engine slurm.")
    if asked.address and asked.engine == "local":
        raise BadOption("--address says where a cluster is; add --engine ray or --engine slurm.")
    if asked.engine == "ray":
        from fusionzoo.bench.engines.ray import RayEngine

        return RayEngine(asked.store, resources, address=asked.address or "auto")
    if asked.engine == "slurm":
        from fusionzoo.bench.engines.slurm import SlurmEngine

        return SlurmEngine(
            asked.store, resources, asked=_pairs(asked.slurm), local=asked.address == "local"
        )
    return LocalEngine(asked.store, resources, warm=not asked.cold)


def _pairs(told: Sequence[str]) -> dict[str, str]:
    wrong = [pair for pair in told if not all(pair.partition("=")[::2])]
    if wrong:
        raise BadOption(f"--slurm takes name=value, partition=gpu say; given {wrong[0]!r}.")
    return {name: value for name, _, value in (pair.partition("=") for pair in told)}


def _kept(store: RunStore, cells: Sequence[Cell]) -> str:
    done = sum(store.is_complete(cell.run_id) for cell in cells)
    return (
        f"{done} of {_count(len(cells), 'cell')} are done and kept, and so is what the others have "
        "done so far. Go on with the same command."
    )


def _conclude(
    console: Console, store: str, todo: Sequence[Cell], before: int, summary: Summary
) -> None:
    from fusionzoo.bench.job import LOGS

    told = [f"{len(summary.done)} done now"]
    told += [f"{before} before"] if before else []
    told += [f"{len(summary.found)} by another bench"] if summary.found else []
    told += [f"{len(summary.failed)} failed"] if summary.failed else []
    told += [f"{len(summary.left)} not run"] if summary.left else []
    console.print(", ".join(told))
    names = {cell.run_id: str(cell) for cell in todo}
    for run_id, failure in summary.failed.items():
        log = Path(store) / LOGS / f"{run_id}.log"
        why = f"  failed: {names[run_id]}: {failure.kind}. {failure.reason} See {log}"
        console.print(why, markup=False)
    if summary.failed:
        console.print("The same command tries them again.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
