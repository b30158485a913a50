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
from sphinx.util import import_object, logging
from sphinx.util.typing import stringify_annotation

import taskroute
import taskroute.instrumentation
import taskroute.testing

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
suppress_warnings = ["ref.any"]

PUBLIC = {
    name: f"{module.__name__}.{name}"
    for module in (taskroute.instrumentation, taskroute.testing, taskroute)
    for name in module.__all__
    if not name.startswith("_")
}
"""The names that users import, and where from."""

INSTANCES = {
    "harness": "Harness",
    "message": "Message",
    "publisher": "Publisher",
    "registry": "HandlerRegistry",
    "routes": "Routes",
    "topology": "Topology",
    "worker": "Worker",
}
"""What pages call the objects of these classes."""

# Types of the standard library, of pydantic and of modules that are not public have no page here to link to. A name of
# the public API has one: if it cannot be found, that is an error.
nitpick_ignore_regex = [("py:.*", rf"(?!({'|'.join(map(re.escape, PUBLIC.values()))})\b).*")]

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
    if found is None or found["owner"] not in {*INSTANCES, *PUBLIC}:
        return None
    is_instance, member = found["owner"] in INSTANCES, found["member"]
    name = PUBLIC[INSTANCES.get(found["owner"], found["owner"])]
    owner = import_object(name)
    if is_instance and (member is None or not is_member(owner, member)):
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
    types.pop("model_config", None)
    for field, hint in get_type_hints(described).items():
        if field not in described.model_fields:
            continue
        text = stringify_annotation(hint, "smart")
        types[field] = re.sub(r"~[\w.]+\.", "", text) if "Literal" in text else text  # Sphinx links nothing beside it
    return (signature or "").replace("<factory>", "{}"), returns


def setup(app: Sphinx) -> None:
    app.add_transform(LinkPublicNames)
    app.connect("autodoc-process-signature", describe_fields, priority=600)  # after autodoc has noted the types
