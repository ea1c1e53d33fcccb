"""The command `course`: check this machine, open the lessons, run the experiments."""

from importlib import import_module

from course.app.cli.common import app


@app.callback()
def course() -> None:
    """Batch normalization and dropout with Keras 3: a course you can run."""


# Each adds its commands, which `course --help` lists in this order.
for _name in ("lessons", "publish", "experiments", "grading"):
    import_module(f"{__name__}.{_name}")

__all__ = ["app"]
