"""The page on datasets: its blocks run, and its tables name all there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

from tunesmith.etl import Column
from tunesmith.etl.messages import Message, Severity
from tunesmith.etl.schema import ColumnType
from tunesmith.etl.uploads import FORMATS
from tunesmith.scenarios import DataSource

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_blocks_run_as_they_are_printed(tmp_path: Path) -> None:
    script = "\n".join(blocks("python"))
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "warning orders None None orders of nothing were left out" in ended.stdout


def test_the_json_is_a_dataset_and_a_message() -> None:
    document, message = blocks("json")
    assert DataSource.from_json(document)["orders"]["at"].isna().tolist() == [False, True]
    assert Message(**json.loads(message)).row == 3


def test_every_field_type_severity_and_format_is_named() -> None:
    names = {field.name for field in fields(Column)} - {"name"}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == names | {"Column", "severity", *get_args(Severity)}
    assert not [word for word in (*get_args(ColumnType), *FORMATS) if f"`{word}`" not in PAGE]
