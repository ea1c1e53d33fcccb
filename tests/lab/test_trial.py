"""A trial from `-p` to the table: one merge, one set of defaults, types, and keys that stay."""

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from course import models
from course.app import cli
from course.app.cli import experiments
from course.config import Config
from course.lab import plan, trial
from course.lab.trial import PARAMETERS, Trial, merged, option_defaults

RESIDUAL = ["residual, before, learning rate 0.0005"]


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def planned(*texts):
    """The trial of a residual network with these `-p`."""
    parameters = dict(experiments._parameter(text) for text in texts)
    (only,) = plan.trials("placement", seeds=1, arms=RESIDUAL, parameters=parameters)
    return only


def test_a_backend_that_there_is_not_is_refused_before_anything_is_run(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "tensorfow")
    words = ["experiment", "exact", "--small", "--out", str(tmp_path)]
    shown = CliRunner().invoke(cli.app, words)
    said = " ".join(shown.output.split())
    assert shown.exit_code == 1 and isinstance(shown.exception, SystemExit), said
    assert "KERAS_BACKEND is 'tensorfow'" in said and "Did you mean 'tensorflow'?" in said
    assert not list(tmp_path.rglob("*.ipynb"))


# From a mapping and back
# -----------------------------------------------------------------------------------------


def values_like(default):
    """Values of the type of a parameter's default."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(1, 1_000)
    if isinstance(default, float):
        return st.floats(0.001, 0.9) | st.just(default)
    return st.just(default)


@st.composite
def mappings(draw):
    """What a trial may be made of: some parameters, of any template."""
    template = draw(st.sampled_from(sorted(PARAMETERS)))
    kinds = {name: values_like(value) for name, value in PARAMETERS[template].items()}
    if "measure" in kinds:
        kinds["measure"] = st.lists(st.sampled_from(["test", "target"]), unique=True)
    if "options" in kinds:
        if "model" in kinds:
            kinds["model"] = st.sampled_from(["mlp", "cnn"])
        names = {name: values_like(value) for name, value in option_defaults("cnn").items()}
        shared = set(names) & set(option_defaults("mlp"))
        kinds["options"] = st.fixed_dictionaries(
            {}, optional={name: names[name] for name in sorted(shared)}
        )
    some = draw(st.fixed_dictionaries({}, optional=kinds))
    return {"experiment": "e", "arm": draw(st.text(max_size=5)), "template": template} | some


@given(mappings())
def test_what_is_written_down_makes_the_same_trial(values):
    made = Trial.from_dict(values)
    written = json.loads(json.dumps(made.to_dict()))
    again = Trial.from_dict(written)
    assert again == made and again.key == made.key and again.to_dict() == made.to_dict()
    for name, value in values.items():
        if name in made.parameters and name != "options":
            assert made.parameters[name] == value


@given(mappings())
def test_a_default_that_is_spelled_out_changes_no_key(values):
    made = Trial.from_dict(values)
    names = {"experiment": made.experiment, "arm": made.arm, "template": made.template}
    assert Trial.from_dict(merged(names, made.spelled_out())).key == made.key
    assert Trial.from_dict(names | made.parameters) == made


def test_a_trial_cannot_be_changed_but_has_siblings():
    first = planned()
    with pytest.raises(AttributeError):
        first.train_size = 3
    second = first.with_seed(5)
    assert (first.seed, second.seed) == (0, 5)
    assert first.setting == second.setting and first.key != second.key


def test_the_images_are_those_of_the_seed():
    small = Trial.from_dict({"dataset": "digits", "train_size": 50, "validation_size": 0})
    images = small.with_seed(3).load_data()
    assert len(images.x_train) == 50 and images.provenance.endswith("seed 3.")
    assert len(images.x_validation) == 300, "0: as many as there are by default"


def test_options_are_those_of_the_builders():
    for name in ("mlp", "cnn"):
        arguments = inspect.signature(getattr(models, name)).parameters.values()
        known = {one.name: one.default for one in arguments if one.kind is one.KEYWORD_ONLY}
        assert option_defaults(name) | {"seed": 0} == known


def test_later_layers_win_and_mappings_add_up():
    first = {"epochs": 1, "options": {"width": 32, "rate": 0.5}}
    assert merged(first, {"options.rate": 0.1}, {"epochs": 3}) == {
        "epochs": 3,
        "options": {"width": 32, "rate": 0.1},
    }
    assert merged(first, {"options": {"rate": 0}}, {"options.depth": 3})["options"] == {
        "width": 32,
        "rate": 0,
        "depth": 3,
    }
    assert merged({"measure": ["test"]}, {"measure": []}) == {"measure": []}, "a list is replaced"
    assert first["options"] == {"width": 32, "rate": 0.5}, "and nothing is changed on the way"


# Keys
# -------------------------------------------------------------------------------------------------


def test_keys_stay_as_they_are():
    """The committed results are found under them: whoever changes the hash, a default or the code
    of a template must give them new keys (`results/rekey.py`) or compute everything again.
    """
    some = Trial.from_dict(
        {
            "experiment": "name",
            "arm": "arm",
            "dataset": "digits",
            "epochs": 3,
            "model": "cnn",
            "options": {"conv_rate": 0.1, "size": "small"},
            "seed": 1,
        }
    )
    assert (some.key, some.setting) == ("641187ac30c384ef", "8df54093d54f9061")


def test_defaults_stay_as_they_are():
    """A key holds what differs from them; another default would give stored keys another sense."""
    defaults = [PARAMETERS, option_defaults("mlp"), option_defaults("cnn")]
    assert trial._hash(defaults) == "963b257953f3a790"


def test_keys_are_the_same_in_another_process():
    code = "from course.lab import plan; print(*[one.key for one in plan.trials('eight', seeds=1)])"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == [one.key for one in plan.trials("eight", seeds=1)]


def test_a_key_does_not_depend_on_how_a_value_is_written():
    assert planned("learning_rate=1", "options.rate=[0.5, 1]").key == (
        planned("learning_rate=1.0", "options.rate=(.5, 1.0)").key
    )
    assert type(planned("epochs=3.0").config.epochs) is int, "one cannot count to 3.0"


def test_the_names_are_not_part_of_the_key():
    """An arm can be renamed, and two experiments that share a setting agree on it."""
    assert replace(planned(), arm="another", experiment="another").key == planned().key


# Types
# ------------------------------------------------------------------------------------------------


def test_true_and_false_are_written_as_one_likes_and_mean_what_they_say():
    """`-p options.residual=False` once turned residual connections on: the text is not empty."""
    from course import training

    few = ["options.depth=3", "dataset=digits", "train_size=100", "validation_size=100"]
    adds = {}
    for text in ("False", "false", "True", "true"):
        made = planned(f"options.residual={text}", *few)
        layers = training.build(made.config, made.load_data()).layers
        adds[text] = sum(type(layer).__name__ == "Add" for layer in layers), made.key
    assert adds["False"] == adds["false"] and adds["True"] == adds["true"]
    assert adds["False"][0] == 0 and adds["True"][0] == 2


def test_numbers_are_written_as_one_likes():
    assert planned("options.rate=.5") == planned("options.rate=0.5")
    assert planned("learning_rate=.001").config.learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("options.residual=no", "options.residual is 'no'; give true or false."),
        ("options.residual=off", "options.residual is 'off'; give true or false."),
        ("options.residual=1", "options.residual is 1; give true or false."),
        ("options.residual=None", "options.residual is None; give true or false."),
        ("options.width=true", "options.width is True; give a whole number"),
        ("options.width=2.5", "options.width is 2.5; give a whole number"),
        ("options.initial_scale=true", "options.initial_scale is True; give a number"),
        ("options.rate=[0.5, true]", "options.rate is True; give a number"),
        ("options.norm=3", "options.norm is 3; give text, such as its default, 'none'."),
        ("options.widht=3", "An option of mlp is 'widht'; .* Did you mean 'width'"),
        ("options.size=small", "An option of mlp is 'size'"),
        ("learning_rate=Infinity", "learning_rate is inf; give a number"),
        ("learning_rate=-Infinity", "learning_rate is -inf; give a number"),
        ("learning_rate=NaN", "learning_rate is nan; give a number"),
        ("learning_rate=1e999", "learning_rate is inf; give a number"),
        ("learning_rate=1" + "0" * 400, "learning_rate is 10"),
        ("learning_rate=1j", "learning_rate is 1j; give a number"),
        ("learning_rate=0", "learning_rate is 0; give a number above 0"),
        ("learning_rate=true", "learning_rate is True"),
        ("batch_norm_momentum=1", ".* the part that is kept"),
        ("model=rnn", "model is 'rnn'; choose one of 'mlp', 'cnn'"),
        ("optimizer=adan", ".* Did you mean 'adam'"),
        ("dataset=mnist", "dataset is 'mnist'; choose one of"),
        ("measure_every=false", "measure_every is False; give a whole number"),
    ],
)
def test_a_wrong_type_is_refused_in_one_sentence(text, words):
    with pytest.raises(plan.PlanError, match=f"Arm '{RESIDUAL[0]}' cannot be run: {words}"):
        planned(text)


@pytest.mark.parametrize(
    ("template", "name"), [("exact", "epochs"), ("ghost", "options"), ("leakage", "schedule")]
)
def test_what_a_template_has_no_use_for_is_refused(template, name):
    with pytest.raises(plan.PlanError, match=f"There is no parameter of {template} '{name}'"):
        plan.trials(template, parameters={name: 3})
    with pytest.raises(ValueError, match=f"A parameter of {template} is '{name}'"):
        Trial.from_dict({"template": template, name: 3})


def test_a_config_checks_what_a_lesson_gives_it():
    with pytest.raises(ValueError, match="epochs is True"):
        Config(epochs=True)


def test_python_and_json_and_text():
    cases = {"a=1": 1, "a=true": True, "a=True": True, "a=x": "x", "a=[1,": "[1,", "a=": ""}
    assert {text: experiments._parameter(text) for text in cases} == {
        text: ("a", value) for text, value in cases.items()
    }


def test_the_identity_of_a_data_set_stays_what_it_is():
    """The keys of all committed results depend on it."""
    assert trial.identity("fashion_mnist") == "3e661c22b13e080d9920b5382871fa6e"
    assert trial.identity("digits") == "0af20a105e04dcf55c5d1bc47c958850"
