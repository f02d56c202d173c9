"""What the suite finds, whom it spares, and how long it takes: the figures of benchmarks/conformance.md.

    python benchmarks/conformance.py deviations     does a run find every known deviation?
    python benchmarks/conformance.py trust          the reference at level deep: no finding, in so many outputs
    python benchmarks/conformance.py times          wall time of the levels, start-up included

Each prints a Markdown table; the hardware and the versions are in its last line. Needs the extras check, torch and
tensorflow. `deviations` and `times` take a few minutes, `trust` half an hour.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: (backend, what is known, the clause it has to appear under, a word that its finding must contain).
KNOWN = (
    ("tensorflow", "3x3 on 2x2, VALID: unwritten memory, the input's shape", "conv2d-empty-output", "uninitialised"),
    ("tensorflow", "batch 0, VALID: the input's shape", "empty-batch", "wrong shape"),
    ("tensorflow", "window = input + 1, VALID: the process dies (SIGFPE)", "max-pool-empty-output", "SIGFPE"),
    ("tensorflow", "image of rank 3: the process dies (SIGABRT)", "error-rank", "SIGABRT"),
    ("torch", "no input channels: no output channels either", "no-input-channels", "wrong shape"),
    ("tensorflow", "no input channels: refused", "no-input-channels", "refused"),
    ("tensorflow", "a NaN in a pooling window is dropped", "max-pool-nan", "nan"),
    ("tensorflow", "a window of -inf gives the lowest finite number", "max-pool-all-minus-infinity", "-inf"),
    ("torch", "padding under an infinite weight: depends on the shape", "consistency-of-padding-taps", "absent"),
    ("tensorflow", "padding under an infinite weight: depends on the type", "consistency-of-padding-taps", "absent"),
    ("torch", "an image in a batch and alone: other last bits", "batch-invariance", "differs"),
    ("tensorflow", "subnormals are flushed", "subnormals-kept", "got"),
)


#: Of everything that was judged.
VERSIONS: dict[str, str] = {}


def check(*args: str) -> tuple[dict[str, Any], int, float]:
    """Run `convspec check`: its results, its exit status, its wall time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        started = time.perf_counter()
        done = subprocess.run(["convspec", "check", *args, "--json", str(path)], check=False, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        results = json.loads(path.read_text(encoding="utf-8"))
    VERSIONS.update({name: v for one in results["backends"].values() for name, v in one["versions"].items()})
    return results, done.returncode, seconds


def deviations() -> None:
    """Look every known deviation up in the results of one run."""
    found, status, seconds = check("torch", "tensorflow", "--level", "standard", "--no-deviations")
    print("| backend | known | clause | witness | elements |\n|---|---|---|---|---|")
    missing = 0
    for backend, known, clause, word in KNOWN:
        findings = [
            f
            for c in found["cells"]
            if c["backend"] == backend and c["clause"] == clause
            for f in c["findings"]
            if word in " ".join(("got", f["message"], f["expected"], f["got"], f["stderr"]))
        ]
        best = min(findings, key=lambda f: f["elements"], default=None)
        missing += best is None
        shown = (f"`{best['call'].split('  #')[0]}`", best["elements"]) if best else ("**not found**", "")
        print(f"| {backend} | {known} | `{clause}` | {shown[0]} | {shown[1]} |")
    print(f"\n{len(KNOWN) - missing} of {len(KNOWN)} found; exit status {status}; {seconds:.0f} s.")
    footer(found)
    sys.exit(missing > 0 or status != 1)


def trust() -> None:
    """Judge the two forms of the reference as deeply as the suite can; nothing may be found."""
    print("| backend | cells that pass | cases | outputs judged | findings | seconds |\n|---|---|---|---|---|---|")
    wrong = 0
    for name in ("numpy", "numpy:definition"):
        found, _, seconds = check(name, "--level", "deep")
        cells = found["cells"]
        findings = sum(len(c["findings"]) for c in cells)
        wrong += findings
        passed = sum(c["state"] == "pass" for c in cells)
        counted = f"{sum(c['cases'] for c in cells):,} | {sum(c['outputs'] for c in cells):,}"
        print(f"| {name} | {passed} of {len(cells)} | {counted} | {findings} | {seconds:.0f} |", flush=True)
    footer(found)
    sys.exit(wrong > 0)


def times() -> None:
    """Wall time from the command to its end: imports, start of the frameworks and restarts after crashes included."""
    print("| command | level | seconds | cases |\n|---|---|---|---|")
    runs = [(("torch", "tensorflow"), "quick"), (("numpy",), "quick")]
    runs += [((name,), "standard") for name in ("torch", "tensorflow", "numpy")]
    for names, level in runs:
        found, _, seconds = check(*names, "--level", level)
        cases = sum(c["cases"] for c in found["cells"])
        print(f"| `convspec check {' '.join(names)}` | {level} | {seconds:.0f} | {cases:,} |", flush=True)
    footer(found)


def footer(found: dict[str, Any]) -> None:
    """Say where and when."""
    listed = ", ".join(f"{name} {version}" for name, version in sorted(VERSIONS.items()))
    cores = os.cpu_count()
    print(f"\n{found['date'][:10]}, {cores} cores of {platform.machine()}, {platform.system()}; {listed}.")


if __name__ == "__main__":
    commands = {"deviations": deviations, "trust": trust, "times": times}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]]()
