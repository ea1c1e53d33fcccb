"""The data sets of the course: Fashion-MNIST and scikit-learn's small digits.

Fashion-MNIST is read by the real Keras loader from the folder where Keras
keeps it, `$KERAS_HOME/datasets/fashion-mnist`, or `~/.keras/...` when the
variable is not set. It is read at each call, so it may be set after Keras was
imported. The four files are fetched here and not by Keras, whose download
writes in place (a broken file stays for ever), checks no sum, waits without
limit, and passes over a folder that it cannot write to.
"""

import contextlib
import difflib
import hashlib
import os
import secrets
import socket
import tempfile
import threading
import time
import types
import urllib.error
import urllib.request
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# The publisher's MD5 sums, and bytes for the progress bar.
FILES = {
    "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
    "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
}
# Training, validation and test images by default; there are no more than these.
SIZES = {"fashion_mnist": (54_000, 6_000, 10_000), "digits": (1_197, 300, 300)}
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CLASS_NAMES = {"fashion_mnist": GARMENTS, "digits": tuple("0123456789")}
SOURCES = {
    "fashion_mnist": "Fashion-MNIST (Zalando SE, MIT licence) through keras.datasets, MD5 sums those of its publisher",
    "digits": "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, CC BY 4.0), as in scikit-learn",
}
STALL = 8.0  # seconds that a silent server is waited for: three attempts of TCP


class DataError(RuntimeError):
    """Fashion-MNIST cannot be had. `args[0]` says why, without a path."""

    def __str__(self):
        return (
            f"Fashion-MNIST cannot be loaded: {self.args[0]}. What helps: connect to the internet and run this again; "
            f"or copy the four files {', '.join(FILES)} into {cache_folder()}; "
            'or set KERAS_HOME to a folder that holds them; or use load("digits"), which needs no network.'
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
                raise ValueError(f"The {part} images have shape {x.shape[1:]}, the train images {self.input_shape}.")
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
        counts = f"{len(self.x_train):,} training, {len(self.x_validation):,} validation, {len(self.x_test):,} test"
        return f"Data({self.name}: {counts} images of {'x'.join(map(str, self.input_shape))}, {self.classes} classes)"


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
    said = None
    if name == "auto":
        # First, so that a wrong size is wrong with and without a network.
        _sizes("fashion_mnist", *asked)
        name, said = _choose()
        if name == "digits":
            given = tuple(size and min(size, most) for size, most in zip(asked, SIZES["digits"]))
    sizes = train_size, validation_size, test_size = _sizes(name, *given)
    rng = np.random.default_rng(seed)
    if name == "fashion_mnist":
        (x, y), (x_test, y_test) = _read_fashion_mnist()
        largest = 255
    else:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x, largest = x.reshape(-1, 8, 8), 16
        order = _stratified_order(y, rng)
        test, rest = np.sort(order[: SIZES[name][2]]), np.sort(order[SIZES[name][2] :])
        x, y, x_test, y_test = x[rest], y[rest], x[test], y[test]
    # Validation from the front of one order, training from its back: each
    # stays where it is when the size of the other changes.
    order = _stratified_order(y, rng)
    validation, train = np.sort(order[:validation_size]), order[::-1][:train_size]
    test = np.sort(_stratified_order(y_test, rng)[:test_size])
    parts = (x[train], y[train]), (x[validation], y[validation]), (x_test[test], y_test[test])
    arrays = [a for x, y in parts for a in (x[..., None].astype("float32") / np.float32(largest), y.astype("int64"))]
    counts = "{:,} training, {:,} validation and {:,} test images".format(*sizes)
    if said:
        fewer = "" if given == asked else " (fewer than asked for)"
        print(f"{said}: using the 8x8 digits that ship with scikit-learn, {counts}{fewer}.")
    return Data(name, *arrays, CLASS_NAMES[name], f"{SOURCES[name]}; {counts}, stratified with seed {seed}.")


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
        raise ValueError(f"{images} be float32 in [0, 1], not {x.dtype}: use x.astype('float32'){divide}.")
    low, high = x.min(), x.max()  # both are NaN if one value is
    if not np.isfinite([low, high]).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))
        raise ValueError(f"{images} be finite: {len(bad):,} hold NaN or infinity, the first is number {bad[0]}.")
    if low < 0 or high > 1:
        hint = " Divide by 255." if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(f"{images} lie in [0, 1], not in [{low:g}, {high:g}].{hint}")
    if not isinstance(y, np.ndarray) or y.shape != (len(x),):
        raise ValueError(f"{labels} be a NumPy array of shape ({len(x)},), one for each image, not {_kind(y)}.")
    if y.dtype not in (np.int32, np.int64):
        raise ValueError(f"{labels} be int32 or int64, not {y.dtype}: use y.astype('int64').")
    if y.min() < 0 or (classes is not None and y.max() >= classes):
        most = "0 or more" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{labels} be {most}; these go from {y.min()} to {y.max()}.")


def cache_folder():
    """The folder in which Keras keeps the four files of Fashion-MNIST."""
    user = os.path.expanduser("~")
    default = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")  # the same rule as in Keras
    return Path(os.environ.get("KERAS_HOME") or default).expanduser() / "datasets" / "fashion-mnist"


def cache_status():
    """Fashion-MNIST in the cache: "cached", "missing" or "corrupt" (0.1 s, no Keras)."""
    found = {_state(cache_folder() / name) for name in FILES}
    return next(state for state in ("corrupt", "missing", "cached") if state in found)


def fetch_fashion_mnist(seconds=600):
    """Make the cache complete: remove corrupt files, download what is missing.

    A file is received in memory, checked, and only then put in its place in
    one step. Whether a download is interrupted, or two run at once, what is in
    the cache is whole.

    Parameters
    ----------
    seconds : float
        Most time for all four files. A server that sends nothing is given up
        after `STALL` seconds.

    Raises
    ------
    DataError
        If a file is not to be had: no network, no room, no write access.
    """
    deadline = time.monotonic() + seconds
    for name, (md5, _) in FILES.items():
        path = cache_folder() / name
        part = path.with_name(f"{name}.{secrets.token_hex(4)}.part")
        if (state := _state(path)) == "cached":
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()  # sooner learnt before the download: can we write?
            content = _download(name, deadline)
            if _md5(content) != md5:
                raise ConnectionError("what came is not the file (cut short, or a login page of the network)")
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            # On Windows a file that another notebook has just put there, and reads, cannot be replaced.
            if _state(path) != "cached":
                how = f"downloaded: {error}" if isinstance(error, ConnectionError) else f"written: {error.strerror}"
                raise DataError(f"{name} is {state} in the cache and cannot be {how}") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _download(name, deadline):
    """Bytes of a file, before `deadline` (time.monotonic), else ConnectionError."""
    from tqdm.auto import tqdm

    content, failure, stop, size = bytearray(), [], threading.Event(), FILES[name][1]

    def receive():
        try:
            # Not urlopen(), which keeps the proxy settings of its first use. The time limit only ends this thread.
            with urllib.request.build_opener().open(ORIGIN + name, timeout=2 * STALL) as response:
                while len(content) <= size and not stop.is_set() and (some := response.read1(65_536)):
                    content.extend(some)
        except Exception as error:
            cause = getattr(error, "reason", error)
            plain = getattr(cause, "strerror", None) or str(error) or type(error).__name__
            failure.append("no network" if isinstance(cause, socket.gaierror) else plain)
            if isinstance(error, urllib.error.HTTPError):
                error.close()

    # A thread, because the look-up of a name has no time limit, and because
    # every address of a server that does not answer would be tried in turn.
    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    received, heard = 0, time.monotonic()
    try:
        # No bar for the small files: without a network a notebook stays free of widgets.
        with tqdm(desc=name, total=size, unit="B", unit_scale=True, leave=False, disable=size < 1e6) as bar:
            while thread.is_alive():
                thread.join(0.1)
                now, new = time.monotonic(), len(content) - received
                bar.update(new)
                received, heard = received + new, now if new else heard
                if now - heard > STALL:
                    raise ConnectionError(f"the network does not answer (waited {STALL:g} s)")
                if now > deadline:
                    raise ConnectionError("the network is too slow")
    finally:
        stop.set()  # also after Ctrl-C
    if failure:
        raise ConnectionError(failure[0])
    return bytes(content)


def _read_fashion_mnist():
    """(x, y), (x_test, y_test) of the publisher, uint8, through the Keras loader."""
    fetch_fashion_mnist()
    import keras

    # The loader itself, except that it finds the files that were checked a
    # moment ago: its own get_file does not look into a read-only cache. A copy
    # of the function leaves Keras as it is.
    loader, folder = keras.datasets.fashion_mnist.load_data, cache_folder()
    names = {**loader.__globals__, "get_file": lambda name, **_: str(folder / name)}
    return types.FunctionType(loader.__code__, names)()


def _choose():
    """What `auto` means here: a name, and what to print about digits (or None)."""
    name = os.environ.get("COURSE_DATASET", "").strip() or "auto"
    _check_name(name, "The environment variable COURSE_DATASET")
    if name != "auto":
        return name, "COURSE_DATASET is digits" if name == "digits" else None
    try:
        fetch_fashion_mnist(seconds=60)
    except DataError as error:
        return "digits", f"Fashion-MNIST is not available ({error.args[0]}; set COURSE_DATASET=digits not to try)"
    return "fashion_mnist", None


def _check_name(name, what):
    if name not in ("auto", *SIZES):
        close = difflib.get_close_matches(str(name).lower().replace("-", "_"), SIZES, n=1, cutoff=0.5)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{what} must be one of auto, {', '.join(SIZES)}; not {name!r}.{guess}")


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
        return "cached" if _md5(path.read_bytes()) == FILES[path.name][0] else "corrupt"
    except FileNotFoundError:
        return "missing"
    except OSError:  # a folder in its place, or no permission to read it
        return "corrupt"


def _md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _kind(value):
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
