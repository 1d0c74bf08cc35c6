"""What people hand to the command line: experiment files in JSON or YAML, and optimizers as files or inline."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.errors import InvalidBody, InvalidOptimizer

INLINE = re.compile(r"(?P<type>[A-Za-z_]\w*)(:(?P<options>\s*[A-Za-z_]\w*=.*))?", re.DOTALL)
WRAPPED = frozenset({"experiment", "optimizer", "priority"})


@dataclass(frozen=True)
class Submission:
    """What a file asks for."""

    experiment: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None = None
    priority: Any = None


def read_submission(path: str) -> Submission:
    """An experiment file, or one with `experiment`, `optimizer` and `priority`; `-` is stdin. Raises InvalidBody."""
    document = read_document(path)
    if not isinstance(document, Mapping):
        raise InvalidBody(f"{path} holds {kind(document)}; it should hold an experiment: an object with tool_name, ...")
    if not isinstance(document.get("experiment"), Mapping):
        return Submission(document)
    if unknown := sorted(set(document) - WRAPPED):
        raise InvalidBody(f"{path}: {unknown[0]!r} is no field here; known: {', '.join(sorted(WRAPPED))}")
    return Submission(document["experiment"], document.get("optimizer"), document.get("priority"))


def read_optimizer(given: str) -> Mapping[str, Any]:
    """An optimizer from a file, or inline: `random:n_iter=20,seed=1`, JSON. Raises InvalidOptimizer, InvalidBody."""
    if given.lstrip().startswith("{"):
        try:
            return dict(json.loads(given))
        except ValueError as error:
            raise InvalidOptimizer(f"{given!r} is no JSON: {error}") from error
    if given == "-" or Path(given).is_file():
        document = read_document(given)
        if isinstance(document, Mapping) and set(document) == {"optimizer"}:
            document = document["optimizer"]
        if not isinstance(document, Mapping):
            raise InvalidOptimizer(f"{given} holds {kind(document)}; it should hold an object with a type")
        return document
    inline = INLINE.fullmatch(given)
    if inline is None:
        raise InvalidOptimizer(f"{given!r} is neither a file nor an optimizer such as 'random:n_iter=20,seed=1'")
    return {"type": inline["type"], **_options(inline["options"] or "")}


def _options(given: str) -> dict[str, Any]:
    pairs = (part.split("=", 1) for part in re.split(r",(?=\s*[A-Za-z_]\w*=)", given) if part.strip())
    return {name.strip(): _scalar(value.strip()) for name, value in pairs}


def _scalar(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_document(path: str) -> Any:
    """What a JSON or YAML file holds; `-` is stdin. Raises InvalidBody."""
    try:
        content = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidBody(f"{path} cannot be read: {reason}") from error
    try:
        return json.loads(content)
    except ValueError as error:
        if path.lower().endswith(".json"):
            raise InvalidBody(f"{path} is no JSON: {error}") from error
    try:
        return yaml.load(content, Loader=_Loader)  # nosec B506  # a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidBody(f"{path} is neither JSON nor YAML: {error}") from error


def kind(document: Any) -> str:
    """What it is, in words."""
    return "nothing" if document is None else f"a {type(document).__name__}"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes `1e-5` for a string, and `on` and `no` for booleans; people mean a number, and words."""


class Dumper(yaml.SafeDumper):
    """Writes what is read here as it was: the text `1e-5` gets quotes."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """A text; one with U+0085 in quotes, or a reader takes it for the end of a line."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if "\x85" in value else None)


Dumper.add_representer(str, _text)
for _kind in (_Loader, Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
