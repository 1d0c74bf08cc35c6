"""What is wrong with a value of a request or a configuration is said without Python's words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.fields import field_errors, headline
from tunesmith.automl import Config
from tunesmith.automl.config import read
from tunesmith.errors import InvalidConfig
from tunesmith.schemas.automl import MAX_ROWS, PredictRequest


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows: must have at least 1 item"),
        ([{}] * (MAX_ROWS + 1), "rows: must have at most 10,000 items"),
        (7, "rows: must be a valid list"),
        ([7], "rows.0: must be a JSON object"),
    ],
)
def test_requests(rows: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PredictRequest.model_validate({"rows": rows})
    assert headline(field_errors(refused.value.errors(), {"rows": rows})).startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"features": []}, "data.features is []: must have at least 1 item"),
        ({"categorical": 7}, "data.categorical is 7: must be a valid array"),
    ],
)
def test_configurations(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        read(Config, {"data": data})
    assert refused.value.message.startswith(message)
