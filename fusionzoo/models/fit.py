"""Whether parts fit, asked before they are built; a refusal says what would fit."""

from collections.abc import Iterable, Sequence

import torch

from fusionzoo import registry
from fusionzoo.errors import FusionZooError, LayoutMismatch
from fusionzoo.grammar import Binding, Call
from fusionzoo.interface import AbstractEncoder, AbstractFusion
from fusionzoo.models.adapt import reachable
from fusionzoo.spec import DataSpec, Modality, Need


def stacked(inputs: Sequence[str], data: DataSpec) -> Modality:
    """The modality that an encoder reads: one, or several stacked on channels.

    Raises:
        LayoutMismatch: Several that differ in kind or size.
    """
    parts = [data.modality(name) for name in inputs]
    if len({(part.kind, part.size) for part in parts}) > 1:
        shapes = ", ".join(f"{part.name} is a {part.kind} of {part.shape}" for part in parts)
        raise LayoutMismatch(
            f"Inputs stacked on channels need one kind and size: {shapes}. "
            "Give each an encoder of its own, or resize them in the data set."
        )
    channels = sum(part.channels for part in parts)
    return Modality("+".join(inputs), parts[0].kind, channels, parts[0].size)


def shared(binding: Binding, data: DataSpec) -> Modality:
    """The modality that the encoder of a binding is built for.

    Raises:
        LayoutMismatch: The binding's inputs differ, so that no encoder can read them all.
    """
    first, *others = (stacked(inputs, data) for inputs in binding.inputs)
    for other in others:
        if (other.kind, other.shape) != (first.kind, first.shape):
            raise LayoutMismatch(
                f"{first.name!r} and {other.name!r} can't share an encoder: one is a {first.kind} "
                f"of {first.shape}, the other a {other.kind} of {other.shape}. Give each its own: "
                f"'{first.name}={binding.chain}, {other.name}={binding.chain}'."
            )
    return first


def check_accepts(call: Call, cls: type[AbstractEncoder], modality: Modality) -> None:
    """Refuse an encoder for a kind of modality that it doesn't read."""
    if modality.kind in cls.accepts:
        return
    fitting = [
        entry.name
        for entry in registry.entries("encoder")
        if entry.origin == "fusionzoo"
        and modality.kind in registry.load("encoder", entry.name).accepts
    ]
    raise LayoutMismatch(
        f"Encoder {call.name!r} reads {' or '.join(sorted(cls.accepts))}; {modality.name!r} is a "
        f"{modality.kind} of shape {modality.shape}. Encoders that fit: {', '.join(fitting)}."
    )


def encoders_that_fit(modality: Modality, need: Need, data: DataSpec) -> str:
    """'Encoders that do: a, b.' for a refusal, by building each on the meta device."""
    fitting = []
    for entry in registry.entries("encoder"):
        try:
            cls = registry.load("encoder", entry.name)
            if modality.kind in cls.accepts:
                suggested = data.suggestions.get(entry.name, {})
                with torch.device("meta"):
                    encoder = cls(modality, **registry.bind("encoder", entry.name, suggested))
                fitting += [entry.name] if reachable(encoder.output, need) else []
        except (FusionZooError, RuntimeError, TypeError, ValueError):
            continue  # one that needs options, or can't be built for this modality
    if not fitting:
        return "No encoder of the zoo gives that for this modality."
    return f"Encoders that do: {', '.join(fitting)}."


def check_fusions(
    chain: Sequence[tuple[Call, type[AbstractFusion]]], features: Iterable[str], head: Call
) -> None:
    """Refuse fusions for another number of modalities, and chains that end too early or never."""
    names = list(features)
    for call, cls in chain:
        low, high = cls.min_modalities, cls.max_modalities
        if len(names) >= low and (high is None or len(names) <= high):
            continue
        wanted = f"{low} to {high}" if high else f"at least {low}"
        remedy = (
            f"Leave it out: '... -> {head}'."
            if len(names) == 1
            else "Fusions for any number: concat, late."
        )
        raise LayoutMismatch(
            f"Fusion {call.name!r} joins {f'exactly {low}' if low == high else wanted} modalities; "
            f"the spec has {len(names)} ({', '.join(names)}). {remedy}"
        )
    *before, (last_call, last) = chain
    for call, cls in before:
        if "refine" not in cls.places:
            raise LayoutMismatch(
                f"Fusion {call.name!r} ends a chain; '+{last_call.name}' can't come after it."
            )
    if "join" not in last.places:
        raise LayoutMismatch(
            f"Fusion {last_call.name!r} refines features and can't end a chain; add one that "
            f"joins: '{last_call}+concat'."
        )
