"""The ledger: what the results in a folder say about every claim."""

from dataclasses import dataclass, replace
from functools import cache, partial

import pandas as pd

from course.lab import plan, results, verdict
from course.lab.claims import BY_ID, CLAIMS
from course.lab.verdict import Claim


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: a claim, what was found on each of its contrasts, and the verdict.

    `missing` says what there are no results of yet; then the verdict is "not measured".
    """

    claim: Claim
    findings: tuple[verdict.Finding, ...]
    verdict: str
    missing: str = ""

    @property
    def more_seeds(self):
        """How many seeds more would probably decide all contrasts; None: more than a thousand."""
        wanted = [finding.more_seeds for finding in self.findings if finding.says == "undecided"]
        return None if None in wanted else max(wanted, default=0)


def find(id):
    """The claim of this id.

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

    Returns
    -------
    list of Entry
    """
    rows_of = cache(partial(_rows, out=out))
    return [_entry(claim, rows_of) for claim in asked]


def asked_of(claim, experiment):
    """The same claim, its contrasts asked of another experiment that has the same arms.

    Such as "eight full" in place of "eight": nothing about the question is chosen anew.

    Returns
    -------
    Claim
    """
    return replace(
        claim,
        contrasts=tuple(replace(contrast, experiment=experiment) for contrast in claim.contrasts),
    )


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
    arms = {}
    for contrast in claim.contrasts:
        arms.setdefault(contrast.experiment, []).extend(arm for arm, _ in contrast.terms)
    if small and seeds is None:
        seeds = 3
    return [
        plan.trials(name, arms=dict.fromkeys(named), small=small, seeds=seeds, dataset=dataset)
        for name, named in arms.items()
    ]


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

    return _entry(claim, rows_of)


def _rows(name, out):
    return results.load(plan.trials(name, seeds=1), out)[0]


def _entry(claim, rows_of):
    try:
        findings = tuple(verdict.findings(claim, rows_of))
    except (results.SweepError, ValueError, FileNotFoundError) as error:
        return Entry(claim, (), "not measured", str(error))
    return Entry(claim, findings, verdict.verdict(findings))


def table(entries):
    """The ledger as a table: one row a claim.

    Returns
    -------
    pandas.DataFrame
        id, claim, source, verdict, seeds, "more seeds" (that would decide it).
    """
    rows = []
    for entry in entries:
        counts = [len(finding.values) for finding in entry.findings]
        more = (
            ""
            if entry.verdict != "undecided"
            else entry.more_seeds or f"over {verdict.MOST_SEEDS:,}"
        )
        rows.append(
            {
                "id": entry.claim.id,
                "claim": entry.claim.sentence,
                "source": entry.claim.source,
                "verdict": entry.verdict,
                "seeds": min(counts, default=0),
                "more seeds": more,
            }
        )
    return pd.DataFrame(rows)


def details(entry):
    """The contrasts of one claim: what was expected, what was found.

    Returns
    -------
    pandas.DataFrame
    """
    return pd.DataFrame(
        {
            "contrast": finding.contrast.name,
            "expected": _expectation(finding.contrast),
            "found": digits(finding),
            "says": finding.says,
            "more seeds": (
                ""
                if finding.says != "undecided"
                else finding.more_seeds or f"over {verdict.MOST_SEEDS:,}"
            ),
        }
        for finding in entry.findings
    )


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
    if entry.missing:
        return above, f"Verdict: **{entry.verdict}**. {entry.missing}"
    counts = sorted({len(finding.values) for finding in entry.findings})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    contrasts = "1 contrast" if len(entry.findings) == 1 else f"{len(entry.findings)} contrasts"
    below = f"Verdict: **{entry.verdict}** ({contrasts}, {seeds} seeds)."
    names = {
        says: "; ".join(finding.contrast.name for finding in entry.findings if finding.says == says)
        for says in ("supports", "contradicts", "undecided")
    }
    if entry.verdict == "depends":
        below += f" For it: {names['supports']}. Against it: {names['contradicts']}."
        below += f" Undecided: {names['undecided']}." if names["undecided"] else ""
        below += f" On what: {claim.depends_on}." if claim.depends_on else ""
    if entry.verdict == "undecided":
        more = f"about {entry.more_seeds:,}" if entry.more_seeds else f"over {verdict.MOST_SEEDS:,}"
        below += (
            f" If means and spreads stay, {more} seeds more would decide: {names['undecided']}."
        )
    return above, below


def _expectation(contrast):
    least = f"{contrast.smallest:g}"
    return {
        "higher": f"above {least}",
        "lower": f"below {-contrast.smallest or 0:g}",
        "same": f"within {least}",
    }[contrast.expected]


def digits(finding):
    """Mean and interval of a finding, in the units of its metric."""
    interval, form = finding.interval, "+.1e" if 0 < finding.contrast.smallest < 1e-3 else "+.3f"
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"
