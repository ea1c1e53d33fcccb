"""Commands of the experiments and the ledger: experiment, results, claims."""

import ast
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from course.app.cli.common import Scheduler, app, console, explained, progress_bar

Dataset = Annotated[str | None, typer.Option(help="fashion_mnist or digits.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time on this machine; by default one a core.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the results; by default results/ of the course.")
]


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which: `course results` lists them.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            help="key=value: change a parameter in every arm; repeatable."
            " options.rate is an option of the model.",
        ),
    ] = None,
    dataset: Dataset = None,
    seeds: Annotated[int | None, typer.Option(help="How many repetitions of each arm.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The same as -p epochs=...")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; repeatable.")] = None,
    small: Annotated[
        bool, typer.Option("--small", help="The version that takes about a minute.")
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    out: Out = None,
) -> None:
    """Run an experiment: what is missing of it. Stop it when you like; run again, it goes on."""
    from course.lab import plan

    with explained():
        changes = dict(_parameter(text) for text in parameter or [])
        if epochs is not None:
            changes["epochs"] = epochs
        trials = plan.trials(
            name, dataset=dataset, seeds=seeds, small=small, parameters=changes, arms=arm
        )
        if changes or dataset:
            with console.status("Checking the parameters ..."):
                plan.check(trials)
        outcome = run_sweep(trials, out, workers, scheduler)
    if outcome.failed:
        raise typer.Exit(1)


def run_sweep(trials, out, workers, scheduler):
    """Run a sweep with a progress bar, and say what came of it."""
    from course.lab import results, sweep

    out = out or results.RESULTS
    with progress_bar() as progress:
        task = progress.add_task(trials[0].experiment, total=len(trials))

        def report(trial, error, outcome):
            progress.update(task, completed=len(outcome.done) + len(outcome.failed))
            if not console.is_terminal or error:
                state = f"failed: {error}" if error else "done"
                progress.console.print(
                    f"{trial.arm}, seed {trial.seed}: {state}",
                    style="red" if error else None,
                    markup=False,
                )

        def begin(outcome):
            progress.update(task, total=len(trials) - len(outcome.present))

        outcome = sweep.sweep(
            trials, out, workers=workers, scheduler=scheduler, report=report, begin=begin
        )
    folder = Path(out) / trials[0].experiment
    console.print(
        f"{len(outcome.done)} runs done, {len(outcome.present)} were there already,"
        f" {len(outcome.failed)} failed; {outcome.seconds:.0f} s. Results:"
        f" {folder / 'runs.parquet'}",
        soft_wrap=True,
        markup=False,
    )
    for trial, error in outcome.failed:
        places = [
            *folder.glob(f"failed/{trial.setting}-{trial.seed}/{results.NOTEBOOK}"),
            *folder.glob(f"arms/{trial.setting}-*/log.txt"),
            *folder.glob(f"logs/{trial.setting}-*.log"),
            folder / "logs",
        ]
        where = places[0]
        console.print(
            f"  {trial.arm}, seed {trial.seed}: {error}\n    {where}",
            soft_wrap=True,
            markup=False,
            style="red",
        )
    return outcome


@app.command()
def results(
    name: Annotated[str | None, typer.Argument(help="Of which experiment; none: the list.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric to show; repeatable.")] = None,
    out: Out = None,
) -> None:
    """Show what the experiments found: mean over seeds with its 95 % interval."""
    from course.lab import plan
    from course.lab import results as tables

    out = out or tables.RESULTS
    with explained():
        if name is None:
            table = Table("experiment", "runs", "question")
            for key, planned in plan.EXPERIMENTS.items():
                rows = tables.collect(out / key)
                table.add_row(key, f"{len(rows)}", planned.question)
        else:
            rows = tables.table(name, out)
            summary = tables.summary(rows, metric or tables.usual_metrics(rows))
            if len(summary.columns) > MOST_COLUMNS:  # one metric a row
                summary = summary.set_index("arm").T.rename_axis("").reset_index()
            table = rich_table(summary, name)
    console.print(table)


MOST_COLUMNS = 12  # that fit beside each other


def rich_table(frame, title, widths=None, **options):
    """A table; `widths` are those that columns have at most. An id is to be copied: not broken."""
    table = Table(title=title, **options)
    for column in frame.columns:
        whole = column == "id"
        width = None if whole else (widths or {}).get(column)
        table.add_column(str(column), max_width=width, no_wrap=whole, overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*map(Text, map(str, row)))  # as Text: an interval's brackets are no markup
    return table


def _parameter(text):
    """A pair (name, value) from "name=value"; the value as JSON or Python, else as text."""
    from course.lab.plan import PlanError

    name, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"-p {text!r} has no value: write -p name=value, such as -p epochs=3.")
    for read in (json.loads, ast.literal_eval):  # true or True, 0.5 or .5
        try:
            return name, read(value)
        except (ValueError, SyntaxError):
            pass
    return name, value


@app.command()
def claims(
    claim: Annotated[
        str | None, typer.Argument(help="Id of a claim to test here and now, in about a minute.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Run all experiments of the ledger: overnight, or on a cluster."
        ),
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="A claim of your own: see course/lab/own.py.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Folder for the poster of all claims, as SVG and PDF.")
    ] = None,
    before: Annotated[
        bool, typer.Option("--before", help="The first edition's verdicts beside these, and why.")
    ] = False,
    dataset: Dataset = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="How many repetitions: two or more.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    out: Out = None,
) -> None:
    """Show the ledger of claims and verdicts; with an id, test that claim on a small scale."""
    from course.lab import ledger, results

    kept = out or results.RESULTS
    with explained():
        check_options(claim, everything, file, draw, before, dataset or seeds)
        if everything:
            run_ledger(kept, dataset, seeds, workers, scheduler)
        if file:
            ask_own(file, out or results.RESULTS / "live", workers, scheduler)
            return
        if draw:
            from course.lab import poster

            with writable(draw):
                paths = poster.save(ledger.look_up(kept), draw)
            console.print(f"The poster: {', '.join(map(str, paths))}", markup=False)
            return
        if before:
            show_before(kept)
            return
        if claim is None:
            show_ledger(kept)
            return
        asked = ledger.find(claim)
        console.print(f"{asked.sentence} ({asked.source})", markup=False)
        live = out or results.RESULTS / "live"
        here = ledger.at_chosen_settings(asked)  # one of each arm: a minute
        groups = ledger.trials_of(here, small=True, seeds=seeds, dataset=dataset)
        count = len({trial.seed for trial in groups[0]})
        show_power(here, count)
        for trials in groups:
            run_sweep(trials, live, workers, scheduler)
        entry = ledger.judge_trials(here, groups, live)
        if entry.missing:
            raise results.SweepError(entry.missing)
        console.print(rich_table(ledger.details(entry), asked.id))
        (committed,) = ledger.look_up(asked=[asked])
        console.print(
            f"Here, on a small scale: {entry.verdict} ({entry.tally}). In the ledger:"
            f" {committed.said}{f' ({committed.tally})' if committed.tally else ''}.",
            style="bold",
            markup=False,
        )
        digits = committed.digits and f"On digits{ledger.on_digits(asked)}: {committed.digits}."
        for text in (digits, ledger.why(entry), *ledger.beside(asked), asked.known):
            if text:
                console.print(text, markup=False)


def check_options(claim, everything, file, draw, before, of_runs):
    """Refuse options of `claims` that one of them would make another ignore."""
    from course.lab.plan import PlanError

    given = {"the id of a claim": claim, "--all": everything, "--file": file, "--draw": draw}
    given = [name for name, value in (given | {"--before": before}).items() if value]
    if len(given) > 1 and given != ["--all", "--draw"]:
        raise PlanError(f"{' and '.join(given)} do not go together: give one of them.")
    if of_runs and not (claim or everything):
        raise PlanError(
            "--dataset and --seeds change runs: give the id of a claim, too, or --all. (The file of"
            " a claim of your own has its own.)"
        )


@contextmanager
def writable(path):
    """One sentence, if it is not."""
    from course.lab.errors import UserError

    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write to {path}: {error.strerror or error}. Choose a folder that can be"
            " written to."
        ) from error


def ask_own(file, out, workers, scheduler):
    """Plan, run and judge a claim of one's own, and draw it."""
    from course import plots
    from course.lab import ledger, own, pictures
    from course.lab.files import write_whole

    question = own.read(file)
    console.print(question.sentence, markup=False)

    def run(trials, out):
        return run_sweep(trials, out, workers, scheduler)

    show_power(question.claim, question.seeds, question.power(out, run=run), "of the pilot")
    entry = question.run(out, run=run)
    if entry.missing:
        raise own.QuestionError(entry.missing)
    console.print(rich_table(ledger.details(entry), question.name))
    console.print(f"Verdict: {entry.verdict} ({entry.tally}).", style="bold", markup=False)
    figure, axes = plots.panels(height=3)
    question.draw(axes, entry)
    (found,) = entry.findings
    shown = f"{found.contrast.name}, with its interval: {ledger.digits(found)}, {found.says}."
    picture = file.with_suffix(".svg")
    with writable(picture.parent):
        write_whole(picture, pictures.svg(figure, question.sentence, shown))
    console.print(f"Drawn in {picture}.", markup=False)


def run_ledger(out, dataset, seeds, workers, scheduler):
    """Run what is missing of the ledger and of all other experiments.

    What took a GPU is not computed again, for hours, because this machine has another backend.
    """
    from course.lab import ledger, plan, results

    asked, told = set(), set()
    before = None
    while not (dataset or seeds):
        groups = ledger.next_trials(out)
        asked |= {trials[0].experiment for trials in groups}
        missing = [results.computed_nowhere(trials, out) for trials in groups]
        left = {trial.key for trials in missing for trial in trials}
        if not left or left == before:  # all is there, or what fails fails again
            break
        before = left
        for trials in filter(None, missing):
            name = trials[0].experiment
            power = ledger.power_before_first_look(name, out)
            if len(power) and name not in told:
                told.add(name)
                spread = f"of the seeds that chose the settings of {name!r}"
                show_power(None, ledger.looks_of(name)[0], power, spread)
            run_sweep(trials, out, workers, scheduler)
    for name in plan.EXPERIMENTS:
        if name not in asked:
            trials = plan.trials(name, dataset=dataset, seeds=seeds)
            missing = results.computed_nowhere(trials, out)
            if missing:
                run_sweep(missing, out, workers, scheduler)
            else:
                console.print(f"{name}: all {len(trials)} runs are there.", markup=False)


WIDTHS = (23, 15, 15, 23, 14)  # of the ledger's columns at most: with what is between them, 100


def show_ledger(out):
    """Print the ledger, within 100 columns: the claims, and the facts in a table of their own."""
    from course.lab import claims, ledger, verdict

    caption = (
        f"In brackets the intervals of the rule, nominally {100 * verdict.CONFIDENCE:.1f} %."
        " On digits there are fewer images."
    )
    for asked, title in ((claims.CLAIMS, "The ledger"), (claims.FACTS, "Facts about the software")):
        entries = ledger.look_up(out, asked)
        table = ledger.table(entries)[ledger.SHOWN]
        widths = dict(zip(table, WIDTHS, strict=True))
        options = {"box": SIMPLE, "pad_edge": False, "collapse_padding": True, "caption": caption}
        console.print(rich_table(table, title, widths, **options))
        caption = None  # once is enough
        for entry in entries:
            if entry.diverged:
                console.print(f"{entry.claim.id}: {entry.missing}", markup=False, highlight=False)
    if claims.REGISTERED:
        console.print(
            f"The claims and the arms were fixed in commit {claims.REGISTERED}, before their runs,"
            f" and amended in {' and '.join(claims.AMENDED_IN)}; E1 to E8 are judged on earlier"
            " runs.",
            markup=False,
            highlight=False,
        )


def show_before(out):
    """Print the verdicts of both editions side by side, and how many there are of each."""
    from course.lab import claims, ledger

    table = ledger.before_and_after(ledger.look_up(out, (*claims.CLAIMS, *claims.FACTS)))
    options = {"box": SIMPLE, "pad_edge": False, "collapse_padding": True}
    widths = dict(zip(table, WIDTHS, strict=False)) | {"why": 43}
    console.print(rich_table(table, "What both editions have measured", widths, **options))
    count = ledger.verdicts_before_and_after(table).rename_axis("verdict").reset_index()
    console.print(rich_table(count, "How many verdicts", **options))


def show_power(claim, seeds, table=None, spread="of the full runs"):
    """Print what so many seeds can find: by the spreads of the results that are kept, or by a
    table, and say of which spreads that is.
    """
    from course.lab import ledger

    missing = ""
    if table is None:
        table = ledger.power(claim, lambda name: (seeds, 2 * seeds))
        if table["spread"].isna().any():
            (entry,) = ledger.look_up(asked=[claim])
            missing = f"A question mark: no spread is known yet. {entry.missing}"
    table = table.set_index("contrast")
    table.columns = ["spread", "effect", f"{seeds} seeds", f"{2 * seeds} seeds", "90 % at"]
    shown = table.map("{:.3g}".format).replace({"nan": "?", "inf": "no 1,000"}).reset_index()
    title = (
        "Before the run: how likely so many seeds are to find a true effect, if the spread is that"
    )
    console.print(rich_table(shown, f"{title} {spread}"))
    if missing:
        console.print(missing, markup=False)
