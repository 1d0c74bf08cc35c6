"""The page on AutoML has every key of every template that ships, with its default; its configurations are accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tuners.automl import plugin
from tunesmith.automl import Template

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "automl.md").read_text()
CELL = re.compile(r"(?<!\\)\|")


def tables() -> list[list[dict[str, str]]]:
    """The page's tables of keys, a row each as column -> cell."""
    found: list[list[dict[str, str]]] = []
    for block in re.findall(r"^\| key \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        heads = PAGE[: PAGE.index(block)].rstrip().splitlines()[-2]
        names = [cell.strip() for cell in CELL.split(heads)[1:-1]]
        rows = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in block.splitlines()]
        found.append([dict(zip(names, row, strict=True)) for row in rows])
    return found


def documented(template: str) -> dict[str, Any]:
    """Key -> default, as the page says for a template: those of all, and its own over them."""
    found: dict[str, Any] = {"model.type": template}
    for table in sorted(tables(), key=lambda rows: "default" not in rows[0]):
        for row in table:
            cell = row.get("default", row.get(template, ""))
            if cell.startswith("`"):
                found[row["key"].strip("`")] = json.loads(cell.strip("`"))
    return found


@pytest.mark.parametrize("template", plugin.templates, ids=lambda template: template.name)
def test_every_key_is_there_with_its_default(template: type[Template]) -> None:
    sections: Any = template.defaults()
    defaults = {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    assert documented(template.name) == defaults


@pytest.mark.parametrize("block", re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_every_configuration_is_accepted(block: str) -> None:
    config = json.loads(block)
    (template,) = (each for each in plugin.templates if each.name == config["model"]["type"])
    read = template.read(config).model_dump(mode="json")
    for section, keys in config.items():
        assert read[section].items() >= keys.items()
