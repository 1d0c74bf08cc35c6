"""The fitting of the network: epochs over the training part, each with its metrics, to go on from any of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuners.automl.tabular.metrics import scores
from tuners.automl.vision.network import Network
from tuners.automl.vision.sections import VisionTraining
from tunesmith.automl import Run
from tunesmith.errors import InvalidConfig

SHIFT = 0.1
"""Share of an image's rows and columns by which it is shifted, at most."""


@dataclass(frozen=True)
class Part:
    """Some of the images, and what they show."""

    images: Tensor
    """All of them: n x channels x rows x columns, as they are stored."""
    labels: Tensor
    """Their class numbers: n."""
    rows: Tensor
    """Which of them are in this part."""


class Fitting:
    """A network that is being fitted. Draws from torch's global generators alone, whose states go with its own."""

    def __init__(
        self, network: Network, settings: VisionTraining, train: Part, validation: Part | None, device: torch.device
    ) -> None:
        self.network = network.to(device)
        self.settings, self.train, self.validation, self.device = settings, train, validation, device
        count = len(train.rows)
        self.batches = max(1, min(math.ceil(count / settings.batch_size), count // 2))  # to normalise takes two images
        parameters, rate = network.parameters(), settings.learning_rate
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay)
        self.schedule = _schedule(self.optimizer, settings, settings.epochs * self.batches)
        self.epoch = 0
        self.best: dict[str, Any] = {}

    def run(self, run: Run) -> dict[str, float]:
        """Fit it, from where an earlier attempt was; the metrics of the epoch that the network is left at.

        Raises InvalidConfig where the loss is no number any more.
        """
        if run.state is not None:
            self.restore(run.state)
        while not self._over():
            metrics = self._next()
            ended = run.report(self.epoch, metrics)
            run.save(self.state)
            if ended:
                break
        self.network.load_state_dict(self.best["network"])
        return {**self.best["metrics"], "epochs": self.epoch, "best_epoch": self.best["epoch"]}

    def state(self) -> bytes:
        """All that the epochs to come depend on."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        packed = io.BytesIO()
        torch.save(
            {
                "epoch": self.epoch,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "random": torch.get_rng_state(),
                "cuda": cuda,
                "best": self.best,
            },
            packed,
        )
        return packed.getvalue()

    def restore(self, state: bytes) -> None:
        """Go back to a state."""
        found = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        self.epoch, self.best = found["epoch"], found["best"]
        self.network.load_state_dict(found["network"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.schedule.load_state_dict(found["schedule"])
        torch.set_rng_state(found["random"])
        if found["cuda"] is not None:
            torch.cuda.set_rng_state(found["cuda"], self.device)

    def _over(self) -> bool:
        settings = self.settings
        stops = settings.early_stopping and self.validation is not None
        weak = stops and self.epoch - self.best.get("epoch", self.epoch) >= settings.patience
        return self.epoch >= settings.epochs or weak

    def _next(self) -> dict[str, float]:
        """One epoch, and its metrics."""
        self.epoch += 1
        metrics = {"train_loss": self._pass()}
        if self.validation is not None:
            metrics |= self.metrics(self.validation)
        if not (math.isfinite(metrics["train_loss"]) and math.isfinite(metrics.get("val_loss", 0))):
            raise InvalidConfig(
                f"The loss was no finite number any more in epoch {self.epoch}: "
                f"training.learning_rate {self.settings.learning_rate:g} is too high for these images",
                field="training.learning_rate",
            )
        keeps_best = self.settings.early_stopping and self.validation is not None and self.best
        if not keeps_best or metrics["val_loss"] < self.best["metrics"]["val_loss"]:
            weights = {name: values.detach().cpu().clone() for name, values in self.network.state_dict().items()}
            self.best = {"epoch": self.epoch, "metrics": metrics, "network": weights}
        return metrics

    def _pass(self) -> float:
        """Fit it to every image of the training part once; the mean loss meanwhile."""
        self.network.train()
        count, total = len(self.train.rows), torch.zeros((), device=self.device)
        for rows in self.train.rows[torch.randperm(count)].tensor_split(self.batches):
            images = self.train.images[rows].to(self.device)
            labels = self.train.labels[rows].to(self.device)
            loss = nn.functional.cross_entropy(self.network(augmented(images, self.settings.augment)), labels)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach() * len(rows)
        return float(total) / count

    def metrics(self, part: Part) -> dict[str, float]:
        """`val_loss`, and what a classification has, of a part."""
        labels, size = part.labels[part.rows], max(self.settings.batch_size, 256)
        pieces = part.rows.tensor_split(math.ceil(len(part.rows) / size))
        self.network.eval()
        with torch.inference_mode():
            logits = torch.cat([self.network(part.images[rows].to(self.device)).cpu() for rows in pieces])
            loss = float(nn.functional.cross_entropy(logits, labels))
        if not math.isfinite(loss):
            return {"val_loss": loss}
        return {"val_loss": loss, **scores("classification", labels.numpy(), logits.softmax(1).numpy())}


def augmented(images: Tensor, how: Sequence[str]) -> Tensor:
    """The images, each shifted and mirrored at random."""
    if not how:
        return images
    count, _, rows, columns = images.shape
    change = torch.eye(2, 3).repeat(count, 1, 1)
    if "flip" in how:
        change[:, 0, 0] = 1 - 2 * torch.randint(0, 2, (count,)).float()
    if "shift" in how:
        for axis, length in enumerate((columns, rows)):
            most = max(1, int(length * SHIFT))
            change[:, axis, 2] = torch.randint(-most, most + 1, (count,)) * 2 / length  # the grid goes from -1 to 1
    grid = nn.functional.affine_grid(change, list(images.shape), align_corners=False).to(images.device)
    return nn.functional.grid_sample(images.float(), grid, "nearest", "border", align_corners=False)


def _schedule(
    optimizer: torch.optim.Optimizer, settings: VisionTraining, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """How the learning rate goes over the steps of all epochs."""
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
