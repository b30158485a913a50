"""Sphinx configuration."""

import taskroute

project = "taskroute"
version = release = taskroute.__version__
project_copyright = "the taskroute authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "taskroute"
exclude_patterns = ["performance/results.md", "_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
default_role = "any"
# Types of the standard library, of pydantic and of modules that are not public have no page here to link to.
nitpick_ignore_regex = [("py:.*", r".*")]
suppress_warnings = ["ref.any"]
