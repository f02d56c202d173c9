"""The pytest door: `pytest --pyargs convspec.conformance --backend NAME` with pytest's own options."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

WRONG = """
from convspec.adapters.numpy_backend import NumpyBackend
class OddPixelFirst(NumpyBackend):
    def __init__(self): super().__init__("fast")
    def conv2d(self, x, w, *, padding, **options):
        return super().conv2d(x, w, padding="SAME_LOWER" if padding == "SAME" else padding, **options)
"""


@pytest.fixture
def wrong(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    return tmp_path


def run_pytest(*args, cwd):
    command = [sys.executable, "-m", "pytest", "--pyargs", "convspec.conformance", "--level", "quick", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_a_right_backend_passes_with_pytests_own_summary(tmp_path):
    done = run_pytest("--backend", "numpy", "-k", "same_odd", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    assert "numpy: 4 of 4 cells pass" in done.stdout


def test_a_wrong_backend_fails_in_junit_too(wrong):
    done = run_pytest(
        "--backend", "wrong.py:OddPixelFirst", "-k", "same_odd", "--junitxml", "j.xml", "-n", "2", cwd=wrong
    )
    assert done.returncode == 1
    assert "same-odd-pixel-last (MUST)" in done.stdout
    suite = ET.parse(wrong / "j.xml").getroot().find("testsuite")
    assert suite.get("failures") == "4"


def test_stopping_at_the_first_failure_is_pytests(wrong):
    done = run_pytest("--backend", "wrong.py:OddPixelFirst", "-k", "same_odd", "-x", "-q", cwd=wrong)
    assert "1 failed" in done.stdout
    assert "3 not run" in done.stdout


def test_a_should_is_an_expected_failure_and_a_refusal_a_skip(tmp_path):
    (tmp_path / "varies.py").write_text(
        "import numpy as np\n"
        "from convspec.adapters import Unsupported\n"
        "from convspec.adapters.numpy_backend import NumpyBackend\n"
        "class B(NumpyBackend):\n"
        "    def __init__(self): super().__init__('fast')\n"
        "    def conv2d(self, x, w, **o):\n"
        "        y = super().conv2d(x, w, **o)\n"
        "        return np.nextafter(y, y + 1) if x.shape[0] > 1 and x.dtype == np.float32 else y\n"
        "    def max_pool(self, x, **o): raise Unsupported('no pools here')\n"
    )
    done = run_pytest(
        "--backend", "varies.py:B", "-k", "batch_invariance or max_pool_maximum", "-q", "-rs", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout
    assert "no pools here" in done.stdout


def test_without_a_backend_it_says_how_to_name_one(tmp_path):
    done = run_pytest(cwd=tmp_path)
    assert done.returncode == 4
    assert "--backend" in done.stdout + done.stderr


def test_a_plain_pytest_run_is_left_alone(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'convspec.harness.judge', 'hypothesis', 'rich'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "test_x.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert "1 passed" in done.stdout, done.stdout
    assert "convspec" not in done.stdout
