"""Bring the newest version of the course, and lose nothing that the reader wrote.

    python3 run.py update

The rule: a file of the course that she changed is copied to `mine/DATE/`, under the path and name
that it has in the course, before the new version takes its place. So are her files that are in the
way of new ones. Files that are hers alone stay where they are; her commits stay, in the branch
`mine_DATE`. A notebook that was run, but in which no cell reads differently, is not copied.

First everything is copied, then the files are replaced: killed at any moment and started again, it
goes on. Nothing but git and the standard library, since this runs before there is an environment.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK_SECONDS = 5  # for a git that outlives a killed update


class UpdateError(Exception):
    """A sentence for the reader: why there is no update, and what to do."""


def git(*arguments, text=None):
    """What a git command prints.

    Parameters
    ----------
    *arguments : str
    text : str, optional
        What it reads from its standard input.

    Raises
    ------
    UpdateError
        With git's own words, if it fails.
    """
    # Names of files as they are, neither quoted nor patterns; this folder's repository, no other.
    command = ["git", "-c", "core.quotePath=off", "--literal-pathspecs", *arguments]
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    done = subprocess.run(
        command,
        cwd=ROOT,
        input=None if text is None else text.encode(),
        capture_output=True,
        env={name: value for name, value in os.environ.items() if name not in elsewhere},
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().replace("\n", " ")
        raise UpdateError(f"git {arguments[0]} failed: {reason}")
    return done.stdout.decode(errors="replace")


def succeeds(*arguments):
    """Whether a git command ends well."""
    try:
        git(*arguments)
    except UpdateError:
        return False
    return True


def find_upstream():
    """The branch that the reader's branch follows, such as `origin/main`.

    Raises
    ------
    UpdateError
        If this folder is no clone, or no branch of the course is checked out.
    """
    if not shutil.which("git"):
        raise UpdateError("git is not installed here, and the update needs it: install it first.")
    if not (ROOT / ".git").exists():
        raise UpdateError(
            "this copy was not made by git (a ZIP file, perhaps): get the new version as you got"
            " this one, into another folder, and keep this one for what you wrote in it."
        )
    if git("diff", "--name-only", "--diff-filter=U"):
        raise UpdateError(
            "git has left files half merged here (`git status` names them): repair them, or say"
            " `git checkout --ours .` and `git add .` to have them as you had them, and run this"
            " again."
        )
    if not succeeds("symbolic-ref", "--quiet", "HEAD"):
        raise UpdateError(
            "no branch is checked out, but a single commit: say `git switch main`, and run this"
            " again."
        )
    if not succeeds("rev-parse", "--abbrev-ref", "@{upstream}"):
        raise UpdateError(
            "your branch follows none of the course's: say `git branch --set-upstream-to"
            " origin/main`, and run this again."
        )
    return git("rev-parse", "--abbrev-ref", "@{upstream}").strip()


def fetch():
    """Download what is new; nothing in the folder changes."""
    try:
        git("fetch", "--quiet")
    except UpdateError as error:
        raise UpdateError(
            f"the new version could not be fetched; nothing was changed. ({error})"
        ) from None


def files_of(commit):
    """The files of a commit: path to the hash of its content."""
    entries = filter(None, git("ls-tree", "-r", "-z", commit).split("\0"))
    return {path: entry.split()[2] for entry, path in (line.split("\t") for line in entries)}


def hashes_here(paths):
    """The hash that git would give to each of these files, as they are now."""
    paths = [path for path in paths if (ROOT / path).is_file()]
    # git hashes what it would commit, so that Windows line ends make no difference.
    hashes = git("hash-object", "--stdin-paths", text="".join(f"{path}\n" for path in paths))
    return dict(zip(paths, hashes.split(), strict=True))


def what_is_written(text):
    """Of a notebook what a person writes: the kind, the source and the pictures of its cells.

    Returns
    -------
    list or None
        None if it cannot be read.
    """
    try:
        return [
            (cell["cell_type"], "".join(cell["source"]), cell.get("attachments"))
            for cell in json.loads(text)["cells"]
        ]
    except (ValueError, KeyError, TypeError):
        return None


def was_only_run(path, hashes):
    """Whether a notebook reads as one of these committed versions does, but for its outputs."""
    if not path.endswith(".ipynb"):
        return False
    written = what_is_written((ROOT / path).read_text(encoding="utf-8", errors="replace"))
    return written is not None and any(
        what_is_written(git("cat-file", "blob", hash_)) == written for hash_ in hashes if hash_
    )


def in_the_way(path):
    """What of the reader's stands where a new file of the course will: a path, or None."""
    for place in [*reversed(Path(path).parents[:-1]), Path(path)]:
        here = ROOT / place
        if os.path.lexists(here) and here.is_dir() != (place != Path(path)):
            return place.as_posix()
    return None


def find_hers(base, head, new):
    """What the reader changed in the course's files.

    Parameters
    ----------
    base, head, new : dict
        Files of the version that she has changed, of her last commit (often the same), of the new
        version.

    Returns
    -------
    kept : list of str
        What must be copied before the new version replaces it.
    run : list of str
        Notebooks that she has run, and no more.
    added : list of str
        Files that are hers alone, but known to git.
    """
    indexed = set(filter(None, git("ls-files", "-z").split("\0")))
    here = hashes_here(sorted(base.keys() | head.keys() | new.keys() | indexed))
    kept, run, added = [], [], []
    for path, hash_ in here.items():
        if path not in base and path not in new:
            added.append(path)
        elif hash_ in (versions := [base.get(path), new.get(path)]):
            continue
        elif was_only_run(path, versions):
            run.append(path)
        else:
            kept.append(path)
    obstacles = {in_the_way(path) for path in new.keys() - here.keys()} - {None, *base}
    return sorted({*kept, *obstacles}), run, added


def same(left, right):
    """Whether two files, or two folders with all that is in them, are the same."""
    if left.is_dir() and right.is_dir():
        names = sorted(os.listdir(left))
        return names == sorted(os.listdir(right)) and all(
            same(left / name, right / name) for name in names
        )
    return left.is_file() and right.is_file() and left.read_bytes() == right.read_bytes()


def choose_place(paths, today):
    """The first of the folders mine/DATE, mine/DATE_2, ... in which nothing would be overwritten.

    A file that is there already, from an update that was killed, is no obstacle.
    """
    for number in range(1, 1000):
        place = ROOT / "mine" / (f"{today}_{number}" if number > 1 else f"{today}")
        if all(
            not os.path.lexists(place / path) or same(ROOT / path, place / path) for path in paths
        ):
            return place
    raise UpdateError("the folder mine/ is full of copies of today: move some of them away.")


def copy(path, place):
    """Copy a file or folder of the course to this place; it appears there whole, or not at all."""
    target, half = place / path, place / f"{path}.half"
    if os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if (ROOT / path).is_dir():
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(ROOT / path, half, symlinks=True)
    else:
        shutil.copy2(ROOT / path, half, follow_symlinks=False)
        if not half.is_symlink():
            with open(half, "rb+") as file:
                os.fsync(file.fileno())
    os.replace(half, target)


def keep_commits(today):
    """Let a branch hold the reader's own commits; its name."""
    for number in range(1, 1000):
        name = f"mine_{today}_{number}" if number > 1 else f"mine_{today}"
        if not succeeds("rev-parse", "--quiet", "--verify", f"refs/heads/{name}"):
            git("branch", name)
            return name
        if git("rev-parse", name) == git("rev-parse", "HEAD"):
            return name  # of an update that was killed
    raise UpdateError("there are very many branches mine_...: remove some of them.")


def replace(new, added):
    """Put the new version in the place of the old one; what is in its way has been copied."""
    folder = Path(git("rev-parse", "--absolute-git-dir").strip())
    lock, begun = folder / "index.lock", folder / "update-begun"
    if begun.exists():  # an update was killed here, and its git may be at work still, or dead
        deadline = time.monotonic() + LOCK_SECONDS
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        lock.unlink(missing_ok=True)
    elif lock.exists():
        raise UpdateError(
            f"another git is at work here; if there is none, remove the file {lock} and run this"
            " again. What you wrote is copied, and nothing else was changed."
        )
    begun.touch()
    if added:  # `git reset` removes what it knows and the new version lacks
        git("rm", "--quiet", "--cached", "--force", "--ignore-unmatch", "--", *added)
    git("reset", "--quiet", "--hard", new)
    begun.unlink()


def tell(title, names):
    """Print a list under its title, if there is anything in it."""
    if names:
        print(f"\n{title}")
        for name in names:
            print(f"  {name}")


def update(today):
    """Bring the newest version.

    Raises
    ------
    UpdateError
        If there is none to be had; nothing was changed then.
    """
    upstream = find_upstream()
    fetch()
    old, new = git("rev-parse", "HEAD").strip(), git("rev-parse", upstream).strip()
    if succeeds("merge-base", "--is-ancestor", new, old):
        print("This is the newest version already.")
        return
    if not succeeds("merge-base", old, new):
        raise UpdateError(f"your branch and {upstream} have no commit in common.")
    base = git("merge-base", old, new).strip()
    files = files_of(base), files_of(old), files_of(new)
    kept, run, added = find_hers(*files)
    place = choose_place(kept, today)
    for path in kept:
        copy(path, place)
    branch = keep_commits(today) if base != old else None
    replace(new, added)
    count = git("rev-list", "--count", f"{base}..{new}").strip()
    since = git("show", "-s", "--format=%cs", base).strip()
    changes = "1 change" if count == "1" else f"{count} changes"
    print(f"The course is up to date: {changes} since {since}.")
    tell(f"You changed these; your version is now in {place.relative_to(ROOT).as_posix()}/", kept)
    tell("You ran these and changed nothing in them; they are the course's again:", run)
    tell("These are yours alone, and where they were:", added)
    if branch:
        print(f"\nYour own commits are in the branch {branch}.")
    print("\nReload what is open in JupyterLab. The next start brings the packages up to date.")


def main():
    """Update, or say in a sentence why not."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    sys.stdout.reconfigure(errors="replace")  # a console may lack a letter of a file's name
    try:
        update(datetime.date.today().isoformat())
    except UpdateError as error:
        print(f"update: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"update: {error}. Mend that, and run this again: it goes on.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
