"""The toy parts, known for the time of a test."""

import pytest

from fusionzoo import registry
from tests.models import toy_parts


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(registry, "_notebook", {})
    toy_parts.register()
    toy_parts.LOG.clear()
