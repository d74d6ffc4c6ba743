"""Which runs are which rows of a board: as a sheet says, or grouped by spec and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fusionzoo.errors import MixedRuns, SpecError
from fusionzoo.grammar import Call, parse
from fusionzoo.leaderboard.facts import RunFacts
from fusionzoo.records.failure import Failure
from fusionzoo.records.sheet import PublishedTest, Sheet
from fusionzoo.schema import canonical


@dataclass(frozen=True)
class Cell:
    """One run of a row, done or not.

    Args:
        run_id: Name of the run's folder.
        fold: Fold that it is tested on; None where there is one split.
        seed: Its seed.
        run: Its facts, where it is done.
        failure: Why it isn't, where it failed.
    """

    run_id: str
    fold: int | None
    seed: int
    run: RunFacts | None = None
    failure: Failure | None = None

    @property
    def place(self) -> str:
        """'fold 2, seed 0', or 'seed 0'."""
        return f"seed {self.seed}" if self.fold is None else f"fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class LayoutRow:
    """One row.

    Args:
        label: What the board calls it.
        spec: Canonical spec string.
        cells: Its runs, by fold, then by seed.
        basis: What rebuilding a published row rests on.
        category: Group of rows that it belongs to.
        note: What is in doubt, or was left open.
        published: Printed numbers by metric.
        published_sd: Printed standard deviations.
        refusal: Why its parts don't go together.
    """

    label: str
    spec: str
    cells: tuple[Cell, ...]
    basis: str = ""
    category: str = ""
    note: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    published_sd: Mapping[str, float] = field(default_factory=dict)
    refusal: str = ""

    @property
    def runs(self) -> tuple[RunFacts, ...]:
        """Facts of the runs that are done."""
        return tuple(cell.run for cell in self.cells if cell.run is not None)


@dataclass(frozen=True)
class Layout:
    """The rows of one board.

    Args:
        name: The sheet's slug; of grouped records, data set, scheme and protocol.
        sheet: Whether a sheet says so.
        title: What it is, in a line.
        rows: The rows, in the sheet's order.
        source: Publication and place of the published numbers.
        published_dataset: Data set that they were measured on.
        test: The published test set, where its class counts are known.
        size: Name of the size of the runs; empty for full size.
        note: What holds for all rows.
        decimals: Digits after the point.
        protocol: Protocol that a sheet asks for; empty where none does.
        dataset: Name of the data set that a sheet asks for.
    """

    name: str
    sheet: bool
    title: str
    rows: tuple[LayoutRow, ...]
    source: str = ""
    published_dataset: str = ""
    test: PublishedTest | None = None
    size: str = ""
    note: str = ""
    decimals: int = 3
    protocol: str = ""
    dataset: str = ""

    @property
    def runs(self) -> tuple[RunFacts, ...]:
        """Facts of all runs that are done, each once."""
        return tuple({run.run_id: run for row in self.rows for run in row.runs}.values())


def sheet_layout(
    sheet: Sheet, facts: Mapping[str, RunFacts], failures: Mapping[str, Failure]
) -> Layout:
    """The rows that a sheet says."""
    rows = tuple(
        LayoutRow(
            label=row.label,
            spec=row.spec,
            cells=tuple(
                Cell(c.run_id, c.fold, c.seed, facts.get(c.run_id), failures.get(c.run_id))
                for c in row.cells
            ),
            basis=row.basis,
            category=row.category,
            note=" ".join(row.note.split()),
            published=row.published,
            published_sd=row.published_sd,
            refusal=row.refusal,
        )
        for row in sheet.rows
    )
    return Layout(
        name=sheet.slug,
        sheet=True,
        title=sheet.title or sheet.name,
        rows=rows,
        source=", ".join(filter(None, (sheet.paper, sheet.place))),
        published_dataset=sheet.published_dataset,
        test=sheet.test,
        size=sheet.size,
        note=" ".join(sheet.note.split()),
        decimals=sheet.decimals or 3,
        protocol=sheet.protocol,
        dataset=sheet.dataset_name,
    )


def grouped_layouts(facts: Iterable[RunFacts], failures: Iterable[Failure] = ()) -> list[Layout]:
    """A board for each data set, protocol and scheme of folds; a row for each spec and settings.

    Raises:
        MixedRuns: Two runs are the same fold and seed of one row.
    """
    groups: dict[tuple[str, ...], list[RunFacts]] = {}
    for run in facts:
        key = (run.dataset, canonical(run.dataset_options), run.scheme, run.protocol)
        groups.setdefault(key, []).append(run)
    failed = list(failures)
    return [_grouped(runs, failed) for _, runs in sorted(groups.items())]


def _grouped(runs: Sequence[RunFacts], failures: Sequence[Failure]) -> Layout:
    first = runs[0]
    rows: dict[tuple[str, str], list[RunFacts]] = {}
    for run in runs:
        rows.setdefault((run.spec, canonical(run.settings)), []).append(run)
    labels = _labels([own[0] for own in rows.values()])
    options = ", ".join(f"{key}={value}" for key, value in sorted(first.dataset_options.items()))
    name = f"{first.dataset}, {first.scheme}, protocol {first.protocol}"
    return Layout(
        name=f"{name}; {options}" if options else name,
        sheet=False,
        title=f"{first.dataset}: {first.scheme}",
        rows=tuple(
            LayoutRow(label, own[0].spec, _cells(own, failures))
            for label, own in sorted(zip(labels, rows.values(), strict=True))
        ),
    )


def _cells(runs: Sequence[RunFacts], failures: Sequence[Failure]) -> tuple[Cell, ...]:
    found: dict[tuple[int, int], Cell] = {}
    for run in runs:
        key = (-1 if run.fold is None else run.fold, run.seed)
        twin = found.setdefault(key, Cell(run.run_id, run.fold, run.seed, run))
        if twin.run_id != run.run_id:
            raise MixedRuns(
                f"Runs {twin.run_id} and {run.run_id} are both {twin.place} of {run.spec}, with "
                "the same settings and data; their weights files differ. A board can't tell them "
                "apart: move one to another folder, or choose runs with --runs."
            )
    for failure in failures:
        key = (-1 if failure.fold is None else failure.fold, failure.seed)
        if failure.spec == runs[0].spec and key not in found:
            found[key] = Cell(failure.run_id, failure.fold, failure.seed, failure=failure)
    return tuple(cell for _, cell in sorted(found.items()))


def _labels(runs: Sequence[RunFacts]) -> list[str]:
    """Each row's spec with the options that tell rows apart, and settings where only they do."""
    own: dict[str, list[RunFacts]] = {}
    for run in runs:
        own.setdefault(run.spec, []).append(run)
    names = dict(zip(own, _short(list(own)), strict=True))
    return [names[run.spec] + _differing(run, own[run.spec]) for run in runs]


def _short(specs: Sequence[str]) -> list[str]:
    """Specs without the options that all specs of the same parts have in common."""
    options = {spec: _options(spec) for spec in specs}
    plain = {spec: _without(spec, own) for spec, own in options.items()}
    shared: dict[str, set[_Option]] = {}
    for spec, name in plain.items():
        shared[name] = shared.get(name, options[spec]) & options[spec]
    return [_without(spec, shared[plain[spec]]) for spec in specs]


#: A call's place in its spec, the option's name and its value as text.
_Option = tuple[int, str, str]


def _options(spec: str) -> set[_Option]:
    """Every option of a spec; none where it can't be read."""
    found: set[_Option] = set()

    def note(place: int, call: Call) -> Call:
        found.update((place, name, repr(value)) for name, value in call.options)
        return call

    _walk(spec, note)
    return found


def _without(spec: str, options: set[_Option]) -> str:
    """A spec without some of its options."""

    def drop(place: int, call: Call) -> Call:
        kept = tuple(o for o in call.options if (place, o[0], repr(o[1])) not in options)
        return Call(call.name, kept, call.column)

    return _walk(spec, drop)


def _walk(spec: str, change: Callable[[int, Call], Call]) -> str:
    """A spec with every call changed; as it is where it can't be read."""
    places = count()
    try:
        return str(parse(spec).map(lambda _, call: change(next(places), call)))
    except SpecError:
        return spec


def _differing(run: RunFacts, twins: Sequence[RunFacts]) -> str:
    names = dict.fromkeys(name for twin in twins for name in twin.settings)
    apart = [
        f"{name}={run.settings.get(name)}"
        for name in names
        if len({canonical(_value(twin, name)) for twin in twins}) > 1
    ]
    return f" [{', '.join(apart)}]" if apart else ""


def _value(run: RunFacts, name: str) -> Any:
    return run.settings.get(name)


__all__ = ["Cell", "Layout", "LayoutRow", "grouped_layouts", "sheet_layout"]
