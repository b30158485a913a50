"""Sphinx configuration."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.typing import stringify_annotation

import taskroute

project = "taskroute"
version = release = taskroute.__version__
project_copyright = "the taskroute authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "taskroute"
html_static_path = ["static"]
html_css_files = ["taskroute.css"]
exclude_patterns = ["performance/results.md", "_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "any"
# Types of the standard library, of pydantic and of modules that are not public have no page here to link to. A name of
# the public API has one: if it cannot be found, that is an error.
nitpick_ignore_regex = [("py:.*", rf"(?!taskroute\.({'|'.join(taskroute.__all__)})\b).*")]
suppress_warnings = ["ref.any"]

INSTANCES = {
    "message": taskroute.Message,
    "publisher": taskroute.Publisher,
    "registry": taskroute.HandlerRegistry,
    "routes": taskroute.Routes,
    "topology": taskroute.Topology,
    "worker": taskroute.Worker,
}
"""What pages call the objects of these classes."""

NAME = re.compile(r"(?P<owner>\w+)(\.(?P<member>\w+))?(\((\.\.\.)?\))?")


class LinkPublicNames(SphinxTransform):
    """Turns inline code that is a name of the public API (`Worker.run()`, `worker.run()`) into a link.

    So the pages stay plain Markdown, and a name that does not exist is found.
    """

    default_priority = 500

    def apply(self) -> None:
        for literal in list(self.document.findall(nodes.literal)):
            if isinstance(literal.parent, nodes.title | nodes.reference | addnodes.pending_xref):
                continue
            target = public_name(literal.astext(), literal)
            if target is not None:
                attributes = {"refdomain": "py", "reftype": "obj", "reftarget": target, "refdoc": self.env.docname}
                literal.replace_self(addnodes.pending_xref("", literal.deepcopy(), **attributes))


def public_name(text: str, where: nodes.Node) -> str | None:
    """The full name of what `text` names, None if that is nothing of the public API."""
    found = NAME.fullmatch(text.removeprefix("taskroute."))
    if found is None or found["owner"] not in {*INSTANCES, *taskroute.__all__}:
        return None
    owner = INSTANCES.get(found["owner"]) or getattr(taskroute, found["owner"])
    member, name = found["member"], f"taskroute.{getattr(owner, '__name__', found['owner'])}"
    if found["owner"] in INSTANCES and (member is None or not is_member(owner, member)):
        return None
    if member is None or member in fields(owner):  # fields are described with their class
        return name
    if not is_member(owner, member):
        logging.getLogger(__name__).warning("no such name in the public API: %s", text, location=where)
        return None
    return f"{name}.{member}"


def is_member(owner: type, name: str) -> bool:
    return hasattr(owner, name) or name in fields(owner)


def fields(owner: type) -> frozenset[str]:
    if isinstance(owner, type) and issubclass(owner, BaseModel):
        return frozenset(owner.model_fields)
    return frozenset(owner.__dataclass_fields__) if is_dataclass(owner) else frozenset()


def describe_fields(
    app: Sphinx, kind: str, name: str, described: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Name the types of a spec's fields without the validators that pydantic is told of in them."""
    if not (isinstance(described, type) and issubclass(described, BaseModel)):
        return None
    types = app.env.current_document.autodoc_annotations[name]
    for field, hint in get_type_hints(described).items():
        text = stringify_annotation(hint, "smart")
        types[field] = re.sub(r"~[\w.]+\.", "", text) if "Literal" in text else text  # Sphinx links nothing beside it
    return (signature or "").replace("<factory>", "{}"), returns


def setup(app: Sphinx) -> None:
    app.add_transform(LinkPublicNames)
    app.connect("autodoc-process-signature", describe_fields, priority=600)  # after autodoc has noted the types
