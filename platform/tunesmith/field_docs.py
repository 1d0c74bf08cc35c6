"""What the string under each field of a model says.

Pydantic can attach these strings to the fields itself, but reads the source of every class for it as soon as the class
is made: half of the time that the command line took to start. Here it is read where somebody wants to see it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the string under it, those of base classes too; a field without one is not there."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _written_in(base)
    return found


def _written_in(model: type[BaseModel]) -> dict[str, str]:
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(written, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(written.body, written.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            match below.value:
                case ast.Constant(value=str(text)):
                    found[field.target.id] = inspect.cleandoc(text)
    return found
