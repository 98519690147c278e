import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batched import CPU, batches, pictures
from conftest import gpu

from degrade.data.batches import Batches, Resident, average, epoch_order, key, mix, scale_of
from degrade.data.images import Images


def test_the_hash_is_the_same_on_tensors_and_integers():
    words = [0, 1, 2**31, 2**32 - 1, 123456789]
    assert mix(torch.tensor(words)).tolist() == [mix(word) for word in words]
    assert key(7, 11, torch.tensor(words)).tolist() == [key(7, 11, word) for word in words]
    assert [mix(word) for word in words] == [0, 1753845952, 3427483940, 1734902346, 2834422664]


def test_the_hash_is_even_and_has_no_ties():
    words = mix(torch.arange(2**16))
    assert words.unique().numel() == 2**16
    assert (words.float() / 2**32).mean().item() == pytest.approx(0.5, abs=0.005)


def test_each_epoch_is_another_order_of_all_images():
    orders = [epoch_order(seed, epoch, 1000, CPU) for seed in (0, 1, 2**40) for epoch in (0, 1, 2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert len({tuple(order.tolist()) for order in orders}) == 9


@pytest.mark.parametrize(("n", "batch"), [(50, 16), (50, 50), (7, 16), (1, 3)])
def test_batches_are_full_and_run_across_epoch_borders(n, batch):
    made = batches(batch, n=n, size=8)
    row = torch.cat([made.index(i) for i in range(3 * n)])
    assert len(row) == 3 * n * batch
    for epoch in range(3):
        assert torch.equal(row[epoch * n : (epoch + 1) * n], epoch_order(0, epoch, n, CPU))


def test_a_batch_depends_on_nothing_but_its_number():
    forward, backward = batches(), batches()
    wanted = [forward.at(i) for i in range(8)]
    for i in reversed(range(8)):
        x, y = backward.at(i)
        assert torch.equal(x, wanted[i][0])
        assert torch.equal(y, wanted[i][1])


def test_seeds_give_other_batches():
    assert not torch.equal(batches(seed=0).index(0), batches(seed=1).index(0))


@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_every_augmented_picture_is_a_crop_of_the_padded_one_or_its_flip(augment):
    made = batches(batch=64, augment=augment, n=64)
    flips, offsets = 0, set()
    for i in range(4):
        clean, _ = made.images.clean(made.index(i))
        padded = F.pad(clean, (2, 2, 2, 2))  # an eighth of 16
        for picture, wide in zip(made.at(i)[0], padded, strict=True):
            crops = {(d, r): wide[:, d : d + 16, r : r + 16] for d in range(5) for r in range(5)}
            plain = [at for at, crop in crops.items() if torch.equal(crop, picture)]
            turned = [at for at, crop in crops.items() if torch.equal(crop.flip(2), picture)]
            assert plain or turned
            offsets.update(plain or turned)
            flips += not plain
    assert len(offsets) == 25
    assert (80 < flips < 176) if augment == "crop_flip" else flips == 0  # of 256


def measure_dependence(first, second, values):
    """(chi-squared, the greatest part by which a cell is off) of pairs of draws against independent ones."""
    seen = np.bincount((first * values + second).ravel().numpy(), minlength=values**2).reshape(values, values)
    wanted = np.outer(seen.sum(1), seen.sum(0)) / seen.sum()
    return ((seen - wanted) ** 2 / wanted).sum(), np.abs(seen / wanted - 1).max()


def test_the_crops_of_two_places_of_a_batch_depend_on_each_other_no_more_than_they_did():
    made = batches(batch=128, size=32, augment="crop_flip")
    crops = made.crops(torch.arange(64_000)[:, None])  # the paper's batches and steps: (64000, 128)
    for draws, values in ((crops.down, 9), (crops.right, 9), (crops.flip, 2)):
        pairs = [measure_dependence(draws[:, :-lag], draws[:, lag:], values) for lag in range(1, 9)]
        freedom = (values - 1) ** 2
        assert max(chi for chi, _ in pairs) < freedom + 580  # independent draws: freedom ± sqrt(2 freedom)
        assert max(off for _, off in pairs) < 0.035
        if draws is crops.down:
            assert [round(chi) for chi, _ in pairs] == [219, 118, 625, 75, 319, 111, 94, 76]


def test_no_augmentation_leaves_the_pictures():
    made = batches(augment="none")
    assert torch.equal(made.at(3)[0], made.images.clean(made.index(3))[0])


def test_the_mean_image_is_subtracted():
    images = pictures()
    x, _ = Resident(images, scale_of(images, "pixel"), CPU).clean(slice(None))
    wanted = torch.from_numpy(images.pixels).double() / 255
    assert torch.allclose(x.double(), wanted - wanted.mean(0), atol=1e-6)
    assert x.mean(0).abs().max() < 1e-6


@pytest.mark.parametrize("power", [1, 2])
def test_averages_are_exact_sums(power):
    pixels = np.full((5000, 1, 2, 2), 255, np.uint8)  # the greatest sums there can be
    pixels[:, 0, 0, 1] = np.arange(5000) % 251
    images = Images(pixels, np.zeros(5000, np.int64), ("a",))
    wanted = (pixels.astype(object) ** power).sum(0) / (5000 * 255**power)
    assert (average(images, power) == wanted.astype(float)).all()


def test_channels_get_mean_zero_and_deviation_one():
    images = pictures()
    x, _ = Resident(images, scale_of(images, "channel"), CPU).clean(slice(None))
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_given_statistics_are_taken_as_they_are():
    images = pictures()
    x, _ = Resident(images, scale_of(images, (0.5, 0.4, 0.3, 0.2, 0.25, 0.3)), CPU).clean(slice(None))
    wanted = torch.from_numpy(images.pixels).float() / 255
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
    assert torch.allclose(x, (wanted - mean) / deviation, atol=1e-6)


def test_a_channel_that_is_the_same_everywhere_is_not_divided_by_zero():
    flat = Images(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64), ("0",))
    assert Resident(flat, scale_of(flat, "channel"), CPU).clean(slice(None))[0].abs().sum() == 0


@gpu
def test_a_gpu_draws_the_same():
    images = pictures()
    there = Batches(
        Resident(images, scale_of(images, "pixel"), torch.device("cuda")), batch=16, seed=0, augment="crop_flip"
    )
    for i in range(5):
        assert torch.equal(there.at(i)[0].cpu(), batches().at(i)[0])


@gpu
def test_a_gpu_scales_every_byte_to_the_same_number():
    """Divided by a number, 126 of 256 come out otherwise: a GPU multiplies by 1/255 then."""
    every = Images(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1), np.zeros(256, np.int64), ("0",))
    scale = scale_of(every, (0.0, 1.0))
    here, there = (Resident(every, scale, torch.device(kind)).clean(slice(None))[0] for kind in ("cpu", "cuda"))
    assert torch.equal(here, there.cpu())


def test_bytes_are_divided_by_what_lies_on_the_device():
    every = Images(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1), np.zeros(256, np.int64), ("0",))
    resident = Resident(every, scale_of(every, (0.0, 1.0)), CPU)
    assert torch.equal(resident.clean(slice(None))[0].flatten(), torch.arange(256.0) / 255)
    assert resident.full_scale.device == resident.pixels.device
