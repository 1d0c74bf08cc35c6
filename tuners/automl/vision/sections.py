"""The keys of the template's configuration, with their ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.automl import Config, DataSection, ModelSection, TrainingSection

Length = Annotated[int, Field(ge=1, le=10_000)]


class VisionModel(ModelSection):
    """The network."""

    channels: int = Field(default=16, ge=1, le=1024)
    """Channels of the first convolution; they double wherever the image is halved."""
    blocks: int = Field(default=2, ge=1, le=16)
    """Residual blocks, of two convolutions each; all but the first halve the image while it has 8 rows and columns."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what the blocks find that is left out at random while training."""


class VisionTraining(TrainingSection):
    """How it is trained, by AdamW."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    """Passes over the images, at most."""
    patience: int = Field(default=5, ge=1, le=100_000)
    """Epochs in which the validation loss does not improve until training ends early."""
    learning_rate: float = Field(default=0.01, gt=0, le=10)
    """The highest step size."""
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """How the step size goes over all epochs: up and down again, down, or not at all."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """By how much each step shrinks the weights, in units of the step size."""
    batch_size: int = Field(default=64, ge=2, le=100_000)
    """Images of a step."""
    augment: tuple[Literal["shift", "flip"], ...] = Field(default=(), max_length=2)
    """How the training images are changed at random: shifted by up to a tenth, mirrored left to right."""


class VisionData(DataSection):
    """The images, each with its class."""

    train_path: str | None = Field(default="sample:digits", min_length=1, max_length=2000)
    """A folder with a folder of PNG images per class; or CSV or Parquet, with the images in one column (lists
    of numbers, flat or nested; PNGs) or one column per pixel."""
    image_shape: tuple[Length, ...] | None = Field(default=None, min_length=2, max_length=3)
    """Rows, columns and perhaps channels of images whose numbers come flat; null: they are square."""
    image_size: int | None = Field(default=None, ge=1, le=4096)
    """Rows and columns that every image is resized to; null: none is, and all have to have the same size."""


class VisionConfig(Config):
    """The configuration of the template `vision`."""

    model: VisionModel = VisionModel()  # pyright: ignore[reportIncompatibleVariableOverride]
    """The network."""
    training: VisionTraining = VisionTraining()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How it is trained."""
    data: VisionData = VisionData()  # pyright: ignore[reportIncompatibleVariableOverride]
    """The images, each with its class."""
