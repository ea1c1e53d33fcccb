"""The claims and their arms fit together: nothing is trained here."""

import re
from collections import Counter
from functools import cache, partial
from itertools import chain

import pytest

from course import data
from course.lab import catalogue, claims, ledger, plan, results, verdict
from course.lab.metrics import names_of
from course.lab.trial import TEMPLATES, Trial, merged

# What texts on the subject say. A claim that turns out badly must not vanish from here.
FIRST_EDITION = """
    formula undo epsilon per-channel ics-cause higher-lr faster initialisation depth
    mild-regulariser inference-deterministic small-batch small-batch-threshold placement-bn
    classic-scaling expectation ensemble overfit rate-sweep data-size conv-dropout dropout-off
    eval-mode eval-mode-afterwards momentum-steps train-loss-mode variance-shift bn-before-dropout
    dropout-last redundant interaction both-solve both-then-more mc-dropout E1 E2 E3 E4 E5 E6 E7 E8
    E8-best E8-number resnet-152 recurrent layer-norm-features leakage norm-transformer determinism
""".split()
NEW = """
    sparsity spatial-dropout train-loss-moving lag shift-width scale-invariance early-stopping
    dropout-accuracy equal-training dropout-epochs early-dropout decay-as-rate fold accumulation
    adapted-statistics frozen-tuning zero-branch dynamic-tanh stochastic-depth label-smoothing
    weight-decay temperature calibration-floor mc-foreign
""".split()
KEPT = ("eight", "eight full", "cost", "large", "per second", "per second full", "moving input")
# Asked at settings that the sentence itself names, or of the arm that is the question.
NAMED_SETTINGS = {"higher-lr", "leakage"}
TEST = ("best_test_loss", "best_test_accuracy")
ALL = (*claims.CLAIMS, *claims.FACTS)


def contrasts(asked=ALL):
    return [(claim, one) for claim in asked for one in claim.contrasts + claim.controls]


def trial_of(experiment, arm):
    one = catalogue.EXPERIMENTS[experiment]
    return Trial.from_dict({"template": one.template} | merged(one.common, one.arms[arm]))


def metrics_of(experiment, arm):
    """The names of all metrics that a run of this arm has."""
    trial = trial_of(experiment, arm)
    if trial.template == "exact":
        text = (TEMPLATES / "exact.ipynb").read_text(encoding="utf-8")
        quoted = set(re.findall(r'\\"(\w+)\\"', text))
        return quoted | {f"{name}_error" for name in quoted}  # some are made in a loop
    return set(chain.from_iterable(names_of(name) for name in ("final", *trial.measure)))


# The list
# ------------------------------------------------------------------------------------------


def test_every_claim_is_there_once():
    ids = Counter(claim.id for claim in ALL)
    assert ids == Counter(FIRST_EDITION + NEW)
    assert {fact.id for fact in claims.FACTS} == {"epsilon", "determinism"}


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.id)
def test_each_claim_says_what_who_and_about_what(claim):
    assert claim.sentence.endswith(".") and len(claim.sentence.split()) > 1
    assert claim.source and set(claim.source.split(", ")) <= {"N", "E", "-"}
    assert claim.scope and claim.group in claims.GROUPS


def test_scopes_name_fewer_seeds_and_fewer_images():
    named = ("batch_statistics", "adapted", "fine_tuning", "dropout_on")
    on_validation = {name for one in named for name in names_of(one)}
    for claim in ALL:
        metrics = {metric for one in claim.contrasts for _, metric in one.terms}
        few = bool(metrics & on_validation)
        assert ("judged on 2,000 validation images" in claim.scope) == few, claim.id
        if "transformer, six blocks" in {one.experiment for one in claim.contrasts}:
            first, second = catalogue.EXPERIMENTS["transformer, six blocks"].looks
            assert re.search(rf"\b{first} seeds, or {second}\b", claim.scope), claim.id


def test_claims_stand_by_groups():
    order = [claims.GROUPS.index(claim.group) for claim in claims.CLAIMS]
    assert order == sorted(order) and set(order) == set(range(len(claims.GROUPS)))


def test_a_tendency_is_a_claim_that_says_most():
    assert [claim.id for claim in ALL if claim.kind == "most of"] == ["both-solve"]
    assert "most" in next(claim.sentence for claim in ALL if claim.id == "both-solve")


# The contrasts
# ------------------------------------------------------------------------------------------


def test_contrasts_compare_arms_that_exist_in_metrics_that_they_have():
    beside = [(claim, one) for claim in ALL for also in claim.beside for one in also.contrasts]
    for claim, one in contrasts() + beside:
        arms = catalogue.EXPERIMENTS[one.experiment].arms
        for arm, metric in one.terms:
            several = arm if isinstance(arm, tuple) else (arm,)
            assert several, f"{claim.id}, {one.name}: no such arm"
            for name in several:
                assert name in arms, f"{claim.id}: {name}"
                has = metrics_of(one.experiment, name)
                assert metric in has, f"{claim.id}: {name} has no {metric}"
                if isinstance(arm, tuple):
                    assert one.chosen_by in has, f"{claim.id}: {name} has no {one.chosen_by}"


def test_better_is_asked_of_arms_at_their_best_of_three_settings():
    for claim, one in contrasts():
        for arm, metric in one.terms:
            if metric in TEST and claim.id not in NAMED_SETTINGS:
                assert isinstance(arm, tuple) and len(arm) >= 3, f"{claim.id}: {one.name}"


def test_settings_of_an_arm_differ_in_what_is_tuned_and_in_nothing_else():
    """Or in two things, where the second is the noise that is asked about."""
    for _, one in contrasts():
        for arm, _ in one.terms:
            if not isinstance(arm, tuple) or one.experiment in KEPT:
                continue
            spelled = [trial_of(one.experiment, name).spelled_out() for name in arm]
            differ = {
                name for name in spelled[0] if len({repr(values[name]) for values in spelled}) > 1
            } - {"measure"}
            assert len(differ) == 1 or differ == {"ghost_size", "learning_rate"}, one.name


def test_an_effect_that_disappears_has_controls_that_show_it():
    vanishing = {claim.id: claim for claim in ALL if claim.disappears}
    assert set(vanishing) == {"ics-cause", "early-stopping", "lag"}
    for claim in vanishing.values():
        assert claim.controls and all(one.expected != "same" for one in claim.controls)


def test_one_verb_has_one_smallest_difference():
    for claim, one in contrasts():
        if one.experiment == "exact":
            continue
        allowed = {
            claims.smallest(metric) for _, metric in one.terms if metric != "best_epoch_log2"
        }
        if claim.id in ("E8-number", "dropout-epochs"):
            assert one.smallest == 0 and one.offset
        elif one.smallest == 0:
            assert {abs(one.offset)} == allowed, f"{claim.id}: no worse than, by what matters"
        else:
            assert {one.smallest} == allowed, f"{claim.id}: {one.name}"


def test_what_is_not_worse_is_bounded_on_the_side_where_it_would_be():
    for claim, one in contrasts():
        if one.smallest == 0 and claim.id not in ("E8-number", "dropout-epochs", "expectation"):
            assert (one.expected == "lower") == (one.offset > 0), f"{claim.id}: {one.name}"


def test_contrasts_weigh_differences():
    """Weights that add up to 0, or a single metric as it is; and none is of an arm with itself."""
    for claim, one in contrasts():
        weights = list(one.terms.values())
        assert weights == [1] or abs(sum(weights)) < 1e-9, f"{claim.id}: {one.name}"
        assert 0 not in weights


def test_no_question_is_asked_twice():
    asked = Counter(
        (one.experiment, frozenset(one.terms.items()), one.expected, one.offset)
        for claim in ALL
        for one in claim.contrasts
    )
    assert not [question for question, times in asked.items() if times > 1]


@pytest.mark.parametrize(
    ("costs", "size"),
    [
        ([0.5, 0.12, 0.02, 0.01], 8),
        ([0.5, 0.12, 0.03, 0.01], 8 * 2**0.5),  # half way from 8 to 16, on the logarithm
        ([0.5, 0.4, 0.3, 0.04], 16 * 4**0.5),  # at 64 it costs nothing
        ([0.01, 0.01, 0.0, 0.0], 2),
        ([0.5, 0.0, 0.03, 0.01], 8 * 2**0.5),  # the last of two
    ],
)
def test_the_threshold_of_small_batches_lies_between_the_sizes(costs, size):
    assert claims.threshold(costs) == pytest.approx(size)


# The arms
# ------------------------------------------------------------------------------------------


def test_every_arm_of_the_ledger_is_asked_about():
    used = {(one.experiment, arm) for _, one in contrasts() for arm in one.arms}
    shown = {"modes", "momentum", "early dropout"}  # some of theirs are for the pictures
    for name, one in catalogue.EXPERIMENTS.items():
        if name in KEPT or name in shown or name.endswith(" digits"):
            continue
        idle = [arm for arm in one.arms if (name, arm) not in used]
        assert not idle, f"{name}: {idle}"


@pytest.mark.parametrize("name", catalogue.EXPERIMENTS)
def test_no_two_arms_of_an_experiment_are_equal(name):
    settings = Counter(trial.setting for trial in plan.trials(name, seeds=1))
    assert set(settings.values()) == {1}


@pytest.mark.parametrize("name", catalogue.EXPERIMENTS)
def test_looks_are_two_the_second_of_twice_as_many_seeds(name):
    one = catalogue.EXPERIMENTS[name]
    first, second = one.looks
    assert second == 2 * first and one.seeds == first
    assert len(plan.trials(name)) == first * len(one.arms)


def test_dense_arms_have_64_seeds_and_convolutional_ones_24():
    for name, one in catalogue.EXPERIMENTS.items():
        if name.removesuffix(" digits") in KEPT or name in ("exact", "large, frozen"):
            continue
        models = {trial.config.model for trial in plan.trials(name, seeds=1)}
        slow = models == {"cnn"} or name == "transformer, six blocks"
        assert one.looks == ((24, 48) if slow else (64, 128)), name


def test_arms_of_the_ledger_are_measured_often_and_at_their_best_epoch():
    for name, one in catalogue.EXPERIMENTS.items():
        if name.removesuffix(" digits") in KEPT or name in ("exact", "large, frozen"):
            continue
        for arm in one.arms:
            trial = trial_of(name, arm)
            assert "best" in trial.measure, f"{name}: {arm}"
            assert trial.measure_every == 1 or trial.dataset == "digits"
            assert trial.config.epochs / trial.measure_every >= 4, "measurements to choose from"
            assert trial.validation_size == 2_000


def test_the_frozen_recipe_is_that_of_the_large_network_on_other_seeds():
    (arm,) = catalogue.EXPERIMENTS["large"].arms
    assert trial_of("large", arm) == trial_of("large, frozen", arm)
    chosen_on = {trial.seed for trial in plan.trials("large", seeds=6)}
    assert not chosen_on & {trial.seed for trial in plan.trials("large, frozen", seeds=10)}


@pytest.mark.parametrize("name", catalogue.ON_BOTH)
def test_a_twin_on_digits_has_the_same_arms_in_as_many_steps(name):
    one, twin = catalogue.EXPERIMENTS[name], catalogue.EXPERIMENTS[f"{name} digits"]
    assert list(one.arms) == list(twin.arms) and one.looks == twin.looks
    longer = 2 if name == "two by two" else 1
    for trial, other in zip(
        plan.trials(name, seeds=1), plan.trials(f"{name} digits", seeds=1), strict=True
    ):
        assert other.dataset == "digits"
        most = data.SIZES["digits"]
        assert other.train_size <= most[0] and other.validation_size <= most[1]
        assert 0.8 < steps(other) / (longer * steps(trial)) < 1.25, other.arm
        same = {"norm", "options", "rate", "learning_rate", "blocks", "ghost_size", "measure"}
        for parameter in same & set(trial.parameters):
            assert trial.parameters[parameter] == other.parameters[parameter]


def test_small_versions_can_be_planned():
    for name in catalogue.EXPERIMENTS:
        for trial in plan.trials(name, small=True):
            assert trial.template == "exact" or steps(trial) > 0, f"{name}: {trial.arm}"


def test_runs_of_the_first_edition_that_are_still_judged_are_there():
    rows, _ = results.load(plan.trials("moving input"))
    assert rows.groupby("arm").size().min() >= 8 and rows["jump"].notna().all()
    for name in ("eight", "eight full"):
        rows, _ = results.load(plan.trials(name))
        assert rows.groupby("arm").size().min() >= 5 and rows["test_loss"].notna().all()


# The cost
# ------------------------------------------------------------------------------------------


def steps(trial):
    """How many training steps a run takes; of all images 50,000."""
    return trial.config.epochs * ((trial.train_size or 50_000) // trial.config.batch_size)


def seconds(trial):
    """About what a run costs one core, measuring after each epoch included.

    From 0.8 ms a step of 64 images in a dense network of 2 x 256 on JAX; 8 s for 30 epochs of a
    thousand images in the small convolutional network; 2.5 ms a step of a transformer block.
    """
    if trial.config.model == "cnn":
        return 8 * trial.config.epochs / 30 * trial.train_size / 1_000
    if trial.template == "transformer":
        return (0.0025 * trial.own["blocks"] + 0.001) * steps(trial) * 1.5
    inputs = 64 if trial.dataset == "digits" else 784
    options = dict(trial.config.options) | dict(trial.own)
    width, depth = options.get("width", 128), options.get("depth", 2)
    weights = inputs * width + (depth - 1) * width**2
    of_a_step = 0.3e-3 * weights / 266_000 + 0.02e-3 * depth  # the optimizer, and calls
    of_an_image = 0.5e-3 / 64 * weights / 266_000
    looks = min(trial.validation_size, data.SIZES[trial.dataset][1]) + min(trial.train_size, 2_000)
    trained = steps(trial) * (of_a_step + trial.config.batch_size * of_an_image)
    return trained + trial.config.epochs / trial.measure_every * looks * of_an_image / 3


ARM = 5  # seconds of one core that an arm takes to start its kernel and compile


def test_a_claim_is_tested_on_a_small_scale_in_a_minute(monkeypatch):
    """On two cores, once the ledger has chosen each arm's setting: here it is the slowest one."""

    def slowest(contrast, rows, looks):
        several = [arm for arm, _ in contrast.terms if isinstance(arm, tuple)]
        return {arm: max(arm, key=partial(small_seconds, contrast.experiment)) for arm in several}

    @cache
    def small_seconds(experiment, arm):
        (trial,) = plan.trials(experiment, small=True, seeds=1, arms=[arm])
        return seconds(trial)

    monkeypatch.setattr(ledger, "_rows", lambda name, out: None)
    monkeypatch.setattr(verdict, "best_settings", slowest)
    for claim in ALL:
        groups = ledger.trials_of(ledger.at_chosen_settings(claim), small=True)
        trials = [one for trials in groups for one in trials if one.template != "exact"]
        arms = {(one.experiment, one.arm) for one in trials}
        expected = (sum(map(seconds, trials)) + ARM * len(arms)) / 2
        assert expected < 60, f"{claim.id}: {len(arms)} arms, about {expected:.0f} s"


def cost():
    """Arms and about how many hours of one core, by experiment, of the first look."""
    rows = {}
    for name, one in catalogue.EXPERIMENTS.items():
        if name not in KEPT and name not in ("exact", "large, frozen"):
            trials = plan.trials(name, seeds=1)
            hours = one.looks[0] * sum(map(seconds, trials)) / 3_600
            rows[name] = (len(trials), hours)
    return rows


def test_the_first_look_takes_two_cores_some_hours():
    rows = cost()
    for name, (arms, hours) in rows.items():
        print(f"{name:30} {arms:4} arms {hours:6.2f} h")
    total = sum(hours for _, hours in rows.values())
    print(f"{'together':30} {sum(arms for arms, _ in rows.values()):4} arms {total:6.2f} h")
    assert total < 12
    dense = sum(
        arms for name, (arms, _) in rows.items() if name != "conv" and not name.endswith(" digits")
    )
    assert rows["conv"][0] <= 25 and dense <= 350


def test_numbers_beside_the_verdicts_are_those_of_the_runs():
    """What `REASONS` and `afterwards` say in figures."""

    def means(name, controls=False):
        (entry,) = ledger.look_up(asked=[ledger.find(name)])
        found = entry.controls if controls else entry.findings
        return [abs(one.interval.mean) for one in found]

    least, most = sorted(means("early-stopping", controls=True))
    assert f"by {least:.2f} to {most:.2f}:" in claims.REASONS["overfit"]
    assert f"adds {means('both-solve')[0]:.3f} to batch norm" in claims.REASONS["redundant"]
    (gain,) = means("weight-decay", controls=True)
    assert f"lowers the loss by {gain:.3f} here" in claims.LITTLE_TO_REPLACE
