"""One planned run of an experiment: from `-p` on the command line to the table of results."""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path

from course import data
from course.config import MODELS, Config, check_choice, did_you_mean, is_number
from course.lab.errors import UserError

BACKENDS = ("tensorflow", "jax", "torch")  # of Keras; the usual one first
TEMPLATES = Path(__file__).resolve().parents[2] / "notebooks" / "experiments"
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
}


@dataclass(frozen=True)
class Trial:
    """One execution of a template: all that decides what it puts out.

    Make it with `from_dict`, which checks names and types.

    Attributes
    ----------
    experiment, arm : str
        What it is called. Trials that differ in nothing else have one key, and one result.
    template : str
        Notebook in `notebooks/experiments/`, a key of `PARAMETERS`.
    dataset : str
    train_size, validation_size : int
        Images; 0 is all that are not held out.
    config : course.config.Config
        Its seed also chooses the images, so that intervals over seeds hold for other images, too.
        Its options are those that differ from the builder's defaults.
    measure_every : int
        Epochs.
    record_every : int
        Steps; 0 records no statistics of layers.
    measure : tuple of str
        Keys of `course.lab.measures.MEASURES`.
    own : mapping
        Parameters that only this template has.
    """

    experiment: str = ""
    arm: str = ""
    template: str = "train"
    dataset: str = "fashion_mnist"
    train_size: int = 2_000
    validation_size: int = 2_000
    config: Config = Config()
    measure_every: int = 1
    record_every: int = 0
    measure: tuple[str, ...] = ()
    own: Mapping = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values):
        """The trial that a flat mapping describes; what it leaves out is at its default.

        Raises
        ------
        ValueError
            For a name that the template or the model does not know, or a value of a wrong type.
        """
        values = dict(values)
        names = {name: values.pop(name, "") for name in ("experiment", "arm")}
        template = values.pop("template", cls.template)
        check_choice("template", template, PARAMETERS)
        defaults, values = PARAMETERS[template], _plain(values)
        for name, value in values.items():
            check_choice(f"A parameter of {template}", name, defaults)
            _check_kind(name, value, defaults[name])
        values = defaults | values
        check_choice("dataset", values["dataset"], data.SIZES)
        of_config = {name: values.pop(name) for name in CONFIG if name in values}
        if "options" in of_config:
            model = of_config.get("model", Config.model)
            of_config["options"] = _options(model, of_config["options"])
        of_trial = {name: values.pop(name) for name in SHARED if name in values}
        if "measure" in of_trial:
            of_trial["measure"] = tuple(of_trial["measure"])
        return cls(**names, template=template, config=Config(**of_config), **of_trial, own=values)

    def to_dict(self):
        """What differs from the defaults, flat, as JSON has it; `from_dict` makes the same trial.

        So a default that is spelled out is no other trial, and a parameter that the course gains
        later, with a default that does what was done before, leaves the keys as they are.
        """
        defaults = PARAMETERS[self.template]
        names = {name: getattr(self, name) for name in ("experiment", "arm", "template")}
        changed = {k: value for k, value in self.parameters.items() if value != defaults[k]}
        return names | changed

    @property
    def parameters(self):
        """All parameters that its template has, by name, defaults included."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values |= vars(self.config) | self.own | {"measure": list(self.measure)}
        return {name: values[name] for name in PARAMETERS[self.template]}

    def spelled_out(self):
        """The parameters with every option of the model, each as "options.NAME"."""
        values = self.parameters
        if "options" in values:
            options = option_defaults(self.config.model) | values.pop("options")
            values |= {f"options.{name}": value for name, value in options.items()}
        return values

    @property
    def seed(self):
        """Of the initial weights, the order, the masks, and the choice of images."""
        return self.config.seed

    def with_seed(self, seed):
        """The same with another seed."""
        return replace(self, config=replace(self.config, seed=seed))

    def load_data(self):
        """Its images, a `course.data.Data`."""
        sizes = {name: getattr(self, name) or None for name in ("train_size", "validation_size")}
        return data.load(self.dataset, **sizes, seed=self.seed)

    @property
    def backend(self):
        """The backend of Keras that it is computed on: KERAS_BACKEND or, if unset, the faster one.

        On a CPU that is JAX for dense networks, whose seeds it trains at once, and TensorFlow for
        convolutions.

        Raises
        ------
        course.lab.errors.UserError
            If KERAS_BACKEND is none of `BACKENDS`.
        """
        wanted = os.environ.get("KERAS_BACKEND") or BACKENDS[self._is_dense]
        if wanted not in BACKENDS:
            raise UserError(
                f"KERAS_BACKEND is {wanted!r}; unset it, or choose one of"
                f" {', '.join(BACKENDS)}.{did_you_mean(wanted, BACKENDS)}"
            )
        return wanted

    @property
    def _is_dense(self):
        return self.config.model == "mlp" and self.template != "exact"

    @property
    def key(self):
        """Hash of all that decides a run, the backend included: equal keys, equal results."""
        return self.key_on(self.backend)

    def key_on(self, backend):
        """The key on a backend of Keras, one of `BACKENDS`."""
        return _hash([self.setting_on(backend), self.seed])

    @property
    def setting(self):
        """The same without the seed: what the trials of one arm have in common."""
        return self.setting_on(self.backend)

    def setting_on(self, backend):
        """The setting on a backend of Keras, one of `BACKENDS`."""
        values = self.to_dict()
        setting = {
            name: values[name] for name in values if name not in ("experiment", "arm", "seed")
        }
        return _hash([setting, identity(self.dataset), backend, text_of(self.template)])


CONFIG = {one.name: getattr(Config(), one.name) for one in fields(Config)}
# Every default there is, by the parameter's name; a changed one would give old keys a new meaning.
SHARED = {
    name: getattr(Trial, name)
    for name in ("dataset", "train_size", "validation_size", "measure_every", "record_every")
} | {"measure": [], **CONFIG}


def _without(*names, **own):
    return {name: value for name, value in SHARED.items() if name not in names} | own


# By template: the parameters that it has, with their defaults, whose types are theirs.
PARAMETERS = {
    "train": SHARED,
    "exact": {name: SHARED[name] for name in ("dataset", "seed")},
    "leakage": _without("model", "schedule", "record_every", batches="shuffled"),
    "ghost": _without(
        "model", "options", "record_every", ghost_size=32, depth=2, width=128, rate=0.0
    ),
    "transformer": _without(
        "model", "options", "record_every", norm="layer", order="pre", blocks=1, rate=0.1
    ),
    "variants": _without(
        "model",
        "options",
        "record_every",
        norm="none",
        depth=2,
        width=256,
        residual=False,
        branch="plain",
        survival=1.0,
        rate=0.0,
        drop_until=0,
        label_smoothing=0.0,
        weight_decay=0.0,
        initial_scale=1.0,
    ),
}


@cache
def option_defaults(model):
    """The options of a builder in `course/models.py` and their defaults.

    Read, not imported: that would import Keras, which takes seconds.
    """
    source = Path(data.__file__).with_name("models.py").read_text(encoding="utf-8")
    arguments = next(
        node.args
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == model
    )
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {one.arg: ast.literal_eval(default) for one, default in pairs if one.arg != "seed"}


def merged(*layers):
    """One mapping of several, deep: the later wins, and a mapping in it adds to the earlier one.

    "options.rate" is the entry `rate` of `options`.
    """
    result = {}
    for layer in layers:
        for name, value in layer.items():
            name, _, entry = name.partition(".")
            value = {entry: value} if entry else value
            if isinstance(value, Mapping):
                earlier = result.get(name)
                value = merged(earlier if isinstance(earlier, Mapping) else {}, value)
            result[name] = value
    return result


def text_of(template):
    """Hash of the code of a template that decides its results.

    Its prose does not count, nor do cells tagged "parameters" or "picture".
    """
    path = TEMPLATES / f"{template}.ipynb"
    return _text_of(path, path.stat().st_mtime_ns)


@cache
def _text_of(path, changed):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return _hash(
        [
            "".join(cell["source"])
            for cell in cells
            if cell["cell_type"] == "code"
            and not {"parameters", "picture"} & {*cell["metadata"].get("tags", ())}
        ]
    )


@cache
def identity(dataset):
    """A sum over a data set's files, the same wherever the same images and labels are loaded."""
    if dataset == "fashion_mnist":
        content = "".join(data.FILES.values()).encode()
    else:
        from sklearn.datasets import load_digits

        content = b"".join(array.tobytes() for array in load_digits(return_X_y=True))
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _hash(value):
    # Changed, it would orphan all results there are: their keys would be asked for no more.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value):
    """The value as JSON has it, whole numbers as such: 1 and 1.0 are the same."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _options(model, options):
    """The options that differ from the builder's defaults; refused if it does not know them."""
    check_choice("model", model, MODELS)
    defaults = option_defaults(model)
    for name, value in options.items():
        check_choice(f"An option of {model}", name, defaults)
        one_a_block = isinstance(value, list) and isinstance(defaults[name], float)
        for entry in value if one_a_block else [value]:
            _check_kind(f"options.{name}", entry, defaults[name])
    return {name: value for name, value in options.items() if value != defaults[name]}


def _check_kind(name, value, default):
    kind = type(default)
    if not (is_number(value) if kind is float else type(value) is kind):
        such = "" if kind is bool else f", such as its default, {default!r}"
        raise ValueError(f"{name} is {value!r}; give {KINDS[kind]}{such}.")
