"""The template `vision`: what its trainings come to, go on from, and leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from vision_runs import FEW, Killed, Recorder, kept, trained, write_digits

from tuners.automl.data import held_out_rows
from tuners.automl.vision.fitting import augmented
from tuners.automl.vision.graph import write
from tuners.automl.vision.network import Network
from tuners.automl.vision.predicting import VisionPredictor
from tuners.automl.vision.template import Vision
from tunesmith.automl import Facts, Feature
from tunesmith.automl.template import template
from tunesmith.domain.value import utcnow
from tunesmith.errors import InvalidConfig, MissingExtra

IMAGES, LABELS = load_digits(return_X_y=True)


def test_the_configuration_as_it_stands_tells_digits_apart(tmp_path: Path) -> None:
    run = Recorder()
    config = {"training": {"epochs": 8}}

    model = trained(config, run=run)

    assert model.metrics["accuracy"] > 0.97
    assert [each["step"] for each in run.history] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {"train_loss", "val_loss", "accuracy", "f1"} < run.history[0].keys()
    held_out = held_out_rows(LABELS, 0.2, 0, stratify=True)
    facts, predictor = kept(model, tmp_path, config)
    said = predictor.predict([dict(zip(names(facts), row, strict=True)) for row in IMAGES[held_out].tolist()])
    assert np.mean(np.array(said.values) == LABELS[held_out]) == pytest.approx(model.metrics["accuracy"])
    assert f1_score(LABELS[held_out], said.values, average="macro") == pytest.approx(model.metrics["f1"])


def names(facts: Facts) -> list[str]:
    return [feature.name for feature in facts.features]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("training")
    write_digits(found, 240)
    return found


def few(**training: Any) -> dict[str, Any]:
    return {**FEW, "training": {**FEW["training"], **training}}


def test_the_same_seed_gives_the_same_metrics_and_another_one_others(root: Path) -> None:
    first, second, other = (trained(few(seed=seed, augment=["shift"]), root).metrics for seed in (5, 5, 6))

    assert first == second
    assert first != other


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_a_training_that_was_killed_goes_on_to_what_it_would_have_come_to(
    schedule: str, root: Path, tmp_path: Path
) -> None:
    config = few(epochs=4, patience=2, schedule=schedule, augment=["shift", "flip"])
    undisturbed, killed = Recorder(), Recorder(killed_after=2)

    model = trained(config, root, undisturbed)
    with pytest.raises(Killed):
        trained(config, root, killed)
    resumed = Recorder(state=killed.state)
    again = trained(config, root, resumed)

    assert again.metrics == model.metrics
    assert killed.history + resumed.history == undisturbed.history
    assert kept(model, new(tmp_path / "a"), config)[0].sha256 == kept(again, new(tmp_path / "b"), config)[0].sha256


def new(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_what_was_saved_at_the_very_end_gives_the_model_without_another_epoch(root: Path) -> None:
    killed = Recorder(killed_after=3)
    with pytest.raises(Killed):
        trained(FEW, root, killed)
    resumed = Recorder(state=killed.state)

    assert trained(FEW, root, resumed).metrics == trained(FEW, root).metrics
    assert resumed.history == []


def test_it_stops_early_and_keeps_its_best_epoch(root: Path) -> None:
    run = Recorder()

    metrics = trained(few(epochs=60, patience=2, schedule="constant", learning_rate=0.05), root, run).metrics

    assert len(run.history) == metrics["epochs"] < 60
    best = min(run.history, key=lambda each: each["val_loss"])
    assert metrics["best_epoch"] == best["step"] == metrics["epochs"] - 2
    assert {"step": best["step"], **metrics} == {**best, "epochs": metrics["epochs"], "best_epoch": best["step"]}


def test_without_early_stopping_it_keeps_the_last_epoch(root: Path) -> None:
    config = few(epochs=20, schedule="constant", learning_rate=0.05, patience=1, early_stopping=False)
    whole = Recorder()
    trained(config, root, whole)
    losses = [each["val_loss"] for each in whole.history]
    worse = next(step for step in range(2, 21) if losses[step - 1] > min(losses[: step - 1]))

    metrics = trained(config, root, Recorder(ends_after=worse)).metrics

    assert len(losses) == 20
    assert metrics["best_epoch"] == metrics["epochs"] == worse
    assert metrics["val_loss"] == losses[worse - 1]


def test_when_its_time_is_over_it_ends_with_what_it_has(root: Path) -> None:
    metrics = trained(FEW, root, Recorder(ends_after=2)).metrics

    assert metrics["epochs"] == 2
    assert 0 < metrics["accuracy"] <= 1


def test_without_a_validation_part_it_reports_the_training_loss_alone(root: Path) -> None:
    run = Recorder()

    model = trained(few(validation_split=0), root, run)

    assert all(each.keys() == {"step", "train_loss"} for each in run.history)
    assert model.rows == 240


def test_it_uses_as_many_threads_as_it_may_and_leaves_torch_as_it_was(root: Path) -> None:
    before = torch.get_num_threads(), torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    run = Recorder(threads=1 if before[0] > 1 else 2)

    trained(FEW, root, run)

    assert run.used_threads == {run.threads}
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.are_deterministic_algorithms_enabled() == before[2]


def test_a_loss_that_is_no_number_says_which_key_is_wrong(root: Path) -> None:
    config = few(learning_rate=10, schedule="constant", weight_decay=10, batch_size=2)

    with pytest.raises(InvalidConfig, match=r"no finite number any more in epoch 1: training.learning_rate 10 is"):
        trained(config, root)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(InvalidConfig, match=r"resources.num_gpus is 1, but torch .* finds no CUDA GPU"):
        trained({"resources": {"num_gpus": 1}})


def test_the_network_is_normalised_by_the_training_part_alone(root: Path, tmp_path: Path) -> None:
    trained(FEW, root).write(tmp_path / "model.onnx")

    first = onnx.load(tmp_path / "model.onnx").graph.initializer[:2]
    mean, deviation = (numpy_helper.to_array(each).item() for each in first)
    part = IMAGES[:240][~held_out_rows(LABELS[:240], 0.2, 0, stratify=True)]
    assert mean == pytest.approx(part.mean(), rel=1e-6)
    assert deviation == pytest.approx(part.std(), rel=1e-6)
    assert mean != pytest.approx(IMAGES[:240].mean(), rel=1e-5)


@pytest.mark.parametrize(("shape", "blocks"), [((9, 7, 3), 1), ((8, 8, 1), 2), ((33, 40, 3), 4), ((70, 100, 1), 3)])
def test_the_file_says_what_the_network_says(shape: tuple[int, int, int], blocks: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    rows, columns, channels = shape
    network = Network((channels, rows, columns), 3, 6, blocks, 0.2)
    network.normalise_as([100.0] * channels, [50.0] * channels)
    images = torch.randint(0, 256, (5, channels, rows, columns), dtype=torch.uint8)
    with torch.no_grad():
        network(images)  # so that the norms have seen something
        expected = network.eval()(images).softmax(1)

    write(network, shape, tmp_path / "model.onnx")

    predictor = VisionPredictor(tmp_path / "model.onnx", facts_of(shape))
    said = predictor.predict([{"image": image.permute(1, 2, 0).tolist()} for image in images])
    assert said.probabilities is not None
    assert [list(each) for each in said.probabilities] == [["a", "b", "true"]] * 5
    assert np.array([list(each.values()) for each in said.probabilities]) == pytest.approx(expected.numpy(), abs=1e-5)
    assert said.values == [("a", "b", True)[number] for number in expected.argmax(1)]


def facts_of(shape: tuple[int, int, int]) -> Facts:
    details: dict[str, Any] = {"image_shape": list(shape), "stored_shape": list(shape), "resized": False}
    return Facts(
        format="onnx",
        file="model.onnx",
        sha256="",
        bytes=0,
        template="vision",
        plugin="",
        config={},
        metrics={},
        versions={},
        features=(Feature(name="image", kind="image"),),
        target="class",
        classes=("a", "b", True),
        rows=1,
        seed=0,
        trained_at=utcnow(),
        details=details,
    )


def test_a_change_of_an_image_is_a_mirror_or_a_shift_by_whole_pixels() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 12, 20), dtype=torch.uint8)
    many = image.repeat(64, 1, 1, 1)

    mirrored, shifted = augmented(many, ("flip",)), augmented(many, ("shift",))

    plain, mirror = image.float(), image.flip(2).float()
    assert all(torch.equal(each, plain) != torch.equal(each, mirror) for each in mirrored)
    assert 16 < sum(torch.equal(each, mirror) for each in mirrored) < 48
    inner = {
        (down, right)
        for each in shifted
        for down in range(-1, 2)
        for right in range(-2, 3)
        if torch.equal(each[:, 2:-2, 3:-3], plain[:, 2 + down : 10 + down, 3 + right : 17 + right])
    }
    assert inner == {(down, right) for down in range(-1, 2) for right in range(-2, 3)}
    assert augmented(many, ()) is many


def test_it_is_described_without_what_it_trains_with() -> None:
    code = (
        "import sys; from tuners.automl.vision.template import Vision; Vision.space(Vision.read({}));"
        "print(Vision.defaults()['data']['train_path'], {'torch', 'onnx', 'onnxruntime', 'PIL'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "sample:digits set()\n"


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtra, match=r"needs onnxruntime.*pip install 'tunesmith\[vision\]'"):
        Vision.check_installed()


def test_a_search_compares_by_the_validation_part() -> None:
    config = template(Vision).read({"hyperparameter_search": {"enabled": True, "folds": 5}})

    assert Vision.objective(config) == ("accuracy", "maximize")
    names = [dimension.name for dimension in Vision.dimensions(config)]
    assert names == ["learning_rate", "channels", "blocks", "dropout", "weight_decay", "batch_size"]
