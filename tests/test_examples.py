"""The examples do what their texts say: a worker in JavaScript, a package with a backend, and the workflows."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from convspec.spec import clauses

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def states(path):
    """From (clause, dtype) to the state, of a results file of one backend."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {(cell["clause"], cell["dtype"]): cell["state"] for cell in cells}


# ------------------------------------------------------------------------------------------------------- JavaScript


@pytest.mark.once
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_worker_in_javascript_holds_every_clause(tmp_path):
    worker = "command:node examples/javascript/worker.mjs"
    command = [sys.executable, "-m", "convspec.harness.cli", "check", worker, "--level", "quick", "-n", "1"]
    command += ["--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = states(tmp_path / "out.json")
    assert set(found.values()) <= {"pass", "unsupported", "not run"}
    core = [key for key in found if clauses()[key[0]].profile == "core" and key[1] in ("float32", "float64")]
    assert len(core) > 60
    assert {key for key in core if found[key] != "pass"} <= {("thread-invariance", "float32")}  # not asked at quick
    assert {found[key] for key in found if key[1] in ("float16", "bfloat16", "int8")} == {"unsupported"}


def test_the_worker_in_javascript_needs_node_alone_and_is_short():
    files = sorted((EXAMPLES / "javascript").glob("*.mjs"))
    assert [file.name for file in files] == ["kernels.mjs", "worker.mjs"]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert len(text.splitlines()) < 400
    imported = re.findall(r'^import .* from "(.+)";', text, re.M)
    assert set(imported) == {"node:fs", "node:os", "./kernels.mjs"}
    assert "require(" not in text


# ------------------------------------------------------------------------------------------- a package of one's own


def commands():
    """The five of the README, from an empty folder to a verdict."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```bash\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    return block.splitlines()


def site_packages(python):
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip())


def install_convspec(python):
    """In place of `pip install "../convspec[check]"`: what these tests run with is seen from there, and the command."""
    ours = [path for path in sys.path if Path(path).name == "site-packages"]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in ours]
    (site_packages(python) / "convspec-of-the-tests.pth").write_text("".join(lines), encoding="utf-8")
    module, function = PYPROJECT["project"]["scripts"]["convspec"].split(":")
    script = python.with_name("convspec")
    script.write_text(f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    script.chmod(0o755)


def install_editable(python, folder):
    """In place of `pip install -e .`: the folder on the path, and the entry points that its pyproject.toml declares."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site_packages(python) / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups))
    (site_packages(python) / "editable.pth").write_text(f"{folder}\n")


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="the commands are those of a POSIX shell")
def test_from_an_empty_folder_to_a_verdict_in_five_commands(tmp_path):
    """Run as written, but for the two of pip, which would need the network: their effect is made by hand."""
    (tmp_path / "convspec").symlink_to(ROOT)
    here = tmp_path / "mine"
    here.mkdir()
    python = here / ".venv" / "bin" / "python"
    instead = {
        '.venv/bin/pip install "../convspec[check]"': lambda: install_convspec(python),
        ".venv/bin/pip install -e .": lambda: install_editable(python, here),
    }
    ours = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"PATH": ours}
    five = commands()
    assert len(five) == 5
    assert set(instead) < set(five)
    for command in five:
        if command in instead:
            instead[command]()
            continue
        last = command == five[-1]
        line = f"{command} --json results.json -n 1" if last else command
        done = subprocess.run(
            ["bash", "-c", line], cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr}"
    assert "No MUST clause is broken." in done.stdout
    found = states(here / "results.json")
    assert found["conv2d-sum", "float32"] == found["max-pool-nan", "float16"] == "pass"
    assert found["conv2d-input-gradient", "float32"] == found["conv2d-sum", "float16"] == "unsupported"
    ask = [python, "-m", "convspec.harness.cli", "list"]
    listed = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"\bmine\b.*\b0\.1\.0\b", listed.stdout)


# -------------------------------------------------------------------------------------------------------- workflows


def workflow(path):
    yaml = pytest.importorskip("yaml")
    read = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    assert {"name", True, "jobs", "permissions"} <= set(read)  # `on` is a boolean in YAML 1.1
    for job in read["jobs"].values():
        assert {"runs-on", "steps"} <= set(job)
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    return read


def lines_of(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_projects_workflow_runs_tox_on_every_system_and_python():
    jobs = workflow(".github/workflows/ci.yml")["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    prefix = "Programming Language :: Python :: 3."
    declared = [line.split(":: ")[-1] for line in PYPROJECT["project"]["classifiers"] if line.startswith(prefix)]
    assert matrix["python"] == declared
    tox = re.search(r"^env_list = (.+)$", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.M)[1].split(", ")
    here = [f"py{version.replace('.', '')}" for version in declared] + jobs["once"]["strategy"]["matrix"]["environment"]
    assert sorted(here) == sorted(tox)
    assert any("tox run -e py${PYTHON//./}" in line for line in lines_of(jobs["tests"]))


def test_the_gpu_job_waits_for_a_runner_of_ones_own_and_no_pull_request_reaches_it():
    job = workflow(".github/workflows/ci.yml")["jobs"]["gpu"]
    assert job["runs-on"] == ["self-hosted", "gpu"]
    assert "pull_request" not in job["if"]
    backends = [entry["backend"] for entry in job["strategy"]["matrix"]["include"]]
    assert backends == ["torch:cuda", "tensorflow:gpu"]


def test_the_template_s_workflow_judges_the_entry_point_and_keeps_the_results():
    (job,) = workflow("examples/numpy_backend/.github/workflows/conformance.yml")["jobs"].values()
    project = tomllib.loads((EXAMPLES / "numpy_backend" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (name,) = project["entry-points"]["convspec.backends"]
    judge = f'convspec check {name} --json results.json --markdown "$GITHUB_STEP_SUMMARY"'
    assert lines_of(job) == ['pip install "convspec[check]" .', judge]
    upload = job["steps"][-1]
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "results.json"
