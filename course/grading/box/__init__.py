"""The box, in which students' code runs: values come out, and nothing else."""

from course.grading.box.box import Box, BoxError, BoxReport, Limits

__all__ = ["Box", "BoxError", "BoxReport", "Limits"]
