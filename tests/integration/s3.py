"""A local S3 service for a module's tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def bucket(path: str) -> Iterator[str]:
    """The URL of a path, `bucket/prefix`, in a bucket of its own on a local S3 service."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=path.split("/")[0])
        yield f"s3://{path}?scheme=http&endpoint_override={host}:{port}"
    server.stop()


def listing(url: str) -> dict[str, int]:
    """The size in bytes of every object below such a URL, by its key there."""
    found = re.fullmatch(r"s3://([^/]+)/(.*)\?.*endpoint_override=(.*)", url)
    assert found
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=f"http://{found[3]}", **keys)
    objects = client.list_objects_v2(Bucket=found[1], Prefix=f"{found[2]}/").get("Contents", [])
    return {each["Key"].removeprefix(f"{found[2]}/"): each["Size"] for each in objects}
