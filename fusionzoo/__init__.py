"""Encoders, necks, fusions and heads for multimodal medical AI, put together from a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fusionzoo.api import build as build
    from fusionzoo.api import open_run as open_run
    from fusionzoo.api import run as run
    from fusionzoo.estimator import FusionClassifier as FusionClassifier
    from fusionzoo.grammar import parse as parse
    from fusionzoo.registry import register as register

_HOME = {
    "FusionClassifier": "fusionzoo.estimator",
    "build": "fusionzoo.api",
    "open_run": "fusionzoo.api",
    "parse": "fusionzoo.grammar",
    "register": "fusionzoo.registry",
    "run": "fusionzoo.api",
}

__all__ = ["FusionClassifier", "__version__", "build", "open_run", "parse", "register", "run"]


def __getattr__(name: str) -> Any:
    """Import public functions when they are first used: importing the package stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'fusionzoo' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
