"""A claim of your own, tested by the rule of the ledger.

A file of ten lines, for `course claims --file mine.py`, or a cell of a notebook::

    from course.lab.own import Question

    mine = Question(
        "Dropout helps a wide network more than batch norm does.",
        arms={
            "dropout": {"options": {"width": 512, "rate": 0.5}},
            "batch norm": {"options": {"width": 512, "norm": "batch"}},
        },
        minus=("dropout", "batch norm"),
        metric="best_test_loss", expected="lower", smallest=0.02,
    )

In a notebook `mine.power()`, `mine.run()` and `mine.draw(axes, entry)` do the same, one after
the other.
"""

import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from course.config import check_choice, check_count
from course.lab import ledger, pictures, plan, results, sweep, verdict
from course.lab.catalogue import Experiment
from course.lab.errors import UserError
from course.lab.metrics import METRICS, names_of
from course.lab.trial import PARAMETERS
from course.lab.verdict import Claim, Contrast

PILOT = range(2_000, 2_004)  # seeds that no look has: they tell the spread, and nothing else
MOST_SEEDS = PILOT[0] // 2  # of a first look
LIVE = results.RESULTS / "live"  # beside the committed results, and not one of them


class QuestionError(UserError, ValueError):
    """A claim of one's own that cannot be asked; says what to change."""


@dataclass(frozen=True)
class Question:
    """What is compared with what, and what is expected.

    Parameters
    ----------
    sentence : str
        The claim.
    arms : mapping of str to mapping
        By the name of the arm: the parameters of the template in which it differs, as in
        `course.lab.catalogue`.
    minus : (str, str)
        The contrast: the first arm minus the second.
    metric : str
        Such as "best_test_loss"; `course.lab.metrics.METRICS` lists them by measure.
    expected : {"higher", "lower", "same"}
    smallest : float
        The smallest difference that matters.
    seeds : int
        Of the first look, a thousand at most; the second has twice as many.
    common : mapping
        Parameters that all arms share.
    template : str

    Raises
    ------
    QuestionError
        For an arm, metric, word or number that cannot be.
    """

    sentence: str
    arms: Mapping[str, Mapping]
    minus: tuple[str, str]
    metric: str
    expected: str
    smallest: float
    seeds: int = 16
    common: Mapping = field(default_factory=dict)
    template: str = "train"

    def __post_init__(self):
        try:
            self._check()
            _ = self.claim  # refuses unknown words, and a number that cannot be
            one, other = self.trials(1)  # refuses unknown parameters
            for trial in (one, other):
                if not any(self.metric in names_of(name) for name in ("final", *trial.measure)):
                    raise ValueError(
                        f"{trial.arm!r} has a measure of its own, which does not give"
                        f" {self.metric!r}: leave it out."
                    )
            if one.setting == other.setting:
                raise ValueError(f"{one.arm!r} and {other.arm!r} are the same runs.")
        except ValueError as error:
            raise QuestionError(f"This claim cannot be asked: {error}") from error

    def _check(self):
        """Refuse what is of a wrong kind."""
        if not isinstance(self.sentence, str) or not _words(self.sentence):
            raise ValueError(
                f"sentence is {self.sentence!r}; give a text with Latin letters, which name the"
                " folder of its results."
            )
        if not _is_named(self.arms):
            raise ValueError(
                f"arms is {self.arms!r}; give the parameters of each arm by its name:"
                ' {"dropout": {"options": {"rate": 0.5}}, ...}.'
            )
        for name, changes in (("common", self.common), *self.arms.items()):
            if not _is_named(changes):
                raise ValueError(
                    f'{name} is {changes!r}; give parameters by their names: {{"epochs": 3}}.'
                )
            if "seed" in changes:
                raise ValueError(
                    f"seed is a parameter in {name}; leave it out: each run has its own, and seeds"
                    " says how many."
                )
            if not isinstance(changes.get("measure", []), (list, tuple)):
                raise ValueError(
                    f"measure of {name} is {changes['measure']!r}; give a list, or leave it out:"
                    " what the metric needs is measured anyway."
                )
        if not isinstance(self.minus, (list, tuple)) or len(self.minus) != 2:
            raise ValueError(f"minus is {self.minus!r}; give the names of two arms.")
        for arm in self.minus:
            check_choice("An arm of minus", arm, self.arms)
        if self.minus[0] == self.minus[1]:
            raise ValueError(f"minus is {self.minus!r}; give the names of two different arms.")
        check_choice("template", self.template, PARAMETERS)
        check_choice("metric", self.metric, [name for one in METRICS for name in names_of(one)])
        check_count("seeds", self.seeds, least=2, below=MOST_SEEDS + 1)

    @property
    def name(self):
        """Of its experiment, and of the folder of its results."""
        return "mine, " + _words(self.sentence)[:60].strip()

    @property
    def experiment(self):
        """Its arms, measured for its metric."""
        measure = next(one for one in METRICS if self.metric in names_of(one))
        common = {"dataset": "fashion_mnist", **self.common}
        asked = [one for one in (*common.get("measure", ()), measure) if one != "final"]
        common["measure"] = list(dict.fromkeys(asked))
        looks = self.seeds, 2 * self.seeds
        return Experiment(self.sentence, self.arms, common, looks, template=self.template)

    @property
    def claim(self):
        """As the ledger has it."""
        one, other = self.minus
        contrast = Contrast(
            f"{one} - {other} ({self.metric.replace('_', ' ')})",
            self.name,
            {(one, self.metric): 1.0, (other, self.metric): -1.0},
            self.expected,
            self.smallest,
        )
        return Claim(self.name, self.sentence, "mine", (contrast,))

    def trials(self, seeds):
        """Of the two arms of its contrast."""
        plan.EXPERIMENTS[self.name] = self.experiment  # where all experiments are looked up
        return plan.trials(self.name, arms=self.minus, seeds=seeds)

    def power(self, out=LIVE, **options):
        """Run a pilot of four seeds, and say what the two looks can find by its spread.

        Options are those of `course.lab.sweep.sweep`.

        Returns
        -------
        pandas.DataFrame
            As `course.lab.verdict.power_table` gives it.
        """
        pilot = self._run(PILOT, out, **options)
        return verdict.power_table(self.claim, lambda name: pilot, lambda name: self.looks)

    @property
    def looks(self):
        """How many seeds the two looks have."""
        return self.experiment.looks

    def run(self, out=LIVE, **options):
        """Run the first look and, if it leaves the verdict open, the second.

        Returns
        -------
        course.lab.ledger.Entry
        """
        found = self.entry(self._run(range(self.looks[0]), out, **options))
        if found.unsettled:
            found = self.entry(self._run(range(self.looks[1]), out, **options))
        return found

    def entry(self, rows):
        """What some rows of results say."""
        return ledger.entry(self.claim, lambda name: rows, lambda name: self.looks)

    def draw(self, axes, entry):
        """Draw the contrast of an entry that `run` gave."""
        pictures.contrasts(axes, entry.findings, [ledger.digits(one) for one in entry.findings])

    def _run(self, seeds, out, run=sweep.sweep, **options):
        plan.check(self.trials(1))
        trials = self.trials(seeds)
        outcome = run(trials, out, **options)
        if outcome.failed:
            trial, message = outcome.failed[0]
            raise QuestionError(
                f"The run of {trial.arm!r} with seed {trial.seed} failed: {message}"
            )
        rows, _ = results.load(trials, out)
        return rows[rows["seed"].isin(seeds)]


def read(path):
    """The question that a file asks.

    Raises
    ------
    QuestionError
        If the file cannot be read or run, or holds no question or several.
    """
    path = Path(path)
    try:
        compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise QuestionError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else f"{path}"
        what = str(getattr(error, "msg", error))
        raise QuestionError(f"{where}: {what}{'' if what.endswith('?') else '.'}") from error
    try:
        values = runpy.run_path(str(path))
    except QuestionError:
        raise
    except (Exception, SystemExit) as error:
        raise QuestionError(f"{path} ends in {type(error).__name__}: {error}.") from error
    # A question with two names is one.
    found = list({id(one): one for one in values.values() if isinstance(one, Question)}.values())
    if len(found) != 1:
        raise QuestionError(
            f"{path} holds {len(found) or 'no'} questions; give one: mine = Question(...), see"
            " course/lab/own.py."
        )
    return found[0]


def _is_named(values):
    """Whether they are values by names."""
    return isinstance(values, Mapping) and all(isinstance(name, str) for name in values)


def _words(sentence):
    """The words of a sentence, as the name of a folder has them."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", sentence.lower()).split())
