"""Data sets: what is loaded, and what happens when something is wrong."""

import contextlib
import dataclasses
import hashlib
import http.server
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course import data

PARTS = ("train", "validation", "test")
REAL = data.cache_folder()  # before any test moves KERAS_HOME
real = pytest.mark.skipif(
    data.cache_status() != "cached", reason="Fashion-MNIST is not cached on this machine"
)
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and permissions")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path):
    """No test sees or changes the cache and the settings of the person who runs it."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in (
        "COURSE_DATASET",
        "NO_PROXY",
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache():
    """A copy of the real cache, to be harmed."""
    shutil.copytree(REAL, data.cache_folder())
    for path in data.cache_folder().iterdir():
        path.chmod(0o644)
    return data.cache_folder()


@pytest.fixture
def offline(monkeypatch):
    """A proxy that refuses: every network access fails, at once and on every machine."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("https_proxy", address)
    return address


# --- a publisher on this machine ---------------------------------------------


class Publisher(http.server.ThreadingHTTPServer):
    """Serves `contents`; `manner` says how."""

    daemon_threads = True

    def __init__(self, contents):
        self.contents, self.manner, self.asked = contents, "well", []
        self.half_sent, self.go_on = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        pass  # a client that was killed is what some tests want


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(name := self.path.rpartition("/")[2])
        if server.manner == "never":
            server.go_on.wait(30)
            return
        if server.manner == "not found":
            self.send_error(404)
            return
        if server.manner == "endless":  # and of unknown length
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(100_000))
        content = (
            b"<html>Please log in</html>"
            if server.manner == "login page"
            else server.contents[name]
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if server.manner == "cut short":
            return
        if server.manner == "half":
            self.wfile.flush()
            server.half_sent.set()
            server.go_on.wait(30)
        if server.manner == "drip":
            for start in range(half, len(content), 100):
                self.wfile.write(content[start : start + 100])
                time.sleep(0.1)
            return
        self.wfile.write(content[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher(monkeypatch):
    """Four small files with sums of their own: the download needs no real images."""
    rng = np.random.default_rng(0)
    contents = {
        name: rng.bytes(3_000_000 if "train-images" in name else 5_000) for name in data.FILES
    }
    files = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    server = Publisher(contents)
    monkeypatch.setattr(data, "FILES", files)
    monkeypatch.setattr(data, "ORIGIN", server.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def child(publisher):
    """Another process that fetches from `publisher` into the same cache."""
    settings = f"data.ORIGIN, data.FILES = {publisher.url!r}, {data.FILES!r}"
    code = f"from course import data; {settings}; data.fetch_fashion_mnist()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], **pipes)


def in_cache():
    folder = data.cache_folder()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- what is loaded ------------------------------------------------------------


def test_digits_are_float32_images_in_0_1_and_cannot_be_changed():
    digits = data.load("digits")
    assert (
        digits.input_shape == (8, 8, 1)
        and digits.classes == 10
        and digits.class_names == tuple("0123456789")
    )
    for part, size in zip(PARTS, (1_197, 300, 300)):
        x, y = getattr(digits, f"x_{part}"), getattr(digits, f"y_{part}")
        assert (
            x.shape == (size, 8, 8, 1) and x.dtype == np.float32 and x.min() == 0 and x.max() == 1
        )
        assert y.shape == (size,) and y.dtype == np.int64 and set(y) == set(range(10))
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            y[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.name = "other"
    assert (
        repr(digits)
        == "Data(digits: 1,197 training, 300 validation, 300 test images of 8x8x1, 10 classes)"
    )
    assert (
        "UCI" in digits.provenance
        and "1,197" in digits.provenance
        and "seed 0" in digits.provenance
    )


def rows(x):
    """Each image as bytes, so that it can be counted and looked up."""
    return [image.tobytes() for image in x]


sizes = st.none() | st.integers(10, 300)


@settings(max_examples=25, deadline=None)
@given(
    train=st.integers(10, 1_197),
    fewer=st.floats(0, 1),
    validation=sizes,
    test=sizes,
    seed=st.integers(0, 2**40),
)
def test_parts_are_disjoint_stratified_and_paired_by_seed(train, fewer, validation, test, seed):
    one = data.load(
        "digits", train_size=train, validation_size=validation, test_size=test, seed=seed
    )
    # No two of the 1,797 digits are equal, so equal bytes mean the same image.
    together = [row for part in PARTS for row in rows(getattr(one, f"x_{part}"))]
    assert len(set(together)) == len(together) == train + (validation or 300) + (test or 300)
    shares = np.bincount(data.load("digits", seed=seed).y_train) / 1_197
    for part in PARTS:
        y = getattr(one, f"y_{part}")
        assert (
            np.abs(np.bincount(y, minlength=10) - shares * len(y)).max() < 3 and len(set(y)) == 10
        )
    # A smaller training set is the beginning of the larger; the others stay.
    size = max(10, int(train * fewer))
    other = data.load(
        "digits", train_size=size, validation_size=validation, test_size=test, seed=seed
    )
    np.testing.assert_array_equal(other.x_train, one.x_train[:size])
    np.testing.assert_array_equal(other.y_train, one.y_train[:size])
    np.testing.assert_array_equal(other.x_validation, one.x_validation)
    np.testing.assert_array_equal(other.x_test, one.x_test)


def test_another_seed_chooses_other_images():
    one, other = data.load("digits", seed=1), data.load("digits", seed=2)
    assert set(rows(one.x_test)) != set(rows(other.x_test))
    assert set(rows(one.x_validation)) != set(rows(other.x_validation))


@real
def test_fashion_mnist_is_what_the_keras_loader_gives(monkeypatch, capsys, cache):
    import keras

    fashion = data.load("fashion_mnist")
    assert capsys.readouterr() == ("", "")
    # The unchanged loader, on the same folder.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", os.environ["KERAS_HOME"])
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    np.testing.assert_array_equal(
        fashion.x_test[..., 0], x_test.astype("float32") / np.float32(255)
    )
    np.testing.assert_array_equal(fashion.y_test, y_test)
    # Training and validation together are the publisher's training images, each once (some of them
    # are equal).
    ours = np.concatenate([fashion.x_train, fashion.x_validation])[..., 0]
    labels = np.concatenate([fashion.y_train, fashion.y_validation])
    pairs = Counter(zip(rows(np.rint(ours * 255).astype("uint8")), labels.tolist()))
    assert pairs == Counter(zip(rows(x), y.tolist()))
    assert fashion.x_train.shape == (54_000, 28, 28, 1) and fashion.x_train.dtype == np.float32
    assert fashion.x_train.min() == 0 and fashion.x_train.max() == 1
    assert set(np.bincount(fashion.y_train)) == {5_400} and set(
        np.bincount(fashion.y_validation)
    ) == {600}
    assert fashion.class_names[9] == "Ankle boot" and fashion.y_test[0] == 9
    assert "Zalando" in fashion.provenance and os.environ["KERAS_HOME"] not in fashion.provenance


@real
def test_a_small_fashion_mnist_is_stratified_and_the_beginning_of_a_larger(cache, monkeypatch):
    monkeypatch.setenv("COURSE_DATASET", "fashion_mnist")
    small = data.load("auto", train_size=200, validation_size=2_000, test_size=100, seed=3)
    larger = data.load("auto", train_size=2_000, validation_size=2_000, test_size=100, seed=3)
    np.testing.assert_array_equal(small.x_train, larger.x_train[:200])
    np.testing.assert_array_equal(small.x_validation, larger.x_validation)
    np.testing.assert_array_equal(small.x_test, larger.x_test)
    for y, each in (
        (small.y_train, 20),
        (small.y_validation, 200),
        (small.y_test, 10),
        (larger.y_train, 200),
    ):
        assert set(np.bincount(y)) == {each}


@real
def test_keras_still_has_the_part_that_is_replaced(cache, monkeypatch):
    import keras

    loader = keras.datasets.fashion_mnist.load_data
    assert "get_file" in loader.__globals__
    asked = {}
    monkeypatch.setitem(
        loader.__globals__,
        "get_file",
        lambda name, origin, **_: asked.update({name: origin}) or str(cache / name),
    )
    loader()
    assert asked == {name: data.ORIGIN + name for name in data.FILES}


# --- auto -----------------------------------------------------------------------


def test_auto_without_network_is_digits_and_says_so(offline, capsys):
    started = time.monotonic()
    digits = data.load("auto", train_size=2_000, validation_size=2_000)
    assert time.monotonic() - started < 5
    assert (
        digits.name == "digits" and len(digits.x_train) == 1_197 and len(digits.x_validation) == 300
    )
    out, error = capsys.readouterr()
    assert out.count("\n") == 1 and error == ""
    for words in (
        "not available",
        "missing",
        "refused",
        "8x8 digits",
        "1,197 training",
        "fewer than asked",
    ):
        assert words in out
    assert os.environ["KERAS_HOME"] not in out


def test_auto_keeps_sizes_that_digits_has(offline, capsys):
    digits = data.load(train_size=500, validation_size=100, test_size=100)
    assert [len(digits.y_train), len(digits.y_validation), len(digits.y_test)] == [500, 100, 100]
    assert "fewer" not in capsys.readouterr().out


@real
def test_auto_is_fashion_mnist_when_it_is_cached_and_then_silent(cache, offline, capsys):
    assert data.load(train_size=100).name == "fashion_mnist"
    assert capsys.readouterr() == ("", "")


def test_course_dataset_decides_for_auto_only(monkeypatch, capsys, offline):
    monkeypatch.setenv("COURSE_DATASET", "digits")
    assert data.load("auto").name == "digits"
    assert capsys.readouterr().out.startswith("COURSE_DATASET is digits: using the 8x8 digits")
    assert data.load("digits").name == "digits"
    assert capsys.readouterr().out == ""
    with pytest.raises(data.DataError):
        data.load("fashion_mnist")
    monkeypatch.setenv("COURSE_DATASET", "fashion_mnist")
    with pytest.raises(data.DataError):
        data.load("auto")
    monkeypatch.setenv("COURSE_DATASET", "mnist")
    with pytest.raises(
        ValueError, match="COURSE_DATASET must be one of auto, fashion_mnist, digits; not 'mnist'"
    ):
        data.load("auto")
    assert data.load("digits").name == "digits"


# --- wrong arguments --------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Fashion-MNIST", "mnist", "digit", "cifar10", "", None, 10, ["digits"]]
)
def test_a_wrong_name_lists_the_right_ones(name):
    with pytest.raises(ValueError, match="must be one of auto, fashion_mnist, digits; not "):
        data.load(name)


@pytest.mark.parametrize("what", ["train_size", "validation_size", "test_size"])
@pytest.mark.parametrize("size", [0, -5, 9, 1.5, 100.0, True, "100", float("nan"), 10**9])
@pytest.mark.parametrize("name", ["digits", "auto"])
def test_a_wrong_size_names_the_possible_ones(name, what, size, offline):
    with pytest.raises(
        ValueError, match=f"{what} must be an integer from 10, one .* to [0-9,]+ for"
    ):
        data.load(name, **{what: size})


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"train_size": 1_198}, "train_size .* to 1,197 for digits; not 1198"),
        ({"train_size": 1_000, "validation_size": 500}, "train_size .* to 997 for digits"),
        ({"validation_size": 1_490}, "validation_size .* to 1,487 for digits"),
        ({"test_size": 301}, "test_size .* to 300 for digits"),
    ],
)
def test_a_size_that_is_too_large_names_the_largest(sizes, message):
    with pytest.raises(ValueError, match=message):
        data.load("digits", **sizes)


def test_the_largest_sizes_are_possible_and_numpy_integers_too():
    assert len(data.load("digits", validation_size=np.int32(1_487)).x_train) == 10
    assert (
        len(data.load("digits", train_size=1_487, validation_size=10, seed=np.int64(1)).x_train)
        == 1_487
    )


@pytest.mark.parametrize("seed", [-1, 1.0, None, "0", True])
def test_a_wrong_seed(seed):
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        data.load("digits", seed=seed)


# --- wrong arrays -----------------------------------------------------------------

X = np.linspace(0, 1, 6 * 2 * 3, dtype="float32").reshape(6, 2, 3, 1)
Y = np.arange(6)


def with_value(array, value):
    array = array.copy()
    array.flat[7] = value
    return array


WRONG = {
    "NaN": (with_value(X, np.nan), Y, "1 hold NaN or infinity, the first is number 1"),
    "infinity": (with_value(X, -np.inf), Y, "NaN or infinity"),
    "no channel": (X[..., 0], Y, r"\(N, H, W, C\), not shape \(6, 2, 3\). Add the channel"),
    "flat": (X.reshape(6, 6), Y, r"not shape \(6, 6\)"),
    "empty": (X[:0], Y[:0], r"not shape \(0, 2, 3, 1\)"),
    "list": (X.tolist(), Y, "NumPy array of shape .* not list"),
    "ragged list": ([[1], [1, 2]], Y, "NumPy array of shape .* not list"),
    "bytes": ((X * 255).astype("uint8"), Y, r"not uint8: use x.astype\('float32'\) / 255"),
    "float64": (X.astype("float64"), Y, r"not float64: use x.astype\('float32'\)\."),
    "objects": (X.astype(object), Y, "not object"),
    "0 to 255": (X * 255, Y, r"not in \[0, 255\]. Divide by 255."),
    "-1 to 1": (X * 2 - 1, Y, r"\[0, 1\], not in \[-1, 1\]\.$"),
    "fewer labels": (X, Y[:5], r"shape \(6,\), one for each image, not shape \(5,\)"),
    "one-hot": (X, np.eye(6), r"one for each image, not shape \(6, 6\)"),
    "label list": (X, Y.tolist(), "NumPy array of shape .* not list"),
    "float labels": (X, Y.astype("float32"), "int32 or int64, not float32"),
    "byte labels": (X, Y.astype("uint8"), "int32 or int64, not uint8"),
    "negative label": (X, Y - 1, "from 0 to 5; these go from -1 to 4"),
    "label too large": (X, Y + 1, "from 0 to 5; these go from 1 to 6"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_images_or_labels_are_refused_by_the_check_and_by_data(case):
    x, y, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        data.validate_images(x, y, classes=6)
    with pytest.raises(ValueError, match=message):
        data.Data("own", X, Y, x, y, X, Y, tuple("abcdef"), "made here")


def test_right_images_and_labels_pass_and_the_caller_keeps_them():
    data.validate_images(X, Y.astype("int32"))
    x = X.copy()
    own = data.Data("own", x, Y, x, Y, x, Y, tuple("abcdef"), "made here")
    assert own.input_shape == (2, 3, 1) and own.classes == 6
    x[0] = 0.5  # still the caller's to change


def test_parts_must_have_the_same_image_shape():
    with pytest.raises(
        ValueError, match=r"test images have shape \(3, 2, 1\), the train images \(2, 3, 1\)"
    ):
        data.Data("own", X, Y, X, Y, X.reshape(6, 3, 2, 1), Y, tuple("abcdef"), "made here")


# --- the cache ---------------------------------------------------------------------


def test_the_cache_is_where_keras_looks(monkeypatch):
    assert data.cache_folder() == Path(os.environ["KERAS_HOME"], "datasets", "fashion-mnist")
    monkeypatch.setenv("KERAS_HOME", str(Path("~", "elsewhere")))
    assert data.cache_folder() == Path.home() / "elsewhere" / "datasets" / "fashion-mnist"
    monkeypatch.delenv("KERAS_HOME")
    if os.access(Path.home(), os.W_OK):
        assert data.cache_folder() == Path.home() / ".keras" / "datasets" / "fashion-mnist"


def test_status_names_the_worst_file(publisher):
    assert data.cache_status() == "missing"
    data.fetch_fashion_mnist()
    assert data.cache_status() == "cached"
    first, second = (data.cache_folder() / name for name in list(data.FILES)[:2])
    first.unlink()
    assert data.cache_status() == "missing"
    second.write_bytes(second.read_bytes()[:1_000])
    assert data.cache_status() == "corrupt"


def test_cache_status_does_not_import_keras():
    code = (
        "import sys; from course import data; data.cache_status(); sys.exit('keras' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    )


def harm_truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def harm_flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def harm_empty(path):
    path.write_bytes(b"")


HARM = [harm_truncate, harm_flip, harm_empty, Path.unlink]


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_file_is_fetched_again_and_only_that(publisher, harm):
    data.fetch_fashion_mnist()
    publisher.asked.clear()
    harm(data.cache_folder() / "train-images-idx3-ubyte.gz")
    data.fetch_fashion_mnist()
    assert data.cache_status() == "cached" and publisher.asked == ["train-images-idx3-ubyte.gz"]
    assert in_cache() == sorted(data.FILES)


@real
@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_file_without_network_is_reported_with_the_way_out(cache, offline, harm):
    harm(path := cache / "train-images-idx3-ubyte.gz")
    state = "missing" if harm is Path.unlink else "corrupt"
    assert data.cache_status() == state
    with pytest.raises(data.DataError) as caught:
        data.load("fashion_mnist")
    ways_out = ("Connect to the internet", str(cache), 'load("digits")')
    for words in (path.name, f"is {state} in the cache", "refused", *ways_out):
        assert words in str(caught.value)
    assert (
        not path.exists() and len(in_cache()) == 3
    )  # no EOFError for ever after, and nothing else lost
    shutil.copy(REAL / path.name, path)  # the way out that was named
    assert data.load("fashion_mnist", train_size=10).name == "fashion_mnist"


@real
def test_auto_with_a_harmed_file_and_no_network_is_digits_and_says_why(cache, offline, capsys):
    harm_truncate(cache / "t10k-labels-idx1-ubyte.gz")
    assert data.load("auto").name == "digits"
    assert (
        "t10k-labels-idx1-ubyte.gz is corrupt in the cache and cannot be downloaded"
        in capsys.readouterr().out
    )


def test_the_error_survives_a_journey_between_processes():
    error = pickle.loads(pickle.dumps(data.DataError("no network")))
    assert "no network" in str(error) and str(data.cache_folder()) in str(error)


def test_something_else_in_place_of_a_file_is_reported(publisher):
    (data.cache_folder() / "train-labels-idx1-ubyte.gz").mkdir(parents=True)
    assert data.cache_status() == "corrupt"
    with pytest.raises(data.DataError, match="is corrupt in the cache and cannot be written"):
        data.fetch_fashion_mnist()


@contextlib.contextmanager
def read_only(folder):
    """The folder cannot be written; root, who may write everywhere, becomes nobody for as long."""
    root = os.geteuid() == 0
    modes = {folder: folder.stat().st_mode}
    folder.chmod(0o555)
    if root:  # nobody must be able to come to it through the folders above
        for above in folder.parents:
            mode = above.stat().st_mode
            if mode & 0o55 != 0o55:  # its group is still that of root
                modes[above] = mode
                above.chmod(mode | 0o55)
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for changed, mode in modes.items():
            changed.chmod(mode)


@real
@posix
def test_a_read_only_cache_with_good_files_works(cache, offline):
    import keras  # noqa: F401  before it is nobody who imports

    with read_only(cache):
        with pytest.raises(PermissionError):
            (cache / "new").touch()
        assert data.load("auto", train_size=100).name == "fashion_mnist"


@posix
@pytest.mark.parametrize("harm", HARM)
def test_a_read_only_cache_with_a_harmed_file_is_reported(publisher, harm, capsys):
    data.fetch_fashion_mnist()
    publisher.asked.clear()
    harm(data.cache_folder() / "train-images-idx3-ubyte.gz")
    data.load("digits")  # before it is nobody who imports
    with read_only(data.cache_folder()):
        with pytest.raises(
            data.DataError, match="in the cache and cannot be written: Permission denied"
        ):
            data.load("fashion_mnist")
        assert data.load("auto").name == "digits"
    assert "cannot be written" in capsys.readouterr().out
    assert publisher.asked == []  # nothing was downloaded in vain


@posix
def test_a_full_disk_is_reported_and_leaves_nothing(publisher):
    import resource

    # No process can fill the disk of a machine that others use, but its own files may not become
    # large.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(
            data.DataError, match="train-images.* cannot be written: File too large"
        ):
            data.fetch_fashion_mnist()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert in_cache() == ["train-labels-idx1-ubyte.gz"]


@posix
def test_a_folder_that_cannot_be_made_is_reported(publisher, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home / "keras"))
    with read_only(home):
        with pytest.raises(data.DataError, match="cannot be written: Permission denied. Connect"):
            data.fetch_fashion_mnist()
    assert publisher.asked == []


# --- the network -------------------------------------------------------------------


def test_a_download_completes_the_cache(publisher):
    data.fetch_fashion_mnist()
    assert publisher.asked == list(data.FILES) and in_cache() == sorted(data.FILES)
    for name, content in publisher.contents.items():
        assert (data.cache_folder() / name).read_bytes() == content
    data.fetch_fashion_mnist()
    assert len(publisher.asked) == 4


@real
def test_load_downloads_from_a_server_what_is_missing(publisher, monkeypatch, capsys):
    publisher.contents = {name: (REAL / name).read_bytes() for name in data.FILES}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in publisher.contents.items()}
    monkeypatch.setattr(data, "FILES", sums)
    assert data.load("auto", train_size=100).name == "fashion_mnist"
    assert data.cache_status() == "cached" and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "manner, message",
    [
        ("not found", "404 Client Error"),
        ("cut short", "what came is not the file"),
        ("login page", "what came is not the file"),
        ("never", "does not answer"),
        ("half", "does not answer"),
        ("drip", "too slow"),
    ],
)
def test_a_bad_server_is_reported_in_time(publisher, monkeypatch, manner, message):
    monkeypatch.setattr(data, "PATIENCE", (0.5, 0.5))
    publisher.manner = manner
    started = time.monotonic()
    with pytest.raises(data.DataError, match=message):
        data.fetch_fashion_mnist(seconds=1.5)
    assert time.monotonic() - started < 3
    assert in_cache() == []


def test_an_endless_stream_is_not_received_for_ever(publisher):
    publisher.manner = "endless"
    started = time.monotonic()
    with pytest.raises(data.DataError, match="too slow"):
        data.fetch_fashion_mnist(seconds=0.5)
    assert time.monotonic() - started < 3
    assert in_cache() == []


def test_a_proxy_that_never_answers_is_given_up(publisher, monkeypatch):
    publisher.manner = "never"
    monkeypatch.setattr(data, "PATIENCE", (0.5, 0.5))
    monkeypatch.setattr(data, "ORIGIN", "https://storage.googleapis.com/")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(data.DataError, match="does not answer"):
            data.fetch_fashion_mnist()
        assert time.monotonic() - started < 3


def test_a_look_up_that_fails_means_no_network(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(data.DataError, match="cannot be downloaded: no network"):
        data.fetch_fashion_mnist()


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_download_can_be_repeated_and_ctrl_c_leaves_a_clean_cache(publisher, how):
    data.fetch_fashion_mnist()
    (data.cache_folder() / "train-images-idx3-ubyte.gz").unlink()
    publisher.manner = "half"
    process = child(publisher)
    assert publisher.half_sent.wait(20)
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert data.cache_status() == "missing"
    if how == signal.SIGINT:  # a process that is killed cannot tidy up its temporary file
        assert len(in_cache()) == 3
    publisher.manner = "well"
    data.fetch_fashion_mnist()
    assert data.cache_status() == "cached"


def test_two_downloads_at_once_do_not_hurt_each_other(publisher):
    publisher.manner = "half"  # both are held in the middle of a file, so that they truly overlap
    processes = [child(publisher), child(publisher)]
    first = next(iter(data.FILES))
    ends = time.monotonic() + 20
    while publisher.asked != [first, first] and time.monotonic() < ends:
        time.sleep(0.02)
    assert publisher.asked == [first, first]
    publisher.go_on.set()
    for process in processes:
        assert process.communicate(timeout=30) == (
            "",
            "",
        )  # pooch would announce each file on stderr
        assert process.returncode == 0
    assert data.cache_status() == "cached" and in_cache() == sorted(data.FILES)


@posix
def test_what_was_downloaded_can_be_read_by_a_whole_class(publisher):
    data.fetch_fashion_mnist()
    assert {oct(path.stat().st_mode & 0o777) for path in data.cache_folder().iterdir()} == {"0o644"}


@pytest.mark.parametrize("progress", ["1", "0", None])
def test_the_large_files_have_a_bar_on_stdout_that_goes_away(
    publisher, monkeypatch, capsys, progress
):
    (
        monkeypatch.delenv("COURSE_PROGRESS")
        if progress is None
        else monkeypatch.setenv("COURSE_PROGRESS", progress)
    )
    data.fetch_fashion_mnist()
    out, error = capsys.readouterr()
    assert error == "" and "labels" not in out
    assert ("train-images" in out) == ("t10k-images" in out) == (progress != "0")
    assert out == "" or out.split("\r")[-1].strip() == "" and "\n" not in out


def test_the_sums_are_the_publishers():
    assert data.FILES == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
