"""An assignment as the batch needs it, and the hash of all that its grades depend on."""

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import nbformat

from course.grading import keys
from course.grading.records import Probe
from course.grading.release import release_notebook
from course.grading.tasks import load_tasks, sources
from course.lab.errors import UserError

GRADING = Path(__file__).parent  # the code that a grade depends on: its change makes grades stale
COMPUTED_BY = ("numpy", "keras", "tensorflow", "jax", "torch", "scikit-learn")


class GradeError(UserError):
    """A batch that cannot go on; says what to do."""


class Assignment:
    """An assignment as the batch needs it; what is costly is made when it is first asked for.

    Parameters
    ----------
    folder : pathlib.Path
        Such as `solutions/02_batch_norm`.
    settings : mapping
        "limits" and "boxed", for its box.
    kept : pathlib.Path
        Folder that keys are kept in, for the next batch: that of a Keras exercise takes up to a
        minute.
    """

    def __init__(self, folder, settings, kept):
        self.folder, self.name, self._settings, self._kept = folder, folder.name, settings, kept
        self.tasks = load_tasks(folder)

    @cached_property
    def skeleton(self):
        """The release: what a submission is rebuilt from."""
        return release_notebook(self.folder)

    @cached_property
    def key(self):
        """Right and typical wrong values, hidden cases included; never leaves this machine."""
        place = self._kept / f"{self.name}-{self._sources(_versions())[:16]}"
        try:
            return keys.load(place)
        except keys.KeyFilesError:  # none yet, or a damaged one
            make = keys.make_key if not self.box["keras"] else partial(_elsewhere, keys.make_key)
            # It holds the answers, whoever may look into the folder above.
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            keys.save(make(self.folder, True), place)
        for old in self._kept.glob(f"{self.name}-*"):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
        return keys.load(place)

    @cached_property
    def box(self):
        """Arguments of the box that its submissions need."""
        keras = any(
            re.search(r"^\s*(import|from)\s+keras\b", cell.source, re.M)
            for cell in self.skeleton.cells
        )
        return {"keras": keras, **self._settings}

    @cached_property
    def probes(self):
        """What a job says of its tasks."""
        return {
            task.id: Probe(
                task.probe,
                tuple(part.name for part in task.parts),
                {**task.cases, **task.hidden},
            )
            for task in self.tasks.values()
        }

    @cached_property
    def fingerprint(self):
        """Hash of all that a grade depends on, but for the submission."""
        return self._sources(
            nbformat.writes(self.skeleton), {**self.box, "limits": asdict(self.box["limits"])}
        )

    def _sources(self, *more):
        """Hash of the grader, the assignment, and what else is given as text or plain data."""
        digest = hashlib.sha256()
        for path in [*sorted(GRADING.rglob("*.py")), *sources(self.folder)]:
            digest.update(path.read_bytes())
        for what in more:
            text = what if isinstance(what, str) else json.dumps(what, sort_keys=True)
            digest.update(text.encode())
        return digest.hexdigest()


def _versions():
    """Of what right values may depend on."""
    installed = {}
    for name in COMPUTED_BY:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed | {"backend": os.environ.get("KERAS_BACKEND", "")}


def _elsewhere(function, *arguments):
    """Call a function in a process of its own: what Keras takes in memory is free again when that
    ends.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        raise GradeError(
            "The process that computes the right answers was killed; was there too little memory?"
        ) from None
    except BaseException:
        process.kill()
        raise
    finally:
        ours.close()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _send(connection, function, arguments):
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = error
    with suppress(BrokenPipeError):  # nobody is there any more
        connection.send(answer)
