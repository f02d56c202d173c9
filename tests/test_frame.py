"""The frame holds together: documents, tox, CI and packaging say the same, and the README's examples are true.

Run from the wheel (`tox`), the packaging tests look at what was installed from it; in an editable install
they see the working tree itself and so prove less.
"""

import configparser
import doctest
import importlib.metadata
import importlib.resources
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import convspec
from convspec import adapters
from convspec.adapters import registry
from convspec.harness.deviations import shipped
from convspec.harness.verdict import State
from convspec.reference.explain import FRAMEWORKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE_DIR: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]


def blocks(language: str) -> list[str]:
    """The README's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def setup_commands() -> list[str]:
    """The commands that a newcomer copies: those that start from nothing but Python."""
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [command for command in commands if " -m venv " in command]


def tox_config() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini", encoding="utf-8")
    return config


def tox_environments() -> set[str]:
    """Every environment of tox.ini, listed or not."""
    config = tox_config()
    named = {section.removeprefix("testenv:") for section in config.sections() if section.startswith("testenv:")}
    named = {name for name in named if "{" not in name}  # the matrix: its names are made from factors
    return named | set(re.split(r",\s*", config["tox"]["env_list"]))


def convspec_command(*arguments: str) -> str:
    """What the installed command prints, with colours and line breaks out of the way."""
    command = Path(sys.executable).with_name("convspec")
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, f"convspec {' '.join(arguments)} exits {done.returncode}: {done.stderr}"
    return done.stdout


def test_what_has_scripts_and_calls_to_run_is_installed_where_they_are_run() -> None:
    """A test that is skipped everywhere shows nothing."""
    extras = set(re.split(r",\s*", tox_config()["testenv:frameworks"]["extras"]))
    assert {entry.backend for entry in shipped()} <= extras
    assert {"onnxruntime" if name == "onnx" else name for name in FRAMEWORKS} - {"keras"} <= extras


# The two commands


def test_readme_has_the_two_commands_the_main_job_first() -> None:
    first, second = setup_commands()
    assert first.endswith("tox run -e check")
    assert second.endswith("tox run")
    assert first.removesuffix(" -e check") == second


def test_ci_runs_the_second_command_of_the_readme_as_its_last() -> None:
    _, second = setup_commands()
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == second


def test_ci_run_is_executable_and_valid_bash() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) or sys.platform == "win32"
    subprocess.run(["bash", "-n", script], check=True)


# tox


def test_every_tox_environment_is_in_the_readme_and_the_other_way_round() -> None:
    table = README[README.index("| `tox run -e ...` |") :].split("\n\n")[0]
    first_cells = "".join(row.split("|")[1] for row in table.splitlines()[2:])
    assert set(re.findall(r"`([^`]+)`", first_cells)) == tox_environments()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".pre-commit-config.yaml", "pyproject.toml"])
def test_documents_name_only_environments_that_exist(document: str) -> None:
    named = re.findall(r"\btox run (?:-q )?-e ([a-z][a-z0-9]*)", (ROOT / document).read_text(encoding="utf-8"))
    assert named, f"{document} mentions no tox environment: take it off this list"
    assert set(named) <= tox_environments()


def test_tested_pythons_are_those_declared() -> None:
    prefix = "Programming Language :: Python :: 3."
    declared = [line.removeprefix(prefix) for line in PYPROJECT["project"]["classifiers"] if line.startswith(prefix)]
    tested = re.findall(r"\bpy3(\d+)\b", tox_config()["tox"]["env_list"])
    assert tested == declared
    assert PYPROJECT["project"]["requires-python"] == f">=3.{tested[0]}"
    for python in tested:
        assert f"3.{python}" in README


def test_main_job_is_not_part_of_the_tests() -> None:
    config = tox_config()
    assert "check" not in re.split(r",\s*", config["tox"]["env_list"])
    assert config["testenv:check"]["commands"].split()[:2] == ["convspec", "check"]


# Packaging


def test_one_version_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert convspec.__version__ == version
    assert importlib.metadata.version("convspec") == version
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_every_folder_with_code_is_a_package() -> None:
    shipped = {ROOT / folder for folder in PACKAGE_DIR.values()}
    mapped = set(PYPROJECT["tool"]["setuptools"]["packages"])
    for package, folder in PACKAGE_DIR.items():
        below = {path.parent for path in (ROOT / folder).rglob("*.py")}
        for path in below - shipped:
            name = ".".join([package, *path.relative_to(ROOT / folder).parts])
            assert name in mapped, f"{path.relative_to(ROOT)} is not in [tool.setuptools] packages as {name}"


@pytest.mark.parametrize("package", PACKAGE_DIR)
def test_installed_package_has_the_files_of_its_folder(package: str) -> None:
    """Code, the specification's text and the marker of types; no more, as a stale build/ folder would add."""
    shipped = {".py", ".md", ".toml", ".typed"}
    source = {path.name for path in (ROOT / PACKAGE_DIR[package]).iterdir() if path.suffix in shipped}
    installed = {
        path.name for path in importlib.resources.files(package).iterdir() if Path(path.name).suffix in shipped
    }
    assert installed == source, "forgotten in [tool.setuptools.package-data], or left over in build/"


def test_specification_types_and_conformance_tests_are_installed() -> None:
    files = importlib.resources.files
    assert files("convspec").joinpath("py.typed").is_file()
    assert files("convspec.spec").joinpath("geometry.md").is_file()
    assert any(path.name.startswith("test_") for path in files("convspec.conformance").iterdir())


def test_library_needs_numpy_alone() -> None:
    assert [re.split(r"[<>=]", line)[0] for line in PYPROJECT["project"]["dependencies"]] == ["numpy"]
    extras = "click hypothesis jsonschema pytest rich scipy tensorflow torch xdist"
    program = f"import sys, convspec, convspec.spec; print(*set('{extras}'.split()) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# The README's examples


def test_library_examples_are_true() -> None:
    [example] = blocks("pycon")
    session = doctest.DocTestParser().get_doctest(example, {}, "README.md", "README.md", 0)
    assert len(session.examples) >= 5
    output: list[str] = []
    results = doctest.DocTestRunner().run(session, out=output.append)
    assert results.failed == 0, "".join(output)


def test_example_backend_has_real_methods_and_the_right_values() -> None:
    [example] = blocks("python")
    module: dict[str, object] = {}
    exec(compile(example, "mine.py", "exec"), module)
    backend = module["Mine"]()  # type: ignore[operator]  # a class that mypy cannot see
    data = np.random.default_rng(0)
    x = data.integers(-4, 5, (2, 7, 6, 3)).astype(np.float32)
    w = data.integers(-4, 5, (3, 2, 3, 5)).astype(np.float32)
    given = {"strides": (2, 1), "padding": "VALID", "dilations": (1, 1)}
    np.testing.assert_array_equal(backend.conv2d(x, w, groups=1, **given), convspec.conv2d(x, w, **given))
    np.testing.assert_array_equal(
        backend.max_pool(x, ksize=(3, 2), **given), convspec.max_pool(x, ksize=(3, 2), **given)
    )
    with pytest.raises(adapters.Unsupported):
        backend.conv2d(x, w, groups=1, **{**given, "padding": "SAME"})


def test_signatures_in_the_readme_are_the_four_methods() -> None:
    listed = re.findall(r"^    (\w+)\(x, .*\) +-> ", README, flags=re.MULTILINE)
    assert tuple(listed) == adapters.METHODS


def test_built_in_backends_and_devices_are_in_the_readme() -> None:
    [sentence] = [part for part in README.split("\n\n") if part.startswith("A backend is `")]
    listed = {name for name in re.findall(r"`([^`]+)`", sentence) if "." not in name}
    names = set(registry.BUILT_IN)
    with_device = {f"{name}:{device}" for name, entry in registry.BUILT_IN.items() for device in entry.devices}
    assert listed == names | with_device | {"numpy:definition"}


def test_states_in_the_readme_are_those_of_a_verdict() -> None:
    table = README[README.index("| state | meaning |") :].split("\n\n")[0]
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:]] == [state.value for state in State]


def test_links_and_pictures_of_the_documents_exist() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{target} is linked and does not exist"


# The command line


def test_subcommands_of_the_readme_exist() -> None:
    listed = set(re.findall(r"^\| `convspec (\w+)", README, flags=re.MULTILINE))
    help_text = convspec_command("--help")
    offered = set(re.findall(r"^\s+(\w+)  +\S", help_text[help_text.index("Commands") :], flags=re.MULTILINE))
    assert listed == offered


def test_options_of_the_readme_are_those_of_convspec_check() -> None:
    table = README[README.index("| option of `convspec check` |") :].split("\n\n")[0]
    listed = set(re.findall(r"^\| `(--?[a-z-]+)", table, flags=re.MULTILINE))
    help_text = convspec_command("check", "--help")
    options = re.findall(r"^\s+(--?[a-z][a-z-]*)(?:, (--[a-z-]+))?", help_text, flags=re.MULTILINE)
    offered = {pair for pair in options if "--help" not in pair}
    for short_or_long in listed:
        assert any(short_or_long in pair for pair in offered), f"convspec check has no {short_or_long}"
    for pair in offered:
        assert listed & set(pair), f"the README leaves out {pair}"


def test_levels_and_default_of_the_readme_are_those_of_convspec_check() -> None:
    row = next(line for line in README.splitlines() if line.startswith("| `--level "))
    levels = re.search(r"`--level ([^`]+)`", row)
    default = re.search(r"default `(\w+)`", row)
    assert levels is not None
    assert default is not None
    help_text = convspec_command("check", "--help")
    shown = re.search(r"--level\s+\[(.+?)\](?:(?!\n\s+-).)*?\[default: (\w+)", help_text, flags=re.DOTALL)
    assert shown is not None, "convspec check --help shows no levels with [default: ...]"
    assert levels[1].replace("\\|", "|") == shown[1]
    assert default[1] == shown[2]
