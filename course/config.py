"""All that decides a training run besides the data, and what is refused of it.

Without Keras: an experiment is planned, and its results are shown, in a fraction of a second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import inf
from numbers import Integral, Real
from sys import float_info

MODELS = ("mlp", "cnn")  # builders in `course.models`
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Config:
    """All that decides a training run, besides the data.

    Parameters
    ----------
    model : {"mlp", "cnn"} or callable
        Builder in `course.models`, or a function of your own with the same frame:
        `build(input_shape, classes, *, seed, ...)` returns a keras.Model that is not compiled.
    options : mapping
        Keyword arguments of that builder, without `seed`.
    epochs : int
        Passes over the training set.
    batch_size : int
        Images a step. The images that do not fill the last batch of an epoch wait for the next
        epoch's shuffle, so that batch norm never sees a left-over batch of another size.
    optimizer : {"adam", "adamw", "sgd"}
        "sgd" is plain, without momentum or weight decay. "adamw" also takes a tenth of the learning
        rate off every weight at each step (Loshchilov and Hutter 2019).
    learning_rate : float
        Step size, at the start if there is a schedule.
    schedule : {"constant", "cosine"}
        "cosine" lets the learning rate fall to 0 at the last step.
    batch_norm_momentum : float
        Keras's `momentum` of every batch norm layer: the part of the moving statistics that is
        *kept* at each step. The course trains for a few hundred steps, too few for Keras's default
        of 0.99, so the default here is 0.9 (lesson 03 shows why).
    seed : int
        Fixes the initial weights, the order of the images, dropout and augmentation.
    """

    model: str | Callable = "mlp"
    options: Mapping = field(default_factory=dict)
    epochs: int = 5
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    batch_norm_momentum: float = 0.9
    seed: int = 0

    def __post_init__(self):
        if not callable(self.model):
            check_choice("model", self.model, MODELS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        if "seed" in self.options:
            raise ValueError(
                "options holds a seed: give Config(seed=...), which fixes all randomness."
            )
        check_number("learning_rate", self.learning_rate, "a number above 0", above=0)
        kept = "the part that is kept, from 0 to below 1"
        check_number("batch_norm_momentum", self.batch_norm_momentum, kept, least=0, below=1)
        check_count("seed", self.seed, least=0, below=2**20)


def did_you_mean(value, allowed):
    """The allowed name that was probably meant, as a sentence with a space in front; or nothing."""
    names = {str(choice): choice for choice in allowed}
    close = get_close_matches(str(value), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def check_choice(name, value, allowed):
    """Refuse what is none of the allowed values, and say which one was probably meant."""
    flag = isinstance(value, bool)  # to Python, 1 is True; here it is a number, and a slip
    if not any(value == choice and flag == isinstance(choice, bool) for choice in allowed):
        choices, hint = ", ".join(map(repr, allowed)), did_you_mean(value, allowed)
        raise ValueError(f"{name} is {value!r}; choose one of {choices}.{hint}")


def check_count(name, value, least=1, below=inf):
    """Refuse what is not a whole number of at least so much; True is none."""
    if not (isinstance(value, Integral) and not isinstance(value, bool) and least <= value < below):
        most = f" and below {below}" if below < inf else ""
        raise ValueError(f"{name} is {value!r}; give a whole number of at least {least}{most}.")


def is_number(value):
    """Whether a value is a finite number; True is none."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and abs(value) <= float_info.max


def check_number(name, value, what, least=-inf, above=-inf, below=inf, most=inf):
    """The plain float that a value is; refused if it is none within the bounds: give `what`."""
    if not (is_number(value) and least <= value <= most and above < value < below):
        raise ValueError(f"{name} is {value!r}; give {what}.")
    return float(value)  # np.float64(0.5) times a float32 array would be float64


def check_rate(name, rate):
    """A probability of dropping below 1 as a plain float; refused if it is none."""
    span = "from 0 to below 1 (at 1 nothing would be left)"
    what = f"the probability of dropping a value, such as 0.3 for 30 %: {span}"
    return check_number(name, rate, what, least=0, below=1)
