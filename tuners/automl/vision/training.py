"""A training of the network: its data, its device, the fitting, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from tuners.automl.data.splitting import held_out_rows
from tuners.automl.vision import graph
from tuners.automl.vision.fitting import Fitting, Part
from tuners.automl.vision.network import Network
from tuners.automl.vision.reading import Images, Labelled, read
from tuners.automl.vision.sections import VisionConfig
from tunesmith.automl import Run, Source, Trained
from tunesmith.errors import InvalidConfig

CHUNK = 1024
"""Images whose mean is taken at once."""


def train(config: VisionConfig, data: Source, run: Run) -> Trained:
    """See Template.train."""
    device = _device(config.resources.num_gpus)
    found = read(data, config)
    train, validation = _parts(found, config.training.validation_split, run.seed)
    with _reproducible(run, device):
        network = _network(config, found, train)
        fitting = Fitting(network, config.training, train, validation, device)
        run.say(f"{len(train.rows)} images, {len(found.classes)} classes, on the {device.type.upper()}")
        metrics = fitting.run(run)
    network.cpu().eval()
    shape, resized = found.train.shape, config.data.image_size is not None
    stored = found.stored_shape or (None if resized else shape)
    return Trained(
        metrics=metrics,
        write=partial(graph.write, network, shape),
        suffix="onnx",
        features=found.features,
        target=found.target,
        rows=len(train.rows),
        classes=found.classes,
        details={
            "image_shape": list(shape),
            "stored_shape": None if stored is None else list(stored),
            "resized": resized,
            "weights": sum(weights.numel() for weights in network.parameters()),
        },
        libraries=("torch", "onnx", "onnxruntime", "numpy", "pillow"),
    )


def _network(config: VisionConfig, found: Images, train: Part) -> Network:
    """A fresh one."""
    rows, columns, channels = found.train.shape
    model = config.model
    network = Network((channels, rows, columns), len(found.classes), model.channels, model.blocks, model.dropout)
    network.normalise_as(*_moments(found.train.images, train.rows.numpy()))
    return network


def _parts(found: Images, share: float, seed: int) -> tuple[Part, Part | None]:
    """The training part and the validation part: a share of the rows, every class alike, unless there are own ones."""
    if found.validation is not None:
        return _part(found.train), _part(found.validation)
    if share == 0:
        return _part(found.train), None
    labels = found.train.labels
    held_out = held_out_rows(labels, share, seed, stratify=True)
    if len(np.unique(labels[~held_out])) < 2:
        raise found.origin.invalid(
            f"{len(labels)} images are too few to hold out {held_out.sum()} of them: the others are all of one class; "
            "give more, or lower training.validation_split"
        )
    return _part(found.train, np.flatnonzero(~held_out)), _part(found.train, np.flatnonzero(held_out))


def _part(found: Labelled, rows: npt.NDArray[np.intp] | None = None) -> Part:
    chosen = torch.arange(len(found.labels)) if rows is None else torch.from_numpy(rows)
    return Part(torch.from_numpy(found.images), torch.from_numpy(found.labels), chosen)


def _moments(images: npt.NDArray[np.generic], rows: npt.NDArray[np.intp]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel; a deviation of 0 counts as 1."""
    starts = range(0, len(rows), CHUNK)
    chunks = (images[rows[start : start + CHUNK]].astype(np.float64) for start in (*starts, *starts))
    count = len(rows) * images.shape[2] * images.shape[3]
    mean = sum(chunk.sum((0, 2, 3)) for chunk in islice(chunks, len(starts))) / count
    variance = sum(((chunk - mean[:, None, None]) ** 2).sum((0, 2, 3)) for chunk in chunks) / count
    deviation = np.sqrt(variance)
    return mean.tolist(), np.where(deviation > 0, deviation, 1).tolist()


def _device(gpus: float) -> torch.device:
    """Where the network is trained. Raises InvalidConfig."""
    if gpus == 0:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    raise InvalidConfig(
        f"resources.num_gpus is {gpus:g}, but torch {torch.__version__} finds no CUDA GPU on its node; "
        "set it to 0, or install a torch that is built for that GPU",
        field="resources.num_gpus",
    )


@contextmanager
def _reproducible(run: Run, device: torch.device) -> Iterator[None]:
    """So many threads, the seed, and nothing that comes out otherwise the next time; afterwards all is as it was."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's products differ from run to run
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_num_threads(run.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.manual_seed(run.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(threads)
