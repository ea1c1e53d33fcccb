"""The data sets of the course: Fashion-MNIST and scikit-learn's small digits.

Fashion-MNIST comes with the course: `data/` holds the four files that its publisher made, which
are read with `gzip` and `numpy.frombuffer` once their sums are found to be the publisher's.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path

import numpy as np

from course.config import check_choice, check_count

FOLDER = Path(__file__).resolve().parent.parent / "data"
FILES = {  # the publisher's MD5 sums; results are kept under them, in this order
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
}
# Training, validation and test images by default; there are no more than these.
SIZES = {"fashion_mnist": (54_000, 6_000, 10_000), "digits": (1_197, 300, 300)}
GARMENTS = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
CLASS_NAMES = {"fashion_mnist": tuple(GARMENTS.split(", ")), "digits": tuple("0123456789")}
LARGEST = {"fashion_mnist": 255, "digits": 16}  # values of a pixel; images are divided by them
SOURCES = {
    "fashion_mnist": "Fashion-MNIST (Zalando SE, MIT licence), as published",
    "digits": "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, CC BY 4.0), as"
    " in scikit-learn",
}
REMEDY = (
    "Run `git restore data` in the folder of the course; without git, get the course again and"
    " install it from its folder with `pip install -e .`: a package alone has no data."
)


class DataError(RuntimeError):
    """A file of Fashion-MNIST is not what it should be; `args[0]` says in what."""

    def __str__(self):
        return f"Fashion-MNIST cannot be loaded: {self.args[0]}. {REMEDY}"


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Images and labels in three parts; checked when made, then read-only.

    `x_*` has shape (N, H, W, C), float32 in [0, 1]; `y_*` shape (N,), int32 or
    int64 from 0. `provenance` is a sentence: source, licence, sizes, seed.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    provenance: str

    def __post_init__(self):
        for part in ("train", "validation", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            _check(x, y, self.classes, part)
            if x.shape[1:] != self.input_shape:
                shapes = f"{x.shape[1:]}, the train images {self.input_shape}"
                raise ValueError(f"The {part} images have shape {shapes}.")
            for field, array in ((f"x_{part}", x), (f"y_{part}", y)):
                view = array.view()  # the caller's own array stays writeable
                view.flags.writeable = False
                object.__setattr__(self, field, view)

    @property
    def input_shape(self):
        """(H, W, C) of one image: pixels, pixels, channels."""
        return self.x_train.shape[1:]

    @property
    def classes(self):
        """The number of classes."""
        return len(self.class_names)

    def __repr__(self):
        parts = {"training": self.x_train, "validation": self.x_validation, "test": self.x_test}
        counts = ", ".join(f"{len(x):,} {part}" for part, x in parts.items())
        shape = "x".join(map(str, self.input_shape))
        return f"Data({self.name}: {counts} images of {shape}, {self.classes} classes)"


def load(name="fashion_mnist", *, train_size=None, validation_size=None, test_size=None, seed=0):
    """Load a data set in three stratified parts that share no image.

    Parameters
    ----------
    name : "fashion_mnist" or "digits"
        Digits are 8 by 8 pixels, and few: a second data set to repeat an experiment on.
    train_size, validation_size, test_size : int, optional
        Numbers of images, at least one for each class. Without `train_size`,
        all that are not held out: see `SIZES`.
    seed : int, >= 0
        Chooses the images. The validation and test images do not depend on
        `train_size`, and a smaller training set is the beginning of a larger
        one, so that experiments on the amount of data are paired by seed.

    Returns
    -------
    Data
        Test images of Fashion-MNIST are from its publisher's test set.

    A wrong name, size or seed is a ValueError; a missing or damaged file a `DataError`.
    """
    check_choice("The data set", name, SIZES)
    check_count("The seed", seed, least=0)
    train_size, validation_size, test_size = _sizes(name, train_size, validation_size, test_size)

    rng = np.random.default_rng(seed)
    x, y, x_test, y_test = _read_fashion_mnist() if name == "fashion_mnist" else _read_digits(rng)
    # Validation from the front of one order, training from its back: each
    # stays where it is when the size of the other changes.
    order = _stratified_order(y, rng)
    train, validation = order[::-1][:train_size], np.sort(order[:validation_size])
    test = np.sort(_stratified_order(y_test, rng)[:test_size])

    def chosen(images, labels, indices):
        scaled = images[indices, ..., None].astype("float32") / np.float32(LARGEST[name])
        return scaled, labels[indices].astype("int64")

    parts = (*chosen(x, y, train), *chosen(x, y, validation), *chosen(x_test, y_test, test))
    provenance = (
        f"{SOURCES[name]}; {train_size:,} training, {validation_size:,} validation and"
        f" {test_size:,} test images, stratified with seed {seed}."
    )
    return Data(name, *parts, CLASS_NAMES[name], provenance)


def read_file(name):
    """One of `FILES`, as bytes; DataError if it is not there, or not what was published."""
    try:
        content = (FOLDER / name).read_bytes()
    except FileNotFoundError:
        raise DataError(f"data/{name} is missing") from None
    except OSError as error:  # a folder in its place, or no permission to read it
        raise DataError(f"data/{name} cannot be read ({error.strerror})") from None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() == FILES[name]:
        return content
    problem = "is damaged: its sum is not the publisher's"
    for start, what in ((b"version https://git-lfs", "a pointer of Git LFS"), (b"<", "a web page")):
        if content.lstrip().startswith(start):
            problem = f"is {what}, not the file"
    raise DataError(f"data/{name} {problem}")


@cache  # so that a process checks the sums once
def _read_fashion_mnist():
    """x, y, x_test, y_test as published; images (N, 28, 28) from 0 to 255."""

    def values(name, header):
        return np.frombuffer(gzip.decompress(read_file(name)), np.uint8, offset=header)

    x, x_test = (
        values(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in ("train", "t10k")
    )
    y, y_test = (values(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k"))
    return x, y, x_test, y_test


def _read_digits(rng):
    """x, y, x_test, y_test, of which `rng` chooses the test images; images (N, 8, 8) to 16."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8)
    order, most_test = _stratified_order(y, rng), SIZES["digits"][2]
    test, rest = np.sort(order[:most_test]), np.sort(order[most_test:])
    return x[rest], y[rest], x[test], y[test]


def _sizes(name, train, validation, test):
    """The three sizes with defaults filled in; ValueError if they are impossible."""
    usual_train, usual_validation, most_test = SIZES[name]
    both, least = usual_train + usual_validation, len(CLASS_NAMES[name])

    def check(what, size, usual, most):
        size = usual if size is None else size
        if not isinstance(size, Integral) or not least <= size <= most:
            span = f"from {least}, one image for each class, to {most:,} for {name}"
            raise ValueError(f"{what} must be an integer {span}; not {size!r}.")
        return int(size)

    test = check("test_size", test, most_test, most_test)
    validation = check("validation_size", validation, usual_validation, both - least)
    left = both - validation
    return check("train_size", train, left, left), validation, test


def _stratified_order(labels, rng):
    """Random order of indices, with every beginning and every end stratified.

    The j-th of the n images of a class has its place at (j + 1/2) / n.
    """
    shuffled = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(place, kind="stable")]


def _check(x, y, classes, part):
    """Refuse images and labels that no model could learn from; the ValueError says what to do."""
    images, labels = f"The {part} images must", f"The {part} labels must"
    if not isinstance(x, np.ndarray) or x.ndim != 4 or 0 in x.shape:
        hint = " Add the channel: x[..., None]." if getattr(x, "ndim", 0) == 3 else ""
        raise ValueError(f"{images} be a NumPy array of shape (N, H, W, C), not {_kind(x)}.{hint}")
    if x.dtype != np.float32:
        divide = " / 255" if x.dtype == np.uint8 else ""
        raise ValueError(
            f"{images} be float32 in [0, 1], not {x.dtype}: use x.astype('float32'){divide}."
        )
    low, high = x.min(), x.max()  # both are NaN if one value is
    if not np.isfinite([low, high]).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))
        raise ValueError(
            f"{images} be finite: {len(bad):,} hold NaN or infinity, the first is number {bad[0]}."
        )
    if low < 0 or high > 1:
        hint = " Divide by 255." if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(f"{images} lie in [0, 1], not in [{low:g}, {high:g}].{hint}")
    if not isinstance(y, np.ndarray) or y.shape != (len(x),):
        raise ValueError(
            f"{labels} be a NumPy array of shape ({len(x)},), one for each image, not {_kind(y)}."
        )
    if y.dtype not in (np.int32, np.int64):
        raise ValueError(f"{labels} be int32 or int64, not {y.dtype}: use y.astype('int64').")
    if y.min() < 0 or y.max() >= classes:
        span = f"from 0 to {classes - 1}; these go from {y.min()} to {y.max()}"
        raise ValueError(f"{labels} be {span}.")


def _kind(value):
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
