"""1,797 handwritten digits of 8x8 pixels in ten classes, shipped with the package.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
doi:10.24432/C50P49, CC BY 4.0: the test set of the original, in the form that scikit-learn bundles as `load_digits`.
The split into 1,437 training and 360 test images is stratified, fixed, and part of the file.
"""

from functools import cache
from importlib.resources import as_file, files

import numpy as np

from degrade.data.images import Images, Pair


@cache
def load() -> Pair:
    """(train, test), each (N, 1, 8, 8). Scales the original's ink of 0-16 to 0-255."""
    with as_file(files("degrade.data") / "digits.npz") as path, np.load(path, allow_pickle=False) as file:
        ink, labels, test = file["ink"], file["labels"].astype(np.int64), file["test"]
    pixels = (ink.astype(np.uint16) * 255 // 16).astype(np.uint8)[:, None]
    classes = tuple("0123456789")
    return Images(pixels[~test], labels[~test], classes), Images(pixels[test], labels[test], classes)
