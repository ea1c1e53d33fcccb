"""Data sets: what is loaded, and what is said when a file is not what it should be."""

import dataclasses
import gzip
import hashlib
import pickle
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course import data

PARTS = ("train", "validation", "test")
ROOT = Path(__file__).parents[2]
REAL = data.FOLDER


# --- what is loaded ------------------------------------------------------------


def test_digits_are_float32_images_in_0_1_and_cannot_be_changed():
    digits = data.load("digits")
    assert (
        digits.input_shape == (8, 8, 1)
        and digits.classes == 10
        and digits.class_names == tuple("0123456789")
    )
    for part, size in zip(PARTS, (1_197, 300, 300), strict=True):
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


def test_fashion_mnist_is_what_the_keras_loader_gives(monkeypatch, tmp_path):
    import keras

    fashion = data.load()
    # Keras's own loader, on links to the same files.
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "fashion-mnist").symlink_to(REAL, target_is_directory=True)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    np.testing.assert_array_equal(
        fashion.x_test[..., 0], x_test.astype("float32") / np.float32(255)
    )
    np.testing.assert_array_equal(fashion.y_test, y_test)
    # Training and validation together are the publisher's training images, each once (some of them
    # are equal).
    ours = np.concatenate([fashion.x_train, fashion.x_validation])[..., 0]
    labels = np.concatenate([fashion.y_train, fashion.y_validation])
    pixels = np.rint(ours * 255).astype("uint8")
    pairs = Counter(zip(rows(pixels), labels.tolist(), strict=True))
    assert pairs == Counter(zip(rows(x), y.tolist(), strict=True))
    assert fashion.name == "fashion_mnist", "without a name"
    assert fashion.x_train.shape == (54_000, 28, 28, 1) and fashion.x_train.dtype == np.float32
    assert fashion.x_train.min() == 0 and fashion.x_train.max() == 1
    assert set(np.bincount(fashion.y_train)) == {5_400} and set(
        np.bincount(fashion.y_validation)
    ) == {600}
    assert fashion.class_names[9] == "Ankle boot" and fashion.y_test[0] == 9
    assert "Zalando" in fashion.provenance and str(ROOT) not in fashion.provenance


def test_a_small_fashion_mnist_is_stratified_and_the_beginning_of_a_larger():
    small = data.load(train_size=200, validation_size=2_000, test_size=100, seed=3)
    larger = data.load(train_size=2_000, validation_size=2_000, test_size=100, seed=3)
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


@pytest.mark.parametrize(
    "name, total",
    [
        ("fashion_mnist", "b11eaea3c70a8a20d20a814c0431a6a0"),
        ("digits", "90ff182ac919f2830f2bbc2f2a6032a0"),
    ],
)
def test_a_split_stays_what_it_is(name, total):
    """Committed results and the numbers in the lessons come from these images, in this order."""
    split = data.load(name, train_size=500, validation_size=300, test_size=200, seed=3)
    arrays = [getattr(split, f"{axis}_{part}") for part in PARTS for axis in "xy"]
    assert hashlib.md5(b"".join(array.tobytes() for array in arrays)).hexdigest() == total


def test_the_files_are_read_and_checked_once(monkeypatch):
    asked = []
    read_file = data.read_file
    monkeypatch.setattr(data, "read_file", lambda name: asked.append(name) or read_file(name))
    data._read_fashion_mnist.cache_clear()
    for seed in range(3):
        data.load(train_size=10, seed=seed)
    assert sorted(asked) == sorted(data.FILES)


# --- wrong arguments --------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Fashion-MNIST", "mnist", "digit", "auto", "", None, 10, ["digits"]]
)
def test_a_wrong_name_lists_the_right_ones(name):
    with pytest.raises(ValueError, match="choose one of 'fashion_mnist', 'digits'"):
        data.load(name)


@pytest.mark.parametrize("what", ["train_size", "validation_size", "test_size"])
@pytest.mark.parametrize("size", [0, -5, 9, 1.5, 100.0, True, "100", float("nan"), 10**9])
@pytest.mark.parametrize("name", ["digits", "fashion_mnist"])
def test_a_wrong_size_names_the_possible_ones(name, what, size):
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
    with pytest.raises(ValueError, match="The seed is .*; give a whole number of at least 0"):
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
def test_wrong_images_or_labels_are_refused(case):
    x, y, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        data.Data("own", X, Y, x, y, X, Y, tuple("abcdef"), "made here")


def test_right_images_and_labels_pass_and_the_caller_keeps_them():
    x, y = X.copy(), Y.astype("int32")
    own = data.Data("own", x, y, x, Y, x, Y, tuple("abcdef"), "made here")
    assert own.input_shape == (2, 3, 1) and own.classes == 6
    x[0] = 0.5  # still the caller's to change


def test_parts_must_have_the_same_image_shape():
    with pytest.raises(
        ValueError, match=r"test images have shape \(3, 2, 1\), the train images \(2, 3, 1\)"
    ):
        data.Data("own", X, Y, X, Y, X.reshape(6, 3, 2, 1), Y, tuple("abcdef"), "made here")


# --- the files -------------------------------------------------------------------


def test_the_sums_are_the_publishers():
    assert data.FILES == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    lines = (REAL / "MD5SUMS").read_text().splitlines()  # as `md5sum -c` reads it
    assert {name: total for total, name in map(str.split, lines)} == data.FILES


def test_the_licence_of_the_files_lies_beside_them():
    assert "Copyright © 2017 Zalando SE" in (REAL / "LICENSE").read_text(encoding="utf-8")


def test_git_leaves_the_bytes_of_the_files_as_they_are():
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a clone: git says nothing of its files")
    command = ["git", "check-attr", "text", *(f"data/{name}" for name in data.FILES)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("text: unset") == 4, "Windows would change their line endings"


@pytest.fixture
def course_folder(tmp_path, monkeypatch):
    """A course whose data files are small, with sums of their own, to be harmed."""
    (tmp_path / "data").mkdir()
    rng, sums = np.random.default_rng(0), {}
    for name in data.FILES:
        size = 23_536 if "images" in name else 2_008  # 30 images, 2,000 labels and headers
        content = gzip.compress(rng.bytes(size), mtime=0)
        (tmp_path / "data" / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(data, "FOLDER", tmp_path / "data")
    monkeypatch.setattr(data, "FILES", sums)
    data._read_fashion_mnist.cache_clear()
    yield tmp_path
    data._read_fashion_mnist.cache_clear()


def rewrite(change):
    """A harm that puts `change(content)` in the place of a file's content."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def unlink_and(make):
    def harm(path):
        path.unlink()
        make(path)

    return harm


DAMAGED = "is damaged: its sum is not the publisher's"
HARM = {
    "missing": (Path.unlink, "is missing"),
    "truncated": (rewrite(lambda content: content[: len(content) // 2]), DAMAGED),
    "empty": (rewrite(lambda content: b""), DAMAGED),
    "one bit": (rewrite(flip), DAMAGED),
    "other data": (
        rewrite(lambda content: gzip.compress(bytes(len(gzip.decompress(content))))),
        DAMAGED,
    ),
    "line endings": (rewrite(lambda content: content.replace(b"\n", b"\r\n")), DAMAGED),
    "web page": (
        rewrite(lambda content: b"\n<!DOCTYPE html>Log in"),
        "is a web page, not the file",
    ),
    "pointer": (
        rewrite(lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:1"),
        "is a pointer of Git LFS, not the file",
    ),
    "folder": (unlink_and(Path.mkdir), "cannot be read ("),
    "loop": (unlink_and(lambda path: path.symlink_to(path.name)), "cannot be read ("),
}


@pytest.mark.parametrize("name", list(data.FILES))
@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_not_as_published_is_named_with_what_to_do(course_folder, harm, name):
    do_harm, problem = HARM[harm]
    do_harm(course_folder / "data" / name)
    with pytest.raises(data.DataError) as caught:
        data.load()
    said = str(caught.value)
    assert said.startswith(f"Fashion-MNIST cannot be loaded: data/{name} {problem}")
    for way_out in ("`git restore data`", "get the course again", "`pip install -e .`"):
        assert way_out in said
    assert str(course_folder) not in said
    assert str(pickle.loads(pickle.dumps(caught.value))) == said, "it travels between processes"
    assert data.load("digits").name == "digits"


@pytest.mark.parametrize("harm", HARM)
def test_in_a_clone_the_command_that_is_named_repairs_it(course_folder, harm):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*person, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=course_folder, check=True)
    name = "t10k-images-idx3-ubyte.gz"
    HARM[harm][0](course_folder / "data" / name)
    with pytest.raises(data.DataError) as caught:
        data.read_file(name)
    command, _ = re.findall("`(.+?)`", str(caught.value))
    assert command == "git restore data"
    subprocess.run(command.split(), cwd=course_folder, check=True)
    assert hashlib.md5(data.read_file(name)).hexdigest() == data.FILES[name]


def test_a_repaired_file_is_read_without_a_restart(monkeypatch, tmp_path):
    for name in data.FILES:
        (tmp_path / name).symlink_to(REAL / name)
    link = tmp_path / "train-labels-idx1-ubyte.gz"
    link.unlink()
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    data._read_fashion_mnist.cache_clear()
    with pytest.raises(data.DataError, match="is missing"):
        data.load()
    link.symlink_to(REAL / link.name)
    assert data.load(train_size=10).name == "fashion_mnist"
