"""Data of trainings from S3, and from a session's dataset."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pytest
import requests
from pyarrow import parquet as pq
from s3 import bucket

from tuners.automl.data import Source
from tunesmith.automl import Config
from tunesmith.data import DataSource, write_tables
from tunesmith.errors import InvalidData, StorageUnavailable
from tunesmith.storage import Storage

CSV = b"x,c,y\n1,red,0\n2.5,,1\n"


def source(files: str | None = None, artifacts: str = "", **data: Any) -> Source:
    return Source(Config.model_validate({"data": data}), Path("/nowhere"), artifacts, files)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a local S3 service that has a bucket `training`."""
    with bucket("training/prefix") as url, pytest.MonkeyPatch.context() as patch:
        address = re.search(r"endpoint_override=(.*)", url)
        assert address
        patch.setenv("AWS_ENDPOINT_URL", f"http://{address[1]}")
        yield boto3.client("s3")


class TestS3:
    def test_a_csv_file(self, client: Any) -> None:
        client.put_object(Bucket="training", Key="some key/t+1.csv", Body=CSV)
        table = source(train_path="s3://training/some key/t+1.csv").load()
        assert table.features.to_dict("list")["x"] == [1, 2.5]
        assert table.features["c"].tolist() == ["red", None]

    def test_a_directory_of_parquet_files(self, client: Any) -> None:
        for name, values in (("b", [3]), ("a", [1, 2])):
            stream = io.BytesIO()
            pq.write_table(pa.table({"x": values, "y": values}), stream)
            client.put_object(Bucket="training", Key=f"d/{name}.parquet", Body=stream.getvalue())
        client.put_object(Bucket="training", Key="d/_SUCCESS", Body=b"")
        assert source(train_path="s3://training/d/").load().target.tolist() == [1, 2, 3]

    def test_lines_are_found_there_too(self, client: Any) -> None:
        client.put_object(Bucket="training", Key="t.csv", Body=CSV + b"1,2\n")
        with pytest.raises(InvalidData, match=r"s3://training/t.csv, line 4: it has 2 cells, and the header 3"):
            source(train_path="s3://training/t.csv").load()

    def test_a_missing_object_and_a_missing_bucket(self, client: Any) -> None:
        for path in ("s3://training/none.csv", "s3://nobucket/t.csv"):
            with pytest.raises(InvalidData, match=f"{path}: there is no such object; check bucket and key"):
                source(train_path=path).load()

    def test_an_empty_object(self, client: Any) -> None:
        client.put_object(Bucket="training", Key="empty.csv", Body=b"")
        with pytest.raises(InvalidData, match=r"s3://training/empty.csv: the file is empty"):
            source(train_path="s3://training/empty.csv").load()

    def test_a_denied_bucket(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        client.put_object(Bucket="training", Key="t.csv", Body=CSV)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
        checks = f"{client.meta.endpoint_url}/moto-api/reset-auth"
        requests.post(checks, data="0", timeout=10)  # from now on, every request is checked
        try:
            with pytest.raises(InvalidData, match="access is denied; give the workers' credentials s3:GetObject"):
                source(train_path="s3://training/t.csv").load()
        finally:
            requests.post(checks, data="inf", timeout=10)


class TestDatasetOfASession:
    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> str:
        mixed = pd.DataFrame({"mixed": [1, "a", None], "times": pd.to_datetime(["1970-01-02"] * 3), "y": [0, 1, 0]})
        lists = pd.DataFrame({"l": [[1], [2], None], "y": [1, 2, 3]}, index=pd.Index(["p", "q", "r"]))
        category = pd.DataFrame({"c": pd.Categorical([1, 2, 1]), "y": [1.5, 2, 3]})
        data = DataSource("shop", {"mixed": mixed, "lists": lists, "category": category})
        write_tables(Storage(str(tmp_path)), "datasets/1", data)
        return str(tmp_path)

    def test_a_table_with_an_index_and_values_of_several_types(self, artifacts: str) -> None:
        table = source("datasets/1", artifacts, dataset="shop", table="mixed").load()
        assert table.features["mixed"].tolist() == ["1", "a", None]
        assert table.features["times"].tolist() == [86_400.0] * 3
        assert (table.kinds, table.target.tolist()) == ({"mixed": "category", "times": "time"}, [0, 1, 0])
        assert table.origin.where(2, "mixed") == "dataset 'shop', table 'mixed', row 3, column 'mixed'"

    def test_categories_of_numbers(self, artifacts: str) -> None:
        found = source("datasets/1", artifacts, dataset="shop", table="category")
        assert found.load().target.tolist() == [1.5, 2, 3]
        assert [piece.features["c"].tolist() for piece in found.batches(2)] == [["1", "2"], ["1"]]

    def test_a_table_for_validation(self, artifacts: str) -> None:
        found = source("datasets/1", artifacts, dataset="shop", table="mixed", val_table="mixed", features=["times"])
        validation = found.load().validation
        assert validation is not None
        assert len(validation.target) == 3

    def test_lists_are_refused_with_table_and_column(self, artifacts: str) -> None:
        with pytest.raises(InvalidData, match=r"dataset 'shop', table 'lists', column 'l': it holds lists"):
            source("datasets/1", artifacts, dataset="shop", table="lists").load()

    def test_the_table_has_to_be_named_where_there_are_several(self, artifacts: str) -> None:
        with pytest.raises(InvalidData, match=r"name one of its tables with data.table; it has mixed, lists, category"):
            source("datasets/1", artifacts, dataset="shop").load()
        with pytest.raises(InvalidData, match=r"no table 'list' \(did you mean 'lists'\?\)"):
            source("datasets/1", artifacts, dataset="shop", table="list").load()

    def test_a_dataset_whose_files_are_gone(self, artifacts: str) -> None:
        with pytest.raises(StorageUnavailable):
            source("datasets/2", artifacts, dataset="shop").load()
