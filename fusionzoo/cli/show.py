"""`fusionzoo show`: a combo resolved, without touching data."""

from __future__ import annotations

import click


@click.command()
@click.argument("spec")
@click.option(
    "--dataset",
    default="lidc",
    show_default=True,
    help="Data set whose shapes and suggestions to use.",
)
def command(spec: str, dataset: str) -> None:
    """Parts, options, shapes between the parts, parameters, FLOPs and memory of SPEC.

    SPEC is a spec string, one encoder with its necks, or the name of a system.
    """
    from rich.console import Console
    from rich.table import Table

    from fusionzoo import registry
    from fusionzoo.data.open import open_dataset
    from fusionzoo.grammar import parse, print_value
    from fusionzoo.models.assemble import assemble_meta
    from fusionzoo.models.complete import complete
    from fusionzoo.models.profile import activation_bytes, count_flops

    data = open_dataset(dataset).spec
    if spec.partition(":")[0] in registry.names("system"):
        from fusionzoo.systems import load_system

        spec = load_system(spec).spec
    combo = parse(spec) if "->" in spec else complete([spec], None, None, data)
    model = assemble_meta(combo, data)
    resolved = model.plan
    console = Console(soft_wrap=True)
    console.print(f"[bold]{resolved.combo}[/bold]  [dim]{resolved.hash}[/dim]", highlight=False)
    offered = any(call.name in data.suggestions for _, call in combo.calls)
    if offered and resolved.combo != combo:
        console.print(
            f"[dim]with what data set {data.name!r} suggests; you wrote: {combo}[/dim]",
            highlight=False,
        )
    inputs = ", ".join(f"{m.name} {'x'.join(map(str, m.shape))}" for m in data.modalities)
    console.print(f"inputs: {inputs}", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stream", "part", "gives"):
        table.add_column(name, overflow="fold")
    table.add_column("parameters", justify="right")
    streams = list(dict.fromkeys(stage.feature for stage in resolved.stages))
    for stage in sorted(resolved.stages, key=lambda stage: streams.index(stage.feature)):
        part = f"[dim]({stage.part})[/dim]" if stage.conversion else stage.part
        table.add_row(
            stage.feature, part, stage.gives, f"{stage.parameters:,}" if stage.parameters else ""
        )
    console.print(table)
    total = sum(stage.parameters for stage in resolved.stages)
    flops = count_flops(model, data)
    counted = (
        f"{flops / 1e9:,.3f} GFLOPs a case"
        if flops is not None
        else "FLOPs can't be counted for this combo"
    )
    held = activation_bytes(model, data)
    activations = f", activations {held / 2**20:,.1f} MiB a case" if held is not None else ""
    console.print(
        f"{total:,} parameters ({total * 4 / 2**20:,.1f} MiB in float32{activations}); {counted}",
        highlight=False,
    )
    for where, options in resolved.options.items():
        if options:
            told = ", ".join(f"{key}={print_value(value)}" for key, value in options.items())
            console.print(f"[dim]{where}: {told}[/dim]", highlight=False)
