"""A plugin from nothing: a small installable package with one part, its tests and a README."""

from fusionzoo.scaffold.new import KINDS, contents, new_plugin

__all__ = ["KINDS", "contents", "new_plugin"]
