"""The formats that a traced model can be written in, and how each file is run again."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib import util as importlib_util
from pathlib import Path

import torch
from torch import Tensor

from fusionzoo.errors import BadOption, MissingExtra
from fusionzoo.export.program import Exportable

#: Runs a written model: inputs by name to probabilities by task.
Runner = Callable[[dict[str, Tensor]], dict[str, Tensor]]
#: Format -> suffix of its files.
FORMATS = {"torch-export": ".pt2", "onnx": ".onnx"}


def write(program: torch.export.ExportedProgram, form: str, names: list[str], path: Path) -> None:
    """Write a traced model.

    Args:
        program: The traced model.
        form: One of `FORMATS`.
        names: Names of the inputs.
        path: The file.

    Raises:
        MissingExtra: A package that the format needs is not installed.
        BadOption: An operator of the model has no form there.
    """
    if form == "torch-export":
        torch.export.save(program, path)
        return
    _need_onnx()
    tasks = list(program.call_spec.out_spec.unflatten(range(program.call_spec.out_spec.num_leaves)))
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=tasks,
            )
        assert made is not None
        made.save(path)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadOption(
            f"The model can't be written as ONNX ({type(error).__name__}: {reason}). Use --format "
            "torch-export."
        ) from error


def load(form: str, path: Path, exportable: Exportable) -> Runner:
    """Open a written model again, as another program would."""
    if form == "torch-export":
        module = torch.export.load(path).module()
        return lambda inputs: module(inputs)
    _need_onnx()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {given.name for given in session.get_inputs()}
    tasks = [task.name for task in exportable.data.tasks]

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        given = {name: x.numpy() for name, x in inputs.items() if name in wanted}
        found = session.run(tasks, given)
        return {name: torch.from_numpy(x) for name, x in zip(tasks, found, strict=True)}

    return run


def _need_onnx() -> None:
    absent = [n for n in ("onnx", "onnxruntime", "onnxscript") if not importlib_util.find_spec(n)]
    if absent:
        raise MissingExtra(
            f"Writing ONNX needs {', '.join(absent)}, which is not installed. Install it: pip "
            "install 'fusionzoo[export]', or use --format torch-export."
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its progress and of operators that it never needs."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


__all__ = ["FORMATS", "Runner", "load", "write"]
