"""What is wrong, and what the user can do about it."""


class UserError(Exception):
    """An error that the user can mend: commands print its sentence in place of a traceback."""
