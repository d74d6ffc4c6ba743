"""A plugin from nothing: a small installable package with one part, its tests and a README."""

from fusionzoo.scaffold.new import KINDS, new_plugin

__all__ = ["KINDS", "new_plugin"]
