"""Trained branches that several runs share: trained once, read by every other run.

Rows of a table often differ in the fusion alone. In the staged recipe their image branches are then
the same models, trained on the same cases with the same settings and seed, to the same numbers.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fusionzoo.schema import canonical
from fusionzoo.storage import write_atomic
from fusionzoo.training.observer import EpochReport


class BranchStore:
    """A folder of trained branches, each under the hash of all that defines it.

    Two runs that need one branch at the same time both train it, and leave the same file. A file
    that can't be read counts as absent.

    Args:
        root: The folder; created when the first branch is kept.
        facts: What a branch depends on beside its spec and its stage: data, split, seed, settings,
            precision, versions. JSON values.
    """

    def __init__(self, root: Path, facts: Mapping[str, Any]):
        self.root = root
        self.facts = {**facts, "source": source_digest()}

    def find(self, stage: str, spec: str) -> tuple[dict[str, Tensor], list[EpochReport]] | None:
        """The weights and the reports of a branch that was trained before, None where none was."""
        told = self._told(stage, spec)
        path = self._path(told)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("facts") != told:
                    return None
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state, [EpochReport(**report) for report in json.loads(metadata["reports"])]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None

    def keep(
        self, stage: str, spec: str, state: Mapping[str, Tensor], reports: Sequence[EpochReport]
    ) -> None:
        """Keep a branch for other runs.

        Raises:
            RunError: The folder can't be written.
        """
        told = self._told(stage, spec)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        metadata = {"facts": told, "reports": json.dumps([asdict(report) for report in reports])}
        write_atomic(self._path(told), save(tensors, metadata))

    def _told(self, stage: str, spec: str) -> str:
        return canonical({**self.facts, "stage": stage, "spec": spec})

    def _path(self, told: str) -> Path:
        return self.root / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.safetensors"


@cache
def source_digest() -> str:
    """SHA-256 over the package's Python files: other code may train other numbers."""
    package = Path(__file__).resolve().parents[1]
    told = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        told.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return told.hexdigest()
