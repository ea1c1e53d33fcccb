"""Files that appear whole or not at all, whenever the program is killed."""

import os
import tempfile
from pathlib import Path


def write_whole(path, content):
    """Write a file whole or not at all, in folders that are made where they are missing.

    Parameters
    ----------
    path : path
    content : bytes or str
        Text is written as UTF-8, its line ends as they are.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new_", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.chmod(file.name, 0o644)  # a temporary file is its owner's alone
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
