"""A whole run of the suite tells every known wrong reading from the specification, and wastes few cases."""

import json
import subprocess
import sys

import pytest

from convspec.harness.oracle.readings import known


@pytest.mark.zoo
@pytest.mark.parametrize(("level", "share"), [("quick", 0.9), ("standard", 1.0)])
def test_a_whole_run_tells_every_known_reading(tmp_path, level, share):
    """A reading that no case of a standard run tells apart is a hole in the suite."""
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "convspec.harness.cli", "check", "numpy", "--level", level, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    power = json.loads(file.read_text(encoding="utf-8"))["power"]["numpy"]
    assert power["known"] == len(known())
    assert len(power["told"]) >= share * power["known"], power["undistinguished"]
    assert not power["out_of_reach"]
    assert power["vacuous"] <= 0.02 * power["cases"]
    assert f"{len(power['told'])} of {power['known']} known wrong readings" in " ".join(done.stdout.split())
