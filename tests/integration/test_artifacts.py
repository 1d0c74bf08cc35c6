"""A trained model's files: whole or not there, checked before they are loaded, fetched once per content from S3."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import weighing
from s3 import bucket
from weighing import Weighing, keep, trained

from tuners.automl import artifacts
from tuners.automl.artifacts import FACTS, open_model, read_facts
from tunesmith import __version__
from tunesmith.automl import Facts, Predictor
from tunesmith.errors import MissingExtra, ModelUnusable
from tunesmith.plugins import Known
from tunesmith.storage import Storage

KEY = "experiments/1/trials/0000/0"
ROW = {"price": 3, "size": 4.5}
TEMPLATES = {"weighing": Known(Weighing, weighing.PLUGIN)}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "artifacts"))


@pytest.fixture
def directory(storage: Storage) -> Path:
    assert storage.local is not None
    return storage.local / KEY


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def remote(storage: Storage, directory: Path) -> Iterator[Storage]:
    """A storage on S3 with one model."""
    with bucket("models/prefix") as url:
        far = Storage(url)
        upload(far, directory)
        yield far


def upload(far: Storage, directory: Path, key: str = KEY, **weights: float) -> Facts:
    facts = keep(directory, weights or weighing.WEIGHTS)
    for path in sorted(directory.iterdir(), reverse=True):
        far.upload(path, f"{key}/{path.name}")
    return facts


def opened(storage: Storage, cache: Path, key: str = KEY) -> tuple[Facts, Predictor]:
    return open_model(storage, key, TEMPLATES, cache)


def edit(directory: Path, **changes: Any) -> None:
    facts = json.loads((directory / FACTS).read_text())
    (directory / FACTS).write_text(json.dumps(facts | changes))


def test_what_is_written_is_read_and_predicts_again(storage: Storage, directory: Path, cache: Path) -> None:
    written = keep(directory)
    facts, predictor = opened(storage, cache)
    assert facts == read_facts(storage, KEY) == written.evolve(trained_at=facts.trained_at)
    assert predictor.predict([ROW]).values == [2 * 3 - 4.5]
    assert sorted(path.name for path in directory.iterdir()) == [FACTS, "model.weights"]
    assert not cache.exists()


def test_the_facts_say_what_was_trained_and_with_what(directory: Path) -> None:
    facts = keep(directory, {"price": 1.0}, slope=2.5)
    content = (directory / "model.weights").read_bytes()
    assert (facts.file, facts.format, facts.bytes) == ("model.weights", "weights", len(content))
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert (facts.template, facts.plugin, facts.target, facts.rows) == ("weighing", weighing.PLUGIN, "cost", 10)
    assert facts.config == Weighing.read({}).model_dump(mode="json")
    assert facts.metrics == {"r2": 0.5}  # the loss that is no number is none
    assert facts.details == {"slope": 2.5}
    assert facts.versions == {
        "python": platform.python_version(),
        "tunesmith": __version__,
        "pyarrow": version("pyarrow"),
    }


def test_a_template_that_names_no_libraries_has_those_that_are_in_use(directory: Path) -> None:
    import numpy

    given = replace(trained(), libraries=())
    directory.mkdir(parents=True)
    facts = artifacts.write(directory, Weighing, weighing.PLUGIN, Weighing.read({}), given)
    assert facts.versions["numpy"] == numpy.__version__


@pytest.mark.parametrize("suffix", ["json", "", "../weights", ".weights", "a b"])
def test_a_suffix_that_makes_no_file_name_is_refused(directory: Path, suffix: str) -> None:
    directory.mkdir(parents=True)
    with pytest.raises(ValueError, match="cannot end with"):
        artifacts.write(directory, Weighing, weighing.PLUGIN, Weighing.read({}), trained(suffix=suffix))
    assert list(directory.iterdir()) == []


def test_an_attempt_that_fails_leaves_no_facts_about_an_earlier_ones_file(storage: Storage, directory: Path) -> None:
    keep(directory)

    def fail(file: Path) -> None:
        file.write_text("half of it")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        artifacts.write(directory, Weighing, weighing.PLUGIN, Weighing.read({}), replace(trained(), write=fail))
    with pytest.raises(ModelUnusable, match=r"model\.json is not in the storage"):
        read_facts(storage, KEY)


def test_a_file_that_was_changed_is_not_loaded(storage: Storage, directory: Path, cache: Path) -> None:
    keep(directory)
    (directory / "model.weights").write_text('{"price": 99}')
    with pytest.raises(ModelUnusable, match="SHA-256") as refused:
        opened(storage, cache)
    assert refused.value.details["file"] == "model.weights"
    (directory / "model.weights").unlink()
    with pytest.raises(ModelUnusable, match="not there any more"):
        opened(storage, cache)


@pytest.mark.parametrize("changes", [{"file": "../../secret"}, {"sha256": "../x"}, {"features": 3}, {"newer": 1}])
def test_facts_that_are_none_are_refused(
    storage: Storage, directory: Path, cache: Path, changes: dict[str, Any]
) -> None:
    keep(directory)
    edit(directory, **changes)
    with pytest.raises(ModelUnusable, match=r"model\.json (cannot be read|names no file)"):
        opened(storage, cache)


def test_a_model_that_cannot_be_loaded_says_what_changed_since(storage: Storage, directory: Path, cache: Path) -> None:
    keep(directory)
    (directory / "model.weights").write_text("{no JSON")
    content = (directory / "model.weights").read_bytes()
    edit(directory, sha256=hashlib.sha256(content).hexdigest(), versions={"pyarrow": "1.0", "gone": "2.0"})
    with pytest.raises(ModelUnusable) as refused:
        opened(storage, cache)
    assert "JSONDecodeError" in refused.value.message
    assert f"written with pyarrow 1.0 (here: {version('pyarrow')}), gone 2.0 (here: none)" in refused.value.message


def test_a_template_that_is_gone_or_lacks_its_extra_is_named(
    storage: Storage, directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(directory)
    with pytest.raises(ModelUnusable, match="no template 'weighing' any more"):
        open_model(storage, KEY, {}, cache)
    monkeypatch.setattr(Weighing, "requires", ("no_such_module",))
    with pytest.raises(MissingExtra, match="no_such_module"):
        opened(storage, cache)


def test_a_model_on_s3_is_fetched_once_and_checked_each_time(remote: Storage, cache: Path) -> None:
    facts, predictor = opened(remote, cache)
    assert predictor.predict([ROW]).values == [1.5]
    copy = cache / facts.sha256 / "model.weights"
    written = copy.stat()
    opened(remote, cache)
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    copy.write_text("damaged")
    with pytest.raises(ModelUnusable, match="SHA-256"):
        opened(remote, cache)
    assert opened(remote, cache)[1].predict([ROW]).values == [1.5]
    assert [path.name for path in copy.parent.iterdir()] == ["model.weights"]


def test_the_same_content_is_one_copy_and_the_oldest_go(
    remote: Storage, directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(remote, directory, "again")
    first = opened(remote, cache)[0].sha256
    assert opened(remote, cache, "again")[0].sha256 == first
    monkeypatch.setattr(artifacts, "CACHE_BYTES", 30)
    second = upload(remote, directory, "other", price=5.0).sha256
    opened(remote, cache, "other")
    assert [path.name for path in cache.iterdir()] == [second]


def test_a_file_that_is_gone_from_s3_is_not_there(remote: Storage, cache: Path) -> None:
    remote.remove(f"{KEY}/model.weights")
    with pytest.raises(ModelUnusable, match="not there any more"):
        opened(remote, cache)
