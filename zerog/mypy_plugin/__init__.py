"""A plug-in of mypy: ``plugins = zerog.mypy_plugin`` in its configuration.

It gives a job class the fields of its schemas as typed attributes, and checks the parameters of ``submit`` and
``submit_many`` and what ``update_attrs`` sets. ``schemas`` reads declarations while mypy analyses classes, ``values``
knows the types of fields, ``calls`` adjusts the signatures of calls.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import TypeInfo
from mypy.plugin import ClassDefContext, MethodContext, MethodSigContext, Plugin
from mypy.types import FunctionLike, Type

from zerog import __version__ as __version__  # mypy discards what it has cached when this changes
from zerog.mypy_plugin.calls import with_any_parameters, with_fields, with_list_of_parameters, with_parameters
from zerog.mypy_plugin.schemas import JOB, SCHEMA, add_attributes, note_fields

_CALLS: dict[str, Callable[[MethodSigContext], FunctionLike]] = {
    "submit": with_parameters,
    "submit_many": with_list_of_parameters,
    "update_attrs": with_fields,
}


class ZerogPlugin(Plugin):
    """The hooks of mypy that the plug-in uses."""

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        found = self.lookup_fully_qualified(fullname)
        if found is None or not isinstance(found.node, TypeInfo):
            return None
        if found.node.has_base(SCHEMA):
            return note_fields
        return add_attributes if found.node.has_base(JOB) else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return with_any_parameters if fullname == "zerog.app.App.job" else None

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return _CALLS.get(fullname.rpartition(".")[2])


def plugin(version: str) -> type[Plugin]:
    """Return the plug-in's class, as every mypy from 2 on asks for it."""
    return ZerogPlugin
