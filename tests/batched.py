"""Batches of noise."""

import numpy as np
import torch

from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images

CPU = torch.device("cpu")


def pictures(n=50, channels=3, size=16, seed=0):
    draws = np.random.default_rng(seed)
    pixels = draws.integers(0, 256, (n, channels, size, size), dtype=np.uint8)
    return Images(pixels, np.arange(n, dtype=np.int64), tuple(map(str, range(n))))


def batches(batch=16, augment="crop_flip", seed=0, **shape):
    images = pictures(**shape)
    return Batches(Resident(images, scale_of(images, "pixel"), CPU), batch=batch, seed=seed, augment=augment)
