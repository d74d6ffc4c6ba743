"""From the flags of the command line to a combo: what is not said is filled from the data set."""

from collections.abc import Mapping, Sequence

from fusionzoo import registry
from fusionzoo.errors import BadOption, nearest
from fusionzoo.grammar import Binding, Call, Chain, Combo, parse_bindings, parse_chain
from fusionzoo.spec import DataSpec

#: Encoders for modalities that nothing is said of, where a fusion asks for all of them.
DEFAULT_ENCODERS: Mapping[str, str] = {
    "volume": "penet3d",
    "image": "timm(resnet18)",
    "table": "kan",
}
DEFAULT_HEAD = "linear"


def complete(
    encoders: Sequence[str], fusion: str | None, head: str | None, data: DataSpec
) -> Combo:
    """A combo from its parts.

    An encoder without a modality goes to every modality that it reads and that nothing else is said
    of, tables only where it reads nothing but tables. With a fusion, the other modalities get
    `DEFAULT_ENCODERS`; without one, they are left out.

    Args:
        encoders: Texts such as `penet3d`, `ct=penet3d+e3d_msca`, `clinic=derm=vmamba`.
        fusion: Text of the fusion, or None.
        head: Text of the head, or None for `linear`.
        data: The data set.

    Raises:
        SpecError: A text can't be read.
        BadOption: An encoder fits no modality, or a modality is named twice.
    """
    named: list[Binding] = []
    free: list[Chain] = []
    for text in encoders:
        for binding in parse_bindings(text):
            if binding.inputs:
                named.append(binding)
            else:
                free.append(binding.chain)
    taken = [name for binding in named for inputs in binding.inputs for name in inputs]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise BadOption(
            f"--encoder names {', '.join(map(repr, twice))} more than once. Give each modality one "
            f"encoder."
        )
    order = [modality.name for modality in data.modalities]
    unknown = [name for name in taken if name not in order]
    if unknown:
        hints = " ".join(f"No modality is called {n!r}. {nearest(n, order)}" for n in unknown)
        raise BadOption(f"{hints}Data set {data.name!r} has: {', '.join(order)}.")
    bindings = {binding.inputs[0][0]: binding for binding in named}
    for chain in free:
        for name in _fitting(chain, data, taken):
            bindings[name] = Binding(((name,),), chain)
            taken.append(name)
    if fusion is not None or not bindings:
        for modality in data.modalities:
            if modality.name not in taken:
                bindings[modality.name] = Binding(
                    ((modality.name,),), parse_chain(DEFAULT_ENCODERS[modality.kind])
                )
    ordered = tuple(bindings[name] for name in sorted(bindings, key=order.index))
    count = sum(len(binding.inputs) for binding in ordered)
    if count > 1 and fusion is None:
        raise BadOption(
            f"{count} modalities ({', '.join(bindings)}) need a fusion: add --fusion concat, for "
            f"instance. "
            f"'fusionzoo list fusions' shows all {len(registry.names('fusion'))}."
        )
    return Combo(ordered, parse_chain(fusion) if fusion else None, _head(head or DEFAULT_HEAD))


def _fitting(chain: Chain, data: DataSpec, taken: Sequence[str]) -> list[str]:
    """Modalities that an encoder without a modality goes to."""
    name = chain.calls[0].name
    accepts = registry.load("encoder", name).accepts
    kinds = accepts - {"table"} or accepts
    fitting = [m.name for m in data.modalities if m.kind in kinds and m.name not in taken]
    if not fitting:
        inputs = ", ".join(f"{m.name} ({m.kind})" for m in data.modalities)
        raise BadOption(
            f"Encoder {name!r} reads {' or '.join(sorted(accepts))}, and no such modality of "
            f"{data.name!r} is left. "
            f"It has: {inputs}."
        )
    return fitting


def _head(text: str) -> Call:
    chain = parse_chain(text)
    if len(chain.calls) != 1:
        raise BadOption(f"The head is one component; {text!r} has {len(chain.calls)}.")
    return chain.calls[0]
