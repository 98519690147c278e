"""The peer: the training loop of common practice, as in a good practitioner's script.

torchvision's transforms work on PIL pictures, one at a time, in the processes of a DataLoader. PyTorch runs the net in
fp32, NCHW, with torch.optim.SGD. Loss and accuracy are read at every step, for the meters of a progress line. On a GPU
it has pinned memory, copies that do not wait, and cuDNN's search for the fastest algorithms.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from degrade import nets
from degrade.bench.cases import CLASSES, Case
from degrade.data.images import Images
from degrade.spec import NetSpec
from degrade.train.schedule import Warmup, lr_at

# as in a script; a process started like ours would start its workers likewise
_FORK = "fork" if sys.platform == "linux" else None


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures as in torchvision.datasets.CIFAR10: bytes (N, H, W, C); a PIL picture and its transform on demand.

    The bytes are noise, so they are reshaped to channels last, not moved.
    """

    def __init__(self, images: Images, transform: Any) -> None:
        n, channels, height, width = images.pixels.shape
        grey = channels == 1  # PIL has grey pictures without channels
        self.data = images.pixels.reshape((n, height, width) if grey else (n, height, width, channels))
        self.targets: list[int] = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def transform(case: Case) -> transforms.Compose:
    flip = [transforms.RandomHorizontalFlip()] if case.recipe.augment == "crop_flip" else []
    scale = transforms.Normalize([0.5] * case.channels, [0.25] * case.channels)
    return transforms.Compose(
        [transforms.RandomCrop(case.size, padding=case.size // 8), *flip, transforms.ToTensor(), scale]
    )


class Peer:
    """Trains a case epoch after epoch. The last batch of each may be smaller, as in a DataLoader."""

    def __init__(self, case: Case, device: torch.device, *, workers: int, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        self.device, self.workers = device, workers
        net = nets.build(NetSpec(depth=case.depth), channels=case.channels, classes=CLASSES)
        self.net, self.criterion = net.to(device).train(), nn.CrossEntropyLoss()
        recipe = case.recipe
        lr = lr_at(recipe, 0, Warmup(None) if recipe.warms_up(NetSpec(depth=case.depth)) else Warmup())
        self.optimizer = torch.optim.SGD(net.parameters(), lr, recipe.momentum, weight_decay=recipe.weight_decay)
        self.loader = DataLoader(
            Pictures(case.splits().train, transform(case)),
            recipe.batch,
            shuffle=True,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            multiprocessing_context=_FORK if workers else None,
        )
        self.batches = self._endless()
        self.loss, self.accuracy = 0.0, 0.0  # of the last step

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> int:
        """One SGD step; returns its images."""
        x, y = (part.to(self.device, non_blocking=True) for part in next(self.batches))
        logits = self.net(x)
        loss = self.criterion(logits, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss = loss.item()
        self.accuracy = (logits.argmax(1) == y).float().mean().item()
        return len(y)

    def go(self, steps: int) -> int:
        """Does so many steps and returns the images."""
        return sum(self.step() for _ in range(steps))
