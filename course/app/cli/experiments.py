"""Commands of the experiments and the ledger: experiment, results, claims."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from course.app.cli.common import app, console, explained, progress_bar

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
            help="key=value: change a parameter of the template in every arm; repeatable.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="fashion_mnist or digits.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many repetitions of each arm.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The same as -p epochs=...")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only this arm; repeatable.")] = None,
    small: Annotated[
        bool, typer.Option("--small", help="The version that takes about a minute.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time on this machine; by default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
    ] = None,
    out: Out = None,
) -> None:
    """Run an experiment: what is missing of it. Stop it when you like; run again, it goes on."""
    from course.lab import plan

    with explained():
        changes = dict(_parameter(text) for text in parameter or [])
        if epochs is not None:
            changes["epochs"] = epochs
        runs = plan.trials(
            name, dataset=dataset, seeds=seeds, small=small, parameters=changes, arms=arm
        )
        if changes or dataset:
            with console.status("Checking the parameters ..."):
                plan.check(runs)
        outcome = run_sweep(runs, out, workers, scheduler)
    if outcome.failed:
        raise typer.Exit(1)


def run_sweep(runs, out, workers, scheduler):
    """Run a sweep with a progress bar, and say what came of it."""
    from course.lab import results, sweep

    out = out or results.RESULTS
    with progress_bar() as progress:
        task = progress.add_task(runs[0].experiment, total=len(runs))

        def report(run, error, outcome):
            progress.update(task, completed=len(outcome.done) + len(outcome.failed))
            if not console.is_terminal or error:
                state = f"failed: {error}" if error else "done"
                progress.console.print(
                    f"{run.arm}, seed {run.seed}: {state}",
                    style="red" if error else None,
                    markup=False,
                )

        def begin(outcome):
            progress.update(task, total=len(runs) - len(outcome.present))

        outcome = sweep.sweep(
            runs, out, workers=workers, scheduler=scheduler, report=report, begin=begin
        )
    folder = Path(out) / runs[0].experiment
    console.print(
        f"{len(outcome.done)} runs done, {len(outcome.present)} were there already,"
        f" {len(outcome.failed)} failed; {outcome.seconds:.0f} s. Results:"
        f" {folder / 'runs.parquet'}",
        soft_wrap=True,
        markup=False,
    )
    for run, error in outcome.failed:
        places = [
            folder / "failed" / run.key / results.NOTEBOOK,
            folder / "logs" / f"{run.key}.log",
        ]
        where = next((place for place in places if place.exists()), folder / "logs")
        console.print(
            f"  {run.arm}, seed {run.seed}: {error}\n    {where}",
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
            for key, listed in plan.EXPERIMENTS.items():
                rows = tables.collect(out / key)
                table.add_row(key, f"{len(rows)}", listed.question)
        else:
            rows = tables.table(name, out)
            table = tables.summary(rows, metric or ["accuracy", "loss", "gap_loss", "seconds"])
            table = rich_table(table, name)
    console.print(table)


def rich_table(frame, title):
    table = Table(*map(str, frame.columns), title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*map(Text, map(str, row)))  # as Text: an interval's brackets are no markup
    return table


def _parameter(text):
    """A pair (name, value) from "name=value"; the value as JSON where it is that, else as text."""
    from course.lab.plan import PlanError

    name, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"-p {text!r} has no value: write -p name=value, such as -p epochs=3.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
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
    dataset: Annotated[str | None, typer.Option(help="fashion_mnist or digits.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many repetitions.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time on this machine; by default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")
    ] = None,
    out: Out = None,
) -> None:
    """Show the ledger of claims and verdicts; with an id, test that claim on a small scale."""
    from course.lab import ledger, plan, results

    with explained():
        if everything:
            for name in plan.EXPERIMENTS:
                runs = plan.trials(name, dataset=dataset, seeds=seeds)
                # What took a GPU is not computed again, for hours, because this machine has another
                # backend.
                missing = results.computed_nowhere(runs, out or results.RESULTS)
                if missing:
                    run_sweep(missing, out, workers, scheduler)
                else:
                    console.print(f"{name}: all {len(runs)} runs are there.", markup=False)
        if claim is None:
            console.print(
                rich_table(ledger.table(ledger.look_up(out or results.RESULTS)), "The ledger")
            )
            return
        tested = ledger.find(claim)
        console.print(f"{tested.sentence} ({tested.source})", markup=False)
        live = out or results.RESULTS / "live"
        groups = ledger.runs_of(tested, small=True, seeds=seeds, dataset=dataset)
        for runs in groups:
            run_sweep(runs, live, workers, scheduler)
        entry = ledger.judge_runs(tested, groups, live)
        if entry.missing:
            raise results.SweepError(entry.missing)
        console.print(rich_table(ledger.details(entry), tested.id))
        (committed,) = [line for line in ledger.look_up() if line.claim is tested]
        console.print(
            f"Here, on a small scale: {entry.verdict}. In the ledger: {committed.verdict}.",
            style="bold",
        )
        if tested.known:
            console.print(tested.known, markup=False)
