"""What mypy takes for granted in tests: names and ids are bytes, and repositories have reftables.

dulwich has types of its own for ref names and object ids, ``Ref`` and ``ObjectID``, and a program
makes one of bytes by calling it. Tests are full of literals: here both types are ``bytes``.
A ``Repo`` may have refs in files, so that its ``refs`` are any ``RefsContainer``. A test knows
which format it has made: here they are a ``ReftableRefsContainer``.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.checker import TypeChecker
from mypy.nodes import TypeInfo
from mypy.plugin import AnalyzeTypeContext, AttributeContext, Plugin
from mypy.types import Instance, Type, get_proper_type

_BYTES = frozenset(("dulwich.refs.Ref", "dulwich.objects.ObjectID"))
_REPO = "dulwich_reftable.repo.repo.Repo"
_CONTAINER = ("dulwich_reftable.refs.container", "ReftableRefsContainer")


class TestsPlugin(Plugin):
    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        if fullname in _BYTES:
            return lambda context: context.api.named_type("builtins.bytes", [])
        return None

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        return _refs if fullname.endswith(".refs") else None


def _refs(context: AttributeContext) -> Type:
    owner = get_proper_type(context.type)
    if not (isinstance(owner, Instance) and owner.type.has_base(_REPO)):
        return context.default_attr_type
    module, name = _CONTAINER
    assert isinstance(context.api, TypeChecker)
    container = context.api.modules[module].names[name].node
    assert isinstance(container, TypeInfo)
    return Instance(container, [])


def plugin(version: str) -> type[Plugin]:
    return TestsPlugin
