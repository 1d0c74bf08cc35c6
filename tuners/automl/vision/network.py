"""The network: a small residual one, which takes images as they are stored and normalises them itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SMALLEST = 4
"""Rows and columns below which no stage halves an image."""
LARGE = 64
"""Rows and columns above which the first convolution halves it already."""


class Residual(nn.Module):
    """Two convolutions and a way past them; `stride` 2 halves the image."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.past: nn.Conv2d | None = None
        if stride > 1:
            self.past = nn.Conv2d(before, after, 1, stride, bias=False)
            self.past_norm = nn.BatchNorm2d(after)

    def forward(self, images: Tensor) -> Tensor:
        """(n, before, h, w) -> (n, after, h / stride, w / stride)."""
        inner = torch.relu(self.first_norm(self.first(images)))
        past = images if self.past is None else self.past_norm(self.past(images))
        return torch.relu(self.second_norm(self.second(inner)) + past)


class Network(nn.Module):
    """A convolution, `blocks` residual blocks of which all but the first halve the image and double the channels while
    it is large enough, and a linear layer over the mean of what they find.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, shape: tuple[int, int, int], classes: int, channels: int, blocks: int, dropout: float = 0.0
    ) -> None:
        """`shape`: channels, rows, columns of an image; `channels`: those of the first block."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape[0], 1, 1))
        self.register_buffer("deviation", torch.ones(shape[0], 1, 1))
        side, stride = min(shape[1:]), 2 if min(shape[1:]) > LARGE else 1
        self.stem = nn.Conv2d(shape[0], channels, 3, stride, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList()
        width, side = channels, side // stride
        for number in range(blocks):
            halve = number > 0 and side >= 2 * SMALLEST
            before, width, side = width, width * 2 if halve else width, side // 2 if halve else side
            self.blocks.append(Residual(before, width, 2 if halve else 1))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def normalise_as(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Take the mean and the standard deviation of each channel of the training images."""
        self.mean.copy_(torch.tensor(mean).view_as(self.mean))
        self.deviation.copy_(torch.tensor(deviation).view_as(self.deviation))

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, rows, columns), any numbers -> logits (n, classes)."""
        found = (images.float() - self.mean) / self.deviation
        found = torch.relu(self.stem_norm(self.stem(found)))
        for block in self.blocks:
            found = block(found)
        return self.head(self.dropout(found.mean((2, 3))))  # type: ignore[no-any-return]
