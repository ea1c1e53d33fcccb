"""`python -m course.app.cli` is the command `course`."""

from course.app.cli import app

app(prog_name="course")
