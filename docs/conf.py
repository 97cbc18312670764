"""Sphinx builds the documentation from Markdown; warnings are errors (see tox.ini)."""

import zerog

project = "ZeroG"
author = "The ZeroG authors"
release = zerog.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
myst_heading_anchors = 3
autodoc_typehints = "description"
