"""The versions that pyproject.toml allows: the lowest work, and newer ones may deprecate things."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
TESTS = ROOT / "tests"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
EXTRAS = "grading,site"
# What tells most of the dependencies apart, in a few minutes.
CHOSEN = "test_reference.py", "test_models.py", "test_training.py", "test_environment.py"


def test_each_dependency_has_a_lower_bound():
    extras = PROJECT["project"]["optional-dependencies"]
    listed = [PROJECT["project"]["dependencies"], *extras.values()]
    for requirement in [*sum(listed, []), *PROJECT["dependency-groups"]["test"]]:
        assert re.match(r"[\w.-]+>=\d[\w.]*(;|$)", requirement), requirement


@pytest.mark.slow
def test_the_lowest_versions_that_are_allowed_do(tmp_path):
    """Install them; run the command line, a lesson and the tests that lean on libraries most."""
    uv = shutil.which("uv", path=os.path.dirname(sys.executable)) or shutil.which("uv")
    if not uv:
        pytest.skip("uv is not installed here")
    python = str(tmp_path / "lowest" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    def call(*command):
        done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    base = getattr(sys, "_base_executable", sys.executable)
    assert call(uv, "venv", "--python", base, str(tmp_path / "lowest"))[0] == 0
    lowest = ["--resolution", "lowest-direct", "-e", f".[{EXTRAS}]", "--group", "test"]
    code, said = call(uv, "pip", "install", "--python", python, *lowest)
    if code and ("Failed to fetch" in said or "dns error" in said):
        pytest.skip("the package index cannot be reached: " + said.splitlines()[-1])
    assert code == 0, said[-3_000:]
    for command in ["--help"], ["results"], ["results", "eight"], ["claims"]:
        code, said = call(python, "-m", "course.app.cli", *command)
        assert code == 0, said[-3_000:]
    tests = [str(path) for name in CHOSEN for path in TESTS.rglob(name)]
    assert len(tests) == len(CHOSEN)
    pytest_alone = [python, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider"]
    # Not whether uv.lock is up to date: that uses the newer uv of the environment.
    code, said = call(*pytest_alone, *tests, "-k", "not lock")
    assert code == 0, said[-3_000:]
    lesson = str(next((ROOT / "notebooks").glob("02_*.ipynb")))
    code, said = call(*pytest_alone, "--nbval-lax", "--nbval-current-env", "-W", "ignore", lesson)
    assert code == 0, said[-3_000:]


def outcome(folder, *more):
    """Run a test, under the settings of the course's tests, of code that is deprecated."""
    (folder / "test_old.py").write_text(
        "import warnings\n\ndef test():\n    warnings.warn('old', DeprecationWarning)\n"
    )
    settings = ["-c", ROOT / "pyproject.toml", "-p", "conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *settings, "-n", "0", folder / "test_old.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, more), str(TESTS)])},
        capture_output=True,
        text=True,
    )


def test_a_deprecation_is_an_error_with_the_locked_versions_and_shown_with_others(tmp_path):
    import conftest

    if not conftest.versions_are_locked((ROOT / "uv.lock").read_text(encoding="utf-8")):
        pytest.skip("this environment is not that of uv.lock")
    locked = outcome(tmp_path)
    assert locked.returncode == 1 and "DeprecationWarning: old" in locked.stdout
    newer = tmp_path / "newer" / "typer-99.0.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: typer\nVersion: 99.0\n")
    shown = outcome(tmp_path, newer.parent)
    assert shown.returncode == 0 and "DeprecationWarning: old" in shown.stdout, shown.stdout


def test_the_workflow_runs_every_python_and_every_room():
    jobs = WORKFLOW["jobs"]
    versions = jobs["main-thing"]["strategy"]["matrix"]["python"]
    classified = PROJECT["project"]["requires-python"]
    assert classified == f">={versions[0]},<3.{int(versions[-1].split('.')[1]) + 1}"
    rooms = {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    assert rooms <= set(jobs["everything"]["strategy"]["matrix"]["room"])


def test_the_hooks_run_tools_of_the_environment():
    """pre-commit fetches nothing, and each tool is one that `run.py test` installs."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in hooks["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert hook["entry"].startswith((".venv/bin/ruff ", ".venv/bin/python "))
