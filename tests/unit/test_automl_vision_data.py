"""The template `vision`: images as people have them, those that are none, and rows to predict from."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from vision_runs import Recorder, kept, trained

from tunesmith.errors import InvalidData

BRIEF = {"channels": 4, "blocks": 1}


def pictures(count: int = 40, rows: int = 8, columns: int = 8, channels: int = 1) -> tuple[Any, list[str]]:
    """Images, count x rows x columns x channels, of a line that lies or stands."""
    random = np.random.default_rng(3)
    found = random.integers(0, 60, (count, rows, columns, channels), dtype=np.uint8)
    labels = ["lies", "stands"] * (count // 2)
    for number, image in enumerate(found):
        if labels[number] == "lies":
            image[rows // 2] = 220
        else:
            image[:, columns // 2] = 220
    return found, labels


def png(image: Any) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(packed, "PNG")
    return packed.getvalue()


def folder(root: Path, name: str, images: Any, labels: list[str]) -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = root / name / label / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(image))


def table(root: Path, cells: Any, labels: Any, name: str = "train.parquet") -> None:
    cells = cells if isinstance(cells, pa.Array | pa.ChunkedArray) else pa.array(cells)
    parquet.write_table(pa.table({"picture": cells, "kind": labels}), root / name)


def config(path: str = "train.parquet", training: Any = None, model: Any = None, **data: Any) -> dict[str, Any]:
    return {
        "model": {**BRIEF, **(model or {})},
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, **(training or {})},
        "data": {"train_path": path, **data},
    }


def test_a_folder_of_images_is_told_apart_and_so_are_images_in_base64(tmp_path: Path) -> None:
    images, labels = pictures(rows=10, columns=14)
    folder(tmp_path, "train", images, labels)
    settings = config("train", {"epochs": 8})

    model = trained(settings, tmp_path)

    assert model.metrics["accuracy"] == 1
    assert (model.classes, model.rows, model.target) == (("lies", "stands"), 32, "class")
    assert model.details["image_shape"] == [10, 14, 1]
    _, predictor = kept(model, tmp_path, settings)
    as_text = [base64.b64encode(png(image)).decode() for image in images]
    said = predictor.predict([{"image": text} for text in as_text])
    assert said.values == labels
    assert predictor.predict([{"image": f"data:image/png;base64,{text}"} for text in as_text]) == said
    assert predictor.predict([{"image": image[:, :, 0].tolist()} for image in images]) == said
    assert predictor.predict([{"image": image.ravel().tolist()} for image in images]) == said
    assert said.probabilities is not None
    assert [sum(each.values()) for each in said.probabilities] == pytest.approx([1] * len(images))


def test_images_of_several_sizes_and_colours_are_made_alike_where_that_is_wanted(tmp_path: Path) -> None:
    folder(tmp_path, "train", *pictures(rows=12, columns=12, channels=3))
    images, labels = pictures(rows=20, columns=16)
    folder(tmp_path, "train/more", images, labels)
    for file in (tmp_path / "train/more").glob("*/*"):
        file.rename(tmp_path / "train" / file.parent.name / f"more-{file.name}")
    settings = config("train", {"epochs": 6}, image_size=10)

    model = trained(settings, tmp_path)

    assert model.details["image_shape"] == [10, 10, 3]
    assert model.metrics["accuracy"] > 0.9
    _, predictor = kept(model, tmp_path, settings)
    said = predictor.predict([{"image": base64.b64encode(png(image)).decode()} for image in images])
    assert np.mean(np.array(said.values) == labels) > 0.9


def test_a_folder_of_its_own_can_validate(tmp_path: Path) -> None:
    images, labels = pictures()
    folder(tmp_path, "train", images[:30], labels[:30])
    folder(tmp_path, "test", images[30:], labels[30:])
    run = Recorder()

    model = trained(config("train", val_path="test"), tmp_path, run)

    assert model.rows == 30
    assert "val_loss" in run.history[0]


SHAPES: dict[str, Callable[[Any], Any]] = {
    "flat lists": lambda images: [image.ravel().tolist() for image in images],
    "nested lists": lambda images: [image[:, :, 0].tolist() for image in images],
    "nested lists with channels": lambda images: images.tolist(),
    "lists of one length": lambda images: pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), 64),
    "several chunks": lambda images: pa.chunked_array([part.reshape(-1, 64).tolist() for part in np.split(images, 4)]),
    "floats": lambda images: images.reshape(-1, 64).astype(np.float64).tolist(),
    "PNGs": lambda images: [png(image) for image in images],
    "PNGs in base64": lambda images: [base64.b64encode(png(image)).decode() for image in images],
    "objects with bytes": lambda images: [{"bytes": png(image), "path": "x.png"} for image in images],
}


@pytest.mark.parametrize("form", SHAPES)
def test_a_column_may_hold_images_in_any_form(form: str, tmp_path: Path) -> None:
    images, labels = pictures()
    table(tmp_path, SHAPES[form](images), labels)
    pixels = {f"p{number}": images.reshape(-1, 64)[:, number] for number in range(64)}
    parquet.write_table(pa.table({**pixels, "kind": labels}), tmp_path / "pixels.parquet")

    model = trained(config(), tmp_path)

    assert model.metrics == trained(config("pixels.parquet"), tmp_path).metrics
    assert [(feature.name, feature.kind) for feature in model.features] == [("picture", "image")]
    _, predictor = kept(model, tmp_path, config())
    assert predictor.predict([{"picture": image.tolist()} for image in images]) == predictor.predict(
        [{"image": image.ravel().tolist()} for image in images]
    )


def test_flat_images_have_the_shape_that_is_said(tmp_path: Path) -> None:
    images, labels = pictures(rows=6, columns=9, channels=3)
    table(tmp_path, images.reshape(40, -1).tolist(), labels)
    settings = config(image_shape=[6, 9, 3])

    model = trained(settings, tmp_path)

    assert model.details["image_shape"] == [6, 9, 3]
    _, predictor = kept(model, tmp_path, settings)
    flat = predictor.predict([{"picture": image.ravel().tolist()} for image in images])
    assert flat == predictor.predict([{"picture": image.tolist()} for image in images])


def test_numbers_are_resized_too_and_so_are_those_to_predict_from(tmp_path: Path) -> None:
    images, labels = pictures(rows=12, columns=16)
    names = [f"p{number}" for number in range(12 * 16)]
    pixels = dict(zip(names, images.reshape(40, -1).T, strict=True))
    parquet.write_table(pa.table({**pixels, "kind": labels}), tmp_path / "train.parquet")
    settings = config(image_shape=[12, 16], image_size=8, training={"epochs": 8})

    model = trained(settings, tmp_path)

    assert model.details["image_shape"] == [8, 8, 1]
    _, predictor = kept(model, tmp_path, settings)
    said = predictor.predict([dict(zip(names, image.ravel().tolist(), strict=True)) for image in images])
    assert np.mean(np.array(said.values) == labels) > 0.9
    assert predictor.predict([{"image": image[:, :, 0].tolist()} for image in images]) == said


def test_columns_beside_that_of_the_images_are_left_out(tmp_path: Path) -> None:
    images, labels = pictures()
    cells = {"id": list(range(40)), "picture": images.reshape(40, -1).tolist(), "kind": labels}
    parquet.write_table(pa.table(cells), tmp_path / "train.parquet")

    assert [feature.name for feature in trained(config(), tmp_path).features] == ["picture"]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([[1] * 64] * 6 + [[1] * 63], r"train.parquet, row 7, column 'picture': the image is 63, but .*row 1.* is 64"),
        ([[1] * 64] * 6 + [None], r"row 7, column 'picture': the image is missing or empty"),
        ([[1] * 64] * 6 + [[]], r"row 7, column 'picture': the image is missing or empty"),
        ([[1] * 64] * 6 + [[1] * 63 + [None]], r"row 7, column 'picture': the image has a number that is missing"),
        ([[1.0] * 64] * 6 + [[1.0] * 63 + [np.inf]], r"row 7, .*: the image has a number that is missing or not fin"),
        ([[[1] * 8] * 8] * 6 + [[[1] * 8] * 7 + [[1] * 9]], r"row 7, column 'picture': the image is 9, but .* is 8"),
        ([["a"] * 64] * 7, r"row 1, column 'picture': the image has no numbers, but values of type (large_)?string"),
        (
            [[1] * 60] * 7,
            r"row 1, column 'picture': an image has 60 numbers, which make no square; set data.image_shape",
        ),
        ([b"\x89PNG"] * 7, r"row 1, column 'picture': it is neither a PNG nor a JPEG image"),
        ([png(pictures()[0][0])] * 6 + [None], r"row 7, column 'picture': the image is missing"),
        ([png(pictures()[0][0])] * 6 + [png(pictures()[0][0])[:80]], r"row 7, column 'picture': the image is damaged"),
        (["hello!"] * 7, r"row 1, column 'picture': the text is no base64 of a PNG or JPEG image"),
    ],
)
def test_what_is_no_image_is_named_by_its_row(cells: Any, problem: str, tmp_path: Path) -> None:
    table(tmp_path, cells, ["a", "b", "a", "b", "a", "b", "a"])

    with pytest.raises(InvalidData, match=problem):
        trained(config(), tmp_path)


def test_files_that_are_no_images_or_have_another_size_are_named(tmp_path: Path) -> None:
    images, labels = pictures()
    folder(tmp_path, "train", images, labels)
    odd = tmp_path / "train/stands/odd.png"
    odd.write_bytes(png(pictures(2, 9, 8)[0][0]))
    with pytest.raises(InvalidData, match=r"^train/stands/odd.png: the image is 9 x 8, but train/lies/00.png is 8"):
        trained(config("train"), tmp_path)

    odd.write_text("no image")
    with pytest.raises(InvalidData, match=r"^train/stands/odd.png: it is neither a PNG nor a JPEG image"):
        trained(config("train"), tmp_path)


def test_a_folder_without_images_says_where_they_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train/cats").mkdir(parents=True)

    with pytest.raises(InvalidData, match=r"images for the template vision lie in train/CLASS/NAME.png"):
        trained(config("train"), tmp_path)


def test_images_that_the_memory_cannot_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    folder(tmp_path, "train", *pictures(rows=100, columns=100, channels=3))
    settings = {**config("train"), "resources": {"memory_bytes": 1_000_000}}

    with pytest.raises(
        InvalidData, match=r"^train: 40 images of 100 x 100 x 3 need 0.0012 GB of memory, and there are 0.001"
    ):
        trained(settings, tmp_path)


@pytest.mark.parametrize(
    ("labels", "settings", "problem"),
    [
        (["a"] * 40, config(), r"train.parquet, row 1, .*: all images are of the class 'a'; there have to be two"),
        (
            ["a", "b"] * 20,
            config(model={"input_dim": 65}),
            r"^train.parquet: model.input_dim is 65, but an image has 64 .*8 x 8 x 1",
        ),
        (
            ["a", "b"] * 20,
            config(model={"output_dim": 3}),
            r"^train.parquet: model.output_dim is 3, but there are 2 classes; set",
        ),
        (["a", "b"] * 19 + ["a", "c"], config(), r"row 40, column 'picture': no other image is of its class 'c'; give"),
        ([1.0, 2.0] * 19 + [1.0, np.nan], config(), r"row 40, column 'kind': the target is missing"),
        (["a", "b"] * 19 + ["a", None], config(), r"row 40, column 'kind': the target is missing"),
        ([[1], [2]] * 20, config(), r"column 'kind': it holds images; name the column of the classes in data.target"),
        (
            ["a", "b"] * 20,
            config(image_shape=[8, 9]),
            r"row 1.* an image has 64 numbers, but data.image_shape is",
        ),
        (
            ["a", "b"] * 20,
            config(val_path="other.parquet"),
            r"other.parquet, row 1.*: no image for training is of",
        ),
        (
            ["a", "b"] * 20,
            config(val_path="large.parquet"),
            r"large.parquet, row 1.*: the image is 9 x 9 x 1, but",
        ),
    ],
)
def test_what_cannot_be_learnt_is_refused(labels: Any, settings: Any, problem: str, tmp_path: Path) -> None:
    table(tmp_path, pictures()[0].reshape(40, -1).tolist(), labels)
    table(tmp_path, [[1] * 64] * 2, ["c", "b"], "other.parquet")
    table(tmp_path, [[1] * 81] * 2, ["a", "b"], "large.parquet")

    with pytest.raises(InvalidData, match=problem):
        trained(settings, tmp_path)


def test_images_of_a_csv_are_named_by_their_lines(tmp_path: Path) -> None:
    good = base64.b64encode(png(pictures()[0][0])).decode()
    (tmp_path / "train.csv").write_text(f"picture,kind\n{good},a\n\n{good},b\nhello!,a\n")
    with pytest.raises(InvalidData, match=r"^train.csv, line 5, column 'picture': the text is no base64") as refusal:
        trained(config("train.csv"), tmp_path)
    assert refusal.value.details == {"file": "train.csv", "column": "picture", "row": 5}

    pixels = "".join(f"{number},{number},{number},{number},{'ab'[number % 2]}\n" for number in range(6))
    (tmp_path / "pixels.csv").write_text(f"p,q,r,s,kind\n{pixels}1,2,3,4,c\n")
    with pytest.raises(InvalidData, match=r"^pixels.csv, line 8: no other image is of its class 'c'"):
        trained(config("pixels.csv"), tmp_path)


def test_true_and_false_are_pixels_too(tmp_path: Path) -> None:
    images, labels = pictures()
    cells = {f"p{number}": images.reshape(-1, 64)[:, number] > 100 for number in range(64)}
    parquet.write_table(pa.table({**cells, "kind": labels}), tmp_path / "train.parquet")
    model = trained(config(training={"epochs": 8}), tmp_path)
    assert {feature.kind for feature in model.features} == {"boolean"}
    _, predictor = kept(model, tmp_path, config())
    row = {name: bool(values[0]) for name, values in cells.items()}
    assert predictor.predict([row]).values == [labels[0]]
    with pytest.raises(InvalidData, match="row 1: column 'p3' is 7"):
        predictor.predict([{**row, "p3": 7}])


def test_a_table_of_numbers_and_text_says_which_column_is_no_pixel(tmp_path: Path) -> None:
    cells = {"a": [1.0, 2.0, None, 4.0], "b": list("wxyz"), "kind": list("lsls")}
    parquet.write_table(pa.table(cells), tmp_path / "train.parquet")

    with pytest.raises(InvalidData, match=r"train.parquet, column 'b': it holds text; images are numbers"):
        trained(config(), tmp_path)
    with pytest.raises(InvalidData, match=r"train.parquet, row 3, column 'a': the number is missing"):
        trained(config(features=["a"]), tmp_path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, r"row 2: column 'pixel_0_0' is missing"),
        ({"pixel_0_0": "x"}, r"row 2: column 'pixel_0_0' is \"x\", which is no finite number"),
        ({"image": [1] * 63}, r"row 2: column 'image' cannot be used: an image has 63 numbers, which make no square"),
        ({"image": [[1] * 9] * 9}, r"row 2: .*: it is 9 x 9 x 1, but the model was trained on images of 8 x 8 x 1"),
        (
            {"image": [[1] * 9, [1]]},
            r"row 2: column 'image' cannot be used: it is no image: lists of numbers",
        ),
        ({"image": [[None] * 8] * 8}, r"row 2: column 'image' cannot be used: the image has a number that is missing"),
        ({"image": "nonsense"}, r"row 2: column 'image' cannot be used: it is neither a PNG nor a JPEG image"),
        ({"image": 7}, r"row 2: column 'image' cannot be used: it is no image"),
        ({"image": None}, r"row 2: column 'image' is missing"),
    ],
)
def test_a_row_that_has_no_image_is_named(row: Any, problem: str, predictor: Any) -> None:
    good = {f"pixel_{each // 8}_{each % 8}": 1 for each in range(64)}

    with pytest.raises(InvalidData, match=problem) as error:
        predictor.predict([good, row])

    assert error.value.details["row"] == 2


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = {"model": BRIEF, "training": {"epochs": 1}}
    return kept(trained(settings), tmp_path_factory.mktemp("model"), settings)[1]


def test_no_rows_give_no_predictions(predictor: Any) -> None:
    assert predictor.predict([]).values == []
