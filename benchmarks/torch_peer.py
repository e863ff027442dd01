"""What PyTorch does on the same machine, as a program of its own: it needs torch and NumPy alone, and prints JSON.

``python benchmarks/torch_peer.py mnist.npz SEEDS``, with an interpreter that has torch.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MEAN, DEVIATION = 0.1307, 0.3081


class OneEpoch(nn.Module):
    """The network of "train MNIST to 99 % in under a second" (github.com/tuomaso/train_mnist_fast, its last notebook)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 24, 5), nn.Conv2d(24, 32, 3)
        self.fc1, self.fc2 = nn.Linear(800, 256), nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logarithms of probabilities."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return F.log_softmax(self.fc2(F.relu(self.fc1(torch.flatten(x, 1)))), dim=1)


def one_epoch(mnist: dict[str, np.ndarray], seed: int) -> tuple[float, float]:
    """Return seconds and test accuracy of one epoch in batches of 256 with Adam (0.7, 0.9) and OneCycleLR to 0.01."""
    torch.manual_seed(seed)
    x = {name: ((torch.tensor(mnist[f"x_{name}"])[:, None] / 255) - MEAN) / DEVIATION for name in ("train", "test")}
    y = {name: torch.tensor(mnist[f"y_{name}"]).long() for name in ("train", "test")}
    start = time.perf_counter()
    model = OneEpoch()
    steps = -(-len(x["train"]) // 256)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.7, 0.9))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps, cycle_momentum=False)
    order = torch.randperm(len(x["train"]))
    for step in range(steps):
        rows = order[256 * step : 256 * (step + 1)]
        optimizer.zero_grad()
        F.nll_loss(model(x["train"][rows]), y["train"][rows]).backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        right = (model(x["test"]).argmax(1) == y["test"]).float().mean()
    return seconds, float(right)


def small() -> nn.Module:
    """Return the network of `fast`, without its softmax."""

    def block(before: int, filters: int, side: int, **options: Any) -> list[nn.Module]:
        return [nn.Conv2d(before, filters, side, bias=False, **options), nn.BatchNorm2d(filters), nn.ReLU()]

    layers = [*block(1, 32, 6, stride=2), *block(32, 64, 3), *block(64, 64, 3), nn.MaxPool2d(2)]
    layers += [*block(64, 128, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def seconds_a_step(mnist: dict[str, np.ndarray], bfloat16: bool, steps: int = 60) -> float:
    """Return the median seconds of a step with AdamW, its 128 images augmented by `affine_grid` and `grid_sample`."""
    model, rng = small(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    images, labels = torch.tensor(mnist["x_train"]), torch.tensor(mnist["y_train"]).long()
    took = []
    for _ in range(steps):
        start = time.perf_counter()
        rows = torch.randint(len(images), (128,), generator=rng)
        angle, shear = (torch.rand((2, 128), generator=rng) - 0.5) * 0.52
        zoom = 1 + (torch.rand((2, 128), generator=rng) - 0.5) * 0.3
        shift = (torch.rand((2, 128), generator=rng) - 0.5) * 0.4
        first = torch.stack([torch.cos(angle) * zoom[0], -torch.sin(angle + shear) * zoom[1], shift[0]], 1)
        second = torch.stack([torch.sin(angle) * zoom[0], torch.cos(angle + shear) * zoom[1], shift[1]], 1)
        grid = F.affine_grid(torch.stack([first, second], 1), [128, 1, 28, 28], align_corners=False)
        batch = F.grid_sample(images[rows][:, None].float() / 255, grid, align_corners=False)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = model(batch.to(memory_format=torch.channels_last))
        F.cross_entropy(scores.float(), labels[rows], label_smoothing=0.05).backward()
        optimizer.step()
        took.append(time.perf_counter() - start)
    return float(np.median(took[10:]))


def main() -> None:
    """Print what was measured."""
    with np.load(sys.argv[1], allow_pickle=False) as arrays:
        mnist = dict(arrays)
    figures: dict[str, Any] = {"torch": torch.__version__}
    figures["step"] = {name: seconds_a_step(mnist, name == "bfloat16") for name in ("bfloat16", "float32")}
    figures["one_epoch"] = [one_epoch(mnist, seed) for seed in range(1, int(sys.argv[2]) + 1)]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
