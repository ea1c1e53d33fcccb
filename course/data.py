"""The data sets of the course: Fashion-MNIST and scikit-learn's small digits.

Fashion-MNIST is read by the real Keras loader from the folder where Keras
keeps it, `$KERAS_HOME/datasets/fashion-mnist`, or `~/.keras/...` when the
variable is not set. The four files are fetched by pooch and not by Keras,
whose download writes in place (a broken file stays for ever), checks no sum,
waits without limit, and passes over a folder that it cannot write to.
"""

import hashlib
import os
import socket
import sys
import time
import types
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
import pooch
import requests  # what pooch downloads with
from tqdm import tqdm

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FILES = {  # the publisher's MD5 sums
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
}
# Training, validation and test images by default; there are no more than these.
SIZES = {"fashion_mnist": (54_000, 6_000, 10_000), "digits": (1_197, 300, 300)}
GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CLASS_NAMES = {"fashion_mnist": GARMENTS, "digits": tuple("0123456789")}
SOURCES = {
    "fashion_mnist": (
        "Fashion-MNIST (Zalando SE, MIT licence) through keras.datasets, MD5 sums those of its"
        " publisher"
    ),
    "digits": (
        "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, CC BY 4.0), as in"
        " scikit-learn"
    ),
}
LARGEST = {"fashion_mnist": 255, "digits": 16}  # values of a pixel; images are divided by them
# Seconds to wait for a connection to each address of the server (just longer than
# TCP takes for its second attempt), and then whenever the server sends nothing.
PATIENCE = (3.05, 8.0)


class DataError(RuntimeError):
    """Fashion-MNIST cannot be had. `args[0]` says why, without a path."""

    def __str__(self):
        return (
            f"Fashion-MNIST cannot be loaded: {self.args[0]}. Connect to the internet and run this"
            f" again, copy its four files into {cache_folder()} (KERAS_HOME chooses another"
            ' folder), or use load("digits"), which needs no network.'
        )


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
            validate_images(x, y, classes=self.classes, part=part)
            if x.shape[1:] != self.input_shape:
                raise ValueError(
                    f"The {part} images have shape {x.shape[1:]}, the train images"
                    f" {self.input_shape}."
                )
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
        counts = (
            f"{len(self.x_train):,} training, {len(self.x_validation):,} validation,"
            f" {len(self.x_test):,} test"
        )
        return (
            f"Data({self.name}: {counts} images of {'x'.join(map(str, self.input_shape))},"
            f" {self.classes} classes)"
        )


def load(name="auto", *, train_size=None, validation_size=None, test_size=None, seed=0):
    """Load a data set in three stratified parts that share no image.

    Parameters
    ----------
    name : "auto", "fashion_mnist" or "digits"
        `auto` is the one that the environment variable COURSE_DATASET names;
        without it, Fashion-MNIST if it is cached or can be downloaded within a
        minute, else digits. When `auto` gives digits, it prints so, and why.
    train_size, validation_size, test_size : int, optional
        Numbers of images, at least one for each class. Without `train_size`,
        all that are not held out: see `SIZES`. With `auto` the numbers are
        meant for Fashion-MNIST, and digits gives at most its defaults.
    seed : int, >= 0
        Chooses the images. The validation and test images do not depend on
        `train_size`, and a smaller training set is the beginning of a larger
        one, so that experiments on the amount of data are paired by seed.

    Returns
    -------
    Data
        Test images of Fashion-MNIST are from its publisher's test set.

    Raises
    ------
    ValueError
        For a wrong name, COURSE_DATASET, size or seed.
    DataError
        If Fashion-MNIST, asked for by name, cannot be had.
    """
    _check_name(name, "The data set")
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"The seed must be an integer of at least 0, not {seed!r}.")
    asked = given = (train_size, validation_size, test_size)
    why_digits = None
    if name == "auto":
        _sizes(
            "fashion_mnist", *asked
        )  # first, so that a wrong size is wrong with and without a network
        name, why_digits = _choose()
        if name == "digits":
            given = tuple(size and min(size, most) for size, most in zip(asked, SIZES["digits"]))
    train_size, validation_size, test_size = _sizes(name, *given)

    rng = np.random.default_rng(seed)
    x, y, x_test, y_test = _read_fashion_mnist() if name == "fashion_mnist" else _read_digits(rng)
    # Validation from the front of one order, training from its back: each
    # stays where it is when the size of the other changes.
    order = _stratified_order(y, rng)
    train, validation = order[::-1][:train_size], np.sort(order[:validation_size])
    test = np.sort(_stratified_order(y_test, rng)[:test_size])

    counts = (
        f"{train_size:,} training, {validation_size:,} validation and {test_size:,} test images"
    )
    if why_digits:
        fewer = "" if given == asked else " (fewer than asked for)"
        print(f"{why_digits}: using the 8x8 digits that ship with scikit-learn, {counts}{fewer}.")

    def chosen(images, labels, indices):
        scaled = images[indices, ..., None].astype("float32") / np.float32(LARGEST[name])
        return scaled, labels[indices].astype("int64")

    parts = (*chosen(x, y, train), *chosen(x, y, validation), *chosen(x_test, y_test, test))
    return Data(
        name, *parts, CLASS_NAMES[name], f"{SOURCES[name]}; {counts}, stratified with seed {seed}."
    )


def resolve(name):
    """The name of the data set that `load(name)` gives here: `name` itself, unless that is "auto"."""
    _check_name(name, "The data set")
    return _choose()[0] if name == "auto" else name


def identity(name):
    """A sum over the data set's files, the same wherever the same images and labels are loaded."""
    if name == "fashion_mnist":
        return hashlib.md5("".join(FILES.values()).encode()).hexdigest()
    from sklearn.datasets import load_digits

    return hashlib.md5(
        b"".join(array.tobytes() for array in load_digits(return_X_y=True))
    ).hexdigest()


def validate_images(x, y, *, classes=None, part="given"):
    """Refuse images and labels that no model of the course could learn from.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, H, W, C), float32
        Images with values in [0, 1].
    y : numpy.ndarray, shape (N,), int32 or int64
        Labels: 0 or more, and less than `classes` if that is given.
    part : str
        What the message calls them.

    Raises
    ------
    ValueError
        The first thing that is wrong, and how to put it right.
    """
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
    if y.min() < 0 or (classes is not None and y.max() >= classes):
        most = "0 or more" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{labels} be {most}; these go from {y.min()} to {y.max()}.")


def cache_folder():
    """The folder in which Keras keeps the four files of Fashion-MNIST."""
    user = os.path.expanduser("~")
    default = os.path.join(
        user if os.access(user, os.W_OK) else "/tmp", ".keras"
    )  # the same rule as in Keras
    return Path(os.environ.get("KERAS_HOME") or default).expanduser() / "datasets" / "fashion-mnist"


def cache_status():
    """Fashion-MNIST in the cache: "cached", "missing" or "corrupt" (without importing Keras)."""
    states = [_state(cache_folder() / name) for name in FILES]
    return "corrupt" if "corrupt" in states else "missing" if "missing" in states else "cached"


def fetch_fashion_mnist(seconds=600):
    """Make the cache complete: remove corrupt files, download what is missing.

    Whether a download is interrupted, or two run at once: what is in the cache
    under the name of a file is whole. Large files show a progress bar, unless
    the environment variable COURSE_PROGRESS is 0.

    Parameters
    ----------
    seconds : float
        Most time for all four files; a silent server is given up sooner.

    Raises
    ------
    DataError
        If a file is not to be had: no network, no room, no write access.
    """
    deadline = time.monotonic() + seconds
    for name in FILES:
        path = cache_folder() / name
        if (state := _state(path)) != "cached":
            try:
                path.unlink(missing_ok=True)
                _download(path, deadline)
            except (OSError, ValueError) as error:
                # Without its cause: the four nested errors of requests would fill a screen of the
                # notebook.
                raise DataError(
                    f"{name} is {state} in the cache and cannot be {_problem(error)}"
                ) from None


def _download(path, deadline):
    """Put one file in its place: pooch checks its sum before it moves it there."""

    class Bar(tqdm):
        """Also ends the download at the deadline, for which pooch has no setting."""

        def update(self, n=1):
            if time.monotonic() > deadline:
                raise TimeoutError
            return super().update(n)

        def __bool__(
            self,
        ):  # pooch asks; tqdm would say no when the server does not tell the length
            return True

    # The small files come first, so that without a network there is no bar at all.
    off = "labels" in path.name or os.environ.get("COURSE_PROGRESS") == "0"
    pooch.get_logger().setLevel("WARNING")  # else it announces each file on stderr
    with Bar(
        desc=path.name, unit="B", unit_scale=True, leave=False, file=sys.stdout, disable=off
    ) as bar:
        downloader = pooch.HTTPDownloader(progressbar=bar, timeout=PATIENCE)
        pooch.retrieve(
            ORIGIN + path.name,
            f"md5:{FILES[path.name]}",
            path.name,
            path.parent,
            downloader=downloader,
        )
    path.chmod(0o644)  # pooch lets only its owner read it, but a class may share one cache


def _problem(error):
    """What hindered a download, as the end of a sentence."""
    cause = error
    while (
        cause.__context__
    ):  # requests wraps the errors of urllib3, and urllib3 and pooch those of Python
        cause = cause.__context__
    if isinstance(cause, socket.gaierror):
        return "downloaded: no network"
    if isinstance(cause, TimeoutError):
        return "downloaded: the network does not answer or is too slow"
    if type(error) in (ValueError, requests.exceptions.ChunkedEncodingError):
        return "downloaded: what came is not the file (cut short, or a login page of the network)"
    how = "downloaded" if isinstance(error, requests.RequestException) else "written"
    return f"{how}: {getattr(cause, 'strerror', None) or cause}"


def _read_fashion_mnist():
    """x, y, x_test, y_test as published, through the Keras loader; images (N, 28, 28) from 0 to
    255.
    """
    fetch_fashion_mnist()
    import keras

    # The loader itself, except that it finds the files that were checked a
    # moment ago: its own get_file does not look into a read-only cache. A copy
    # of the function leaves Keras as it is.
    loader, folder = keras.datasets.fashion_mnist.load_data, cache_folder()
    names = {**loader.__globals__, "get_file": lambda name, **_: str(folder / name)}
    train, test = types.FunctionType(loader.__code__, names)()
    return *train, *test


def _read_digits(rng):
    """x, y, x_test, y_test, of which `rng` chooses the test images; images (N, 8, 8) from 0 to 16."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8)
    order, most_test = _stratified_order(y, rng), SIZES["digits"][2]
    test, rest = np.sort(order[:most_test]), np.sort(order[most_test:])
    return x[rest], y[rest], x[test], y[test]


def _choose():
    """What `auto` means here: a name, and what to print about digits (or None)."""
    name = os.environ.get("COURSE_DATASET", "").strip() or "auto"
    _check_name(name, "The environment variable COURSE_DATASET")
    if name != "auto":
        return name, "COURSE_DATASET is digits" if name == "digits" else None
    try:
        fetch_fashion_mnist(seconds=60)
    except DataError as error:
        return (
            "digits",
            (
                f"Fashion-MNIST is not available ({error.args[0]}; set COURSE_DATASET=digits not to"
                " try)"
            ),
        )
    return "fashion_mnist", None


def _check_name(name, what):
    if name not in ("auto", *SIZES):
        raise ValueError(f"{what} must be one of auto, {', '.join(SIZES)}; not {name!r}.")


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


def _state(path):
    """ "cached", "missing" or "corrupt" for one file."""
    try:
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError:  # a folder in its place, or no permission to read it
        return "corrupt"
    return "cached" if md5 == FILES[path.name] else "corrupt"


def _kind(value):
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
