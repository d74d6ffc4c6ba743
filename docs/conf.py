"""How the documentation is built; `make docs` runs it, and a warning is an error."""

import importlib.metadata
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "fusionzoo"
author = "The fusionzoo developers"
copyright = "The fusionzoo developers, Apache-2.0"
release = importlib.metadata.version("fusionzoo")

extensions = [
    "myst_parser",
    "plain_docstrings",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
# Optional packages; the pages about the parts that use them are built without.
autodoc_mock_imports = [
    name for name in ("triton", "kan", "mamba_ssm", "pydicom", "gdcm") if find_spec(name) is None
]
autosummary_generate = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Inputs", "params_style")]
napoleon_use_ivar = True

smartquotes = False
html_theme = "furo"
html_title = f"fusionzoo {release}"
