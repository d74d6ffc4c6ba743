"""Options that several commands share, and how they become a combo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.errors import BadOption

if TYPE_CHECKING:
    from fusionzoo.grammar import Combo
    from fusionzoo.spec import DataSpec


def combo_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--spec`, `--system`, or `--encoder`, `--fusion` and `--head`."""
    for decorator in (
        click.option("--head", help="Head; linear where not said."),
        click.option("--fusion", help="Fusion: msca, or a chain such as cmigf+mgc."),
        click.option(
            "--encoder",
            "encoders",
            multiple=True,
            help="Encoder, 'penet3d' or 'ct=penet3d+e3d_msca'; repeat it for several.",
        ),
        click.option(
            "--system",
            help="A system of a paper, with its settings: 'mmcaf-net', 'mmcaf-net:official'.",
        ),
        click.option(
            "--spec", help="The whole spec string: 'ct=penet3d, table=kan -> msca -> linear'."
        ),
    ):
        function = decorator(function)
    return function


def chosen_combo(
    spec: str | None,
    system: str | None,
    encoders: Sequence[str],
    fusion: str | None,
    head: str | None,
    data: DataSpec,
) -> Combo:
    """The combo that the flags say; contradictions are refused."""
    from fusionzoo.grammar import parse

    parts = [
        flag
        for flag, value in (("--encoder", encoders), ("--fusion", fusion), ("--head", head))
        if value
    ]
    ways = [flag for flag, value in (("--spec", spec), ("--system", system)) if value] + parts[:1]
    if len(ways) > 1:
        raise BadOption(
            f"{' and '.join(ways)} both say what to build. Give one of --spec, --system, or the "
            "parts."
        )
    if spec:
        return parse(spec)
    if system:
        from fusionzoo.systems import load_system

        return parse(load_system(system).spec)
    if not parts:
        raise BadOption(
            "Nothing says what to build. Give --encoder and --fusion, for instance '--encoder "
            "penet3d --fusion msca', "
            "or --spec, or --system."
        )
    from fusionzoo.models.complete import complete

    return complete(encoders, fusion, head, data)


def training_settings(pairs: Sequence[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings of `--set name=value` and of the flags with a name of their own."""
    from fusionzoo.grammar import parse_chain

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not equals:
            raise BadOption(
                f"--set takes name=value, for instance --set patience=5; given {pair!r}."
            )
        ((_, value),) = parse_chain(f"set({pair})").calls[0].options
        settings[name.strip()] = value
    return settings | {name: value for name, value in named.items() if value is not None}


def scoring_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--threshold` and `--binary`, as `rule` and `binary`."""
    for decorator in (
        click.option(
            "--binary",
            type=click.Choice(["auto", "macro", "positive"]),
            default="auto",
            show_default=True,
            help="Sensitivity and specificity of two-class tasks in the mean over tasks: of the "
            "positive class, or the mean over both; auto is macro where a task has more classes.",
        ),
        click.option(
            "--threshold",
            "rule",
            default="youden",
            show_default=True,
            help="Rule on validation data: youden, f1 or 0.5.",
        ),
    ):
        function = decorator(function)
    return function
