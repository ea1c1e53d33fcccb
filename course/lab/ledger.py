"""The ledger: what the results in a folder say about every claim."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas as pd

from course import intervals
from course.lab import plan, results, verdict
from course.lab.claims import CLAIMS, FACTS, REASONS
from course.lab.verdict import Claim

BY_ID = {claim.id: claim for claim in (*CLAIMS, *FACTS)}
NOT_MEASURED = "not measured"
TWIN = "{} digits"  # the same experiment on the second data set
UNSETTLED = ("open", "holds" + intervals.PERHAPS, verdict.NOT_TESTED)  # may want a second look
FORMERLY = {"sparsity": "co-adaptation"}  # claims that had another id in the first edition
RENAMED = {"depends": "does not hold as stated", "undecided": "open"}  # words of that edition
NOT_THERE = (results.SweepError, ValueError, FileNotFoundError)  # runs, or a number of theirs
DECISIVE = {  # by verdict: what the contrasts say that decide it; the first word that there is
    "holds": ("supports",),
    "holds in most": ("supports",),
    "holds" + intervals.PERHAPS: ("in part",),
    "open": ("open",),
    "mixed": ("contradicts",),
    "does not hold": ("contradicts",),
    "does not hold as stated": ("contradicts",),
    "does not hold in most": ("contradicts",),
    verdict.NOT_TESTED: ("contradicts", "in part", "open"),  # of a control
}
COLUMNS = ["id", "claim", "source", "verdict", "tally", "found", "seeds", "scope"]
SHOWN = ["id", "verdict", "tally", "found", "scope"]  # of `table`, where there is little room


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: a claim, what was found on each of its contrasts, and the verdict.

    Attributes
    ----------
    claim : Claim
    findings, controls : tuple of course.lab.verdict.Finding
        On its contrasts, and on its positive controls.
    verdict : str
    digits : str
        The verdict on the second data set; empty where that is not asked or not measured.
    missing : str
        What there are no results of yet; then the verdict is "not measured".
    diverged : bool
        Whether that is so because runs that are there have no number to judge.
    """

    claim: Claim
    findings: tuple[verdict.Finding, ...]
    controls: tuple[verdict.Finding, ...]
    verdict: str
    digits: str = ""
    missing: str = ""
    diverged: bool = False

    @property
    def deciding(self):
        """The first contrast that decides the verdict, or control; None before it is measured."""
        asked = self.controls if self.verdict == verdict.NOT_TESTED else self.findings
        for says in DECISIVE.get(self.verdict, ()):
            for finding in asked:
                if finding.says == says:
                    return finding
        return None

    @property
    def unsettled(self):
        """Whether the verdict may change at a second look. What contradicts is settled: a control
        that does will not show an effect later.
        """
        lost = any(finding.says == "contradicts" for finding in self.controls)
        return self.verdict in UNSETTLED and not lost

    @property
    def tally(self):
        """How many of its contrasts say what, in words."""
        return verdict.tally(self.findings) if self.findings else ""

    @property
    def said(self):
        """The verdicts on both data sets; before it is measured, that of the first edition."""
        if self.missing and self.earlier:
            return f"{self.verdict} yet (first edition: {self.earlier})"
        return f"{self.verdict}; on digits: {self.digits}" if self.digits else self.verdict

    @property
    def earlier(self):
        """The verdict of the first edition; empty for a claim that it did not have."""
        return first_edition().get(FORMERLY.get(self.claim.id, self.claim.id), "")

    @property
    def seeds(self):
        """How many were judged, in words: of the contrast with fewest, and with most."""
        counts = sorted({len(finding.values) for finding in self.findings})
        return " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))


@cache
def first_edition():
    """The verdicts of the ledger's first edition by claim, which had other contrasts and runs.

    Shown, as such, where this edition has no results yet, and beside those of this one in
    `before_and_after`.

    Returns
    -------
    dict of str to str
    """
    text = (results.RESULTS / "first_edition.json").read_text(encoding="utf-8")
    return {line["id"]: line["verdict"] for line in json.loads(text)["ledger"]}


def find(id):
    """The claim, or the fact, of this id.

    Raises
    ------
    course.lab.plan.PlanError
        If there is none; names those there are.
    """
    return BY_ID[plan.known("claim", id, BY_ID)]


def look_up(out=results.RESULTS, asked=CLAIMS):
    """What the results in a folder say about every claim.

    Parameters
    ----------
    out : path
    asked : iterable of Claim
        Such as `claims.FACTS`.

    Returns
    -------
    list of Entry
    """
    rows_of = cache(partial(_rows, out=out))
    entries = []
    for claim in asked:
        found, twin = _planned(entry(claim, rows_of)), twin_of(claim)
        second = _planned(entry(twin, rows_of)) if twin else found
        measured = twin and not (found.missing or second.missing)
        entries.append(replace(found, digits=second.verdict) if measured else found)
    return entries


def _planned(found):
    """The entry itself, if all its contrasts have the seeds of their first look; else it waits."""
    for finding in found.findings + found.controls:
        if finding.look == 0:
            there, planned = len(finding.values), finding.looks[0]
            missing = f"{finding.contrast.name!r} has "
            if there < planned:
                missing += f"{there} of the {planned} seeds of its first look."
            else:
                missing += (
                    f"a setting with fewer than the {verdict.choosing(finding.looks)} seeds that"
                    " the best is chosen by."
                )
            return Entry(found.claim, (), (), NOT_MEASURED, missing=missing)
    return found


def _rows(name, out):
    return results.load(plan.trials(name, seeds=1), out)[0]


def looks_of(name):
    """How many seeds each of the two looks of an experiment has."""
    return plan.EXPERIMENTS[name].looks


def entry(claim, rows_of, looks_of=looks_of):
    """What the rows of some experiments say about a claim.

    Parameters
    ----------
    claim : Claim
    rows_of, looks_of : callable
        As for `verdict.findings`.

    Returns
    -------
    Entry
    """
    try:
        found, controls = (
            verdict.findings(contrasts, rows_of, looks_of)
            for contrasts in (claim.contrasts, claim.controls)
        )
    except NOT_THERE as error:
        diverged = isinstance(error, verdict.Diverged)
        return Entry(claim, (), (), NOT_MEASURED, missing=str(error), diverged=diverged)
    return Entry(claim, found, controls, verdict.verdict(claim, found, controls))


def asked_of(claim, experiment):
    """The same claim, its contrasts asked of another experiment that has the same arms.

    Such as "eight full" in place of "eight": nothing about the question is chosen anew.

    Parameters
    ----------
    claim : Claim
    experiment : str or callable
        The other experiment; or a function that gives it by the name of the first.

    Returns
    -------
    Claim
    """
    other = experiment if callable(experiment) else lambda name: experiment
    return _changed(claim, lambda one: replace(one, experiment=other(one.experiment)))


def _changed(claim, change):
    """The same claim with all its contrasts changed."""

    def changed(contrasts):
        return tuple(map(change, contrasts))

    beside = (replace(one, contrasts=changed(one.contrasts)) for one in claim.beside)
    return replace(
        claim,
        contrasts=changed(claim.contrasts),
        controls=changed(claim.controls),
        beside=tuple(beside),
    )


def at_chosen_settings(claim, out=results.RESULTS):
    """The same claim, each arm at the one setting that the results in a folder chose; where they
    chose none yet, at its best of all.
    """
    rows_of = cache(partial(_rows, out=out))

    def narrowed(contrast):
        try:
            rows, looks = rows_of(contrast.experiment), looks_of(contrast.experiment)
            best = verdict.best_settings(contrast, rows, looks)
        except NOT_THERE:
            return contrast
        terms = {(best.get(arm, arm), of): weight for (arm, of), weight in contrast.terms.items()}
        name = f"{contrast.name} (at {'; '.join(best.values())})" if best else contrast.name
        return replace(contrast, name=name, terms=terms)

    return _changed(claim, narrowed)


def twin_of(claim):
    """The same claim asked of the second data set: those of its contrasts that have a twin there.

    None if there are none, or a control has no twin.
    """

    asked = tuple(filter(_has_twin, claim.contrasts))
    if not asked or not all(map(_has_twin, claim.controls)):
        return None
    beside = tuple(one for one in claim.beside if all(map(_has_twin, one.contrasts)))
    return asked_of(replace(claim, contrasts=asked, beside=beside), TWIN.format)


def _has_twin(contrast):
    return TWIN.format(contrast.experiment) in plan.EXPERIMENTS


# Running
# ------------------------------------------------------------------------------------------


def trials_of(claim, *, small, seeds=None, dataset=None):
    """The trials that a claim needs, by experiment: of each only the arms in its contrasts.

    Parameters
    ----------
    claim : Claim
    small : bool
        The version that takes about a minute: 3 seeds of short runs.
    seeds, dataset
        As for `plan.trials`.

    Returns
    -------
    list of list of course.lab.trial.Trial
    """
    if small and seeds is None:
        seeds = 3
    return [
        plan.trials(name, arms=arms, small=small, seeds=seeds, dataset=dataset)
        for name, arms in _arms_of(claim.contrasts + claim.controls).items()
    ]


def _arms_of(contrasts):
    """The arms that some contrasts need, by experiment, each once."""
    arms = {}
    for one in contrasts:
        arms.setdefault(one.experiment, {}).update(dict.fromkeys(one.arms))
    return arms


def next_trials(out=results.RESULTS, asked=(*CLAIMS, *FACTS)):
    """The trials that the ledger wants next, as far as the results in a folder tell.

    Of an arm at its best setting first as many seeds as it is chosen by; then, of the chosen
    settings and of the other arms, the first look; and where that leaves a verdict open, the second
    look of the contrasts that are not settled. To be asked again when these are done, until nothing
    is missing.

    Parameters
    ----------
    out : path
    asked : iterable of Claim
        Each is asked of its twin, too.

    Returns
    -------
    list of list of course.lab.trial.Trial
        By experiment; those that there are results of are among them.
    """
    rows_of, wanted = cache(partial(_rows, out=out)), {}
    for claim in asked:
        for one in filter(None, (claim, twin_of(claim))):
            second = entry(one, rows_of).unsettled
            for contrast in one.contrasts + one.controls:
                counts = wanted.setdefault(contrast.experiment, {})
                for arm, count in _seeds_wanted(contrast, rows_of, second).items():
                    counts[arm] = max(count, counts.get(arm, 0))
    return [
        [trial for arm in counts for trial in plan.trials(name, arms=[arm], seeds=counts[arm])]
        for name, counts in wanted.items()
    ]


def _seeds_wanted(contrast, rows_of, second):
    """How many seeds of each arm a contrast wants next."""
    looks = looks_of(contrast.experiment)
    try:
        rows = rows_of(contrast.experiment)
        chosen = verdict.best_settings(contrast, rows, looks)
    except NOT_THERE:
        rows, chosen = pd.DataFrame({"arm": []}), {}
    there, wanted = rows["arm"].value_counts(), {}
    for arm, _ in contrast.terms:
        settings = arm if isinstance(arm, tuple) else ()
        wanted |= dict.fromkeys(settings, verdict.choosing(looks))
        if min((there.get(one, 0) for one in settings), default=looks[0]) >= verdict.choosing(
            looks
        ):
            wanted[chosen.get(arm, arm)] = looks[0]
    if second and not any(there.get(arm, 0) < count for arm, count in wanted.items()):
        (finding,) = verdict.findings([contrast], rows_of, looks_of)
        if finding.says not in verdict.SETTLED:
            in_it = {chosen.get(arm, arm) for arm, _ in contrast.terms}
            wanted |= dict.fromkeys(in_it, looks[1])
    return wanted


def judge_trials(claim, groups, out):
    """The entry of one claim from the trials that `trials_of` gave, once they are done.

    Returns
    -------
    Entry
    """
    groups = {trials[0].experiment: trials for trials in groups}

    def rows_of(name):
        rows, _ = results.load(groups[name], out)
        return rows[
            rows["key"].isin([trial.key for trial in groups[name]])
        ]  # not those of other seeds

    return entry(claim, rows_of)


def power(claim, looks_of=looks_of, out=results.RESULTS):
    """What the planned seeds can find, by the spreads of the results in a folder.

    Returns
    -------
    pandas.DataFrame
        As `verdict.power_table`.
    """

    def rows_of(name):
        try:
            return _rows(name, out)
        except results.SweepError:
            return pd.DataFrame()

    return verdict.power_table(claim, cache(rows_of), looks_of)


def power_before_first_look(name, out=results.RESULTS, asked=(*CLAIMS, *FACTS)):
    """What the planned seeds can find, by the spreads of the seeds that settings are chosen by.

    Parameters
    ----------
    name : str
        Of an experiment.
    out : path
    asked : iterable of Claim
        Each is asked of its twin, too.

    Returns
    -------
    pandas.DataFrame
        As `verdict.power_table`, of the contrasts whose settings are chosen and whose first look is
        still to come; without a row where there are none.
    """
    rows_of, looks, waiting = cache(partial(_rows, out=out)), looks_of(name), {}
    for claim in asked:
        for one in filter(None, (claim, twin_of(claim))):
            for contrast in one.contrasts + one.controls:
                if contrast.experiment == name:
                    with suppress(*NOT_THERE):
                        count = len(verdict.contrast_values(contrast, rows_of(name), looks))
                        if verdict.choosing(looks) <= count < looks[0]:
                            waiting[contrast.name] = contrast
    if not waiting:
        return pd.DataFrame()
    return verdict.power_table(Claim(name, "", "-", (*waiting.values(),)), rows_of, looks_of)


# In tables and words
# ------------------------------------------------------------------------------------------


def table(entries):
    """The ledger as a table: one row per claim.

    Returns
    -------
    pandas.DataFrame
        id, claim, source, verdict (as `Entry.said`), tally, found (the number behind it: that of
        `Entry.deciding`, with its interval), seeds, scope. Those in `SHOWN` fit a line of 100
        columns, most of them.
    """
    lines = [
        {
            "id": entry.claim.id,
            "claim": entry.claim.sentence,
            "source": entry.claim.source,
            "verdict": entry.said,
            "tally": entry.tally,
            "found": digits(entry.deciding) if entry.findings else "",
            "seeds": entry.seeds if entry.findings else "",
            "scope": entry.claim.scope,
        }
        for entry in entries
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def before_and_after(entries):
    """The claims that both editions have measured: the verdict of each, and why they differ.

    Returns
    -------
    pandas.DataFrame
        id, first edition, now, why; the last is empty where the verdict is the same, and where no
        reason has been given yet.
    """
    columns = ["id", "first edition", "now", "why"]
    lines = [
        (entry.claim.id, entry.earlier, entry.verdict, _why_changed(entry))
        for entry in entries
        if entry.earlier and not entry.missing
    ]
    return pd.DataFrame(lines, columns=columns)


def _why_changed(entry):
    renamed = RENAMED.get(entry.earlier) == entry.verdict
    return REASONS.get(entry.claim.id, "Renamed: another word for the same." if renamed else "")


def verdicts_before_and_after(table):
    """How many claims have which verdict, of a table as `before_and_after` gives it.

    Returns
    -------
    pandas.DataFrame
        By verdict: how many in the first edition, and how many now.
    """
    editions = table[["first edition", "now"]]
    return editions.apply(pd.Series.value_counts).fillna(0).astype(int)


def beside(claim, out=results.RESULTS):
    """The numbers that are told beside a claim, as far as their first look is there.

    Returns
    -------
    list of str
        Of the second data set, too.
    """
    rows_of, lines = cache(partial(_rows, out=out)), []
    for asked, where in ((claim, ""), (twin_of(claim), " (digits)")):
        for one in asked.beside if asked else ():
            with suppress(*NOT_THERE):
                found = verdict.estimate(one, rows_of, looks_of)
                if found.count >= looks_of(one.contrasts[0].experiment)[0]:
                    mean, low, high = (
                        format(number, one.form) for number in (found.mean, found.low, found.high)
                    )
                    lines.append(f"{one.name}{where}: {mean} [{low}, {high}]")
    return lines


def details(entry):
    """The contrasts of one claim, and its controls: what was expected, what was found.

    Returns
    -------
    pandas.DataFrame
    """
    return pd.DataFrame(
        {
            "contrast": _name(finding, entry),
            "expected": _expectation(finding.contrast),
            "found": digits(finding),
            "word": finding.word,
            "says": finding.says,
            "seeds": _seeds(finding),
        }
        for finding in entry.findings + entry.controls
    )


def _name(finding, entry):
    """The name of a contrast, with the settings that were chosen, and whether it is a control."""
    chosen = "; ".join(finding.settings.values())
    control = "control: " if finding in entry.controls else ""
    return f"{control}{finding.contrast.name}" + (f" (best: {chosen})" if chosen else "")


def _seeds(finding):
    """How many were judged; if it is open, at how many there is an even chance of an answer."""
    said = f"{len(finding.values)}"
    if finding.seeds_needed == 0:
        return said
    planned = f" ({finding.looks[1]} are planned)" if _beyond(finding) else ""
    return f"{said}; needs {_needed(finding)}{planned}"


def _beyond(finding):
    """Whether it needs more seeds than the second look has."""
    return finding.seeds_needed > finding.looks[1]


def _needed(finding):
    needed = finding.seeds_needed
    return f"about {needed:,}" if needed <= verdict.MOST_SEEDS else f"over {verdict.MOST_SEEDS:,}"


def report(entry):
    """One claim in words: what stands above its picture, and the verdict that stands below.

    Returns
    -------
    above, below : str
        Markdown.
    """
    claim = entry.claim
    source = (
        "No text's claim, but a thing to know."
        if claim.source == "-"
        else f"Source: **{claim.source}**."
    )
    asked = " and ".join(
        f"*{name}*" for name in dict.fromkeys(contrast.experiment for contrast in claim.contrasts)
    )
    above = (
        f"### {claim.id}\n\n> {claim.sentence}\n\n{source} {claim.known}\n\nExperiment: {asked}."
    )
    above += f" Scope: {claim.scope}." if claim.scope else ""
    if entry.missing:
        return above, f"Verdict: **{entry.said}**. {entry.missing} {claim.afterwards}".strip()
    below = f"Verdict: **{entry.verdict}** ({entry.tally}; {entry.seeds} seeds). {why(entry)}"
    return above, below.strip()  # a space at its end would undo the italics of a caption


def why(entry):
    """What a verdict rests on, in words."""
    names = {
        says: "; ".join(one.contrast.name for one in entry.findings if one.says == says)
        for says in verdict.SAYS
    }
    parts = [
        f"The control *{one.contrast.name}* is {verdict.SAYS[one.says]}: where the effect is not"
        " seen, nothing shows whether it disappears."
        for one in entry.controls
        if one.says != "supports"
    ]
    if sum(map(bool, names.values())) > 1:  # they do not agree
        heads = ("For it", "For it, but perhaps too little to matter", "Against it", "Open")
        for head, named in zip(heads, names.values(), strict=True):
            parts += [f"{head}: {named}."] if named else []
    parts += [
        f"At {_needed(one)} seeds there is an even chance of an answer to *{one.contrast.name}*, if"
        " its mean and spread stay"
        + (f": the {one.looks[1]} that are planned will hardly tell." if _beyond(one) else ".")
        for one in entry.findings
        if one.seeds_needed != 0
    ]
    if entry.digits:
        parts.append(f"On digits{on_digits(entry.claim)}: {entry.digits}.")
    if entry.claim.afterwards:
        parts.append(f"Added after the results: {entry.claim.afterwards}")
    return " ".join(parts)


def _expectation(contrast):
    least = f"{contrast.smallest:g}"
    return {
        "higher": f"above {least}",
        "lower": f"below {-contrast.smallest or 0:g}",
        "same": f"within {least}",
    }[contrast.expected]


def on_digits(claim):
    """What differs where a claim is asked of the second data set, in brackets: how many images, and
    which experiments have no twin there.
    """
    arms, sizes = _arms_of(twin_of(claim).contrasts), {}
    for name in arms:
        here = name.removesuffix(TWIN.format(""))
        pairs = (plan.trials(one, arms=arms[name], seeds=1) for one in (here, name))
        for one, other in zip(*pairs, strict=True):
            sizes[one.train_size] = other.train_size
    said = [
        f"{few:,} images in place of {many:,}" for many, few in sorted(sizes.items()) if few != many
    ]
    alone = [one.experiment for one in claim.contrasts if not _has_twin(one)]
    said += [f"without {name!r}" for name in dict.fromkeys(alone)]
    return f" ({'; '.join(said)})" if said else ""


def digits(finding):
    """Mean and interval of a finding, in the units of its metric.

    Three digits, or as many as show on which side of 0 and of the smallest difference an end lies.
    """
    interval, least = finding.interval, finding.contrast.smallest
    ends, boundaries = (interval.low, interval.high), (-least, 0.0, least)
    short = [f"+.{count}g" for count in range(2, 7)]
    forms = short if 0 < least < 1e-3 else ["+.3f", "+.4f", "+.5f", *short]

    def tells(form):
        shown = [float(f"{end:{form}}") for end in ends]
        return all(
            np.sign(one - side) == np.sign(end - side)
            for one, end in zip(shown, ends, strict=True)
            for side in boundaries
        )

    # None does where an end is a boundary, but for the last digit of the computer.
    form = next(filter(tells, forms), forms[0])
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"
