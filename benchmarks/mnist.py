"""What `convspec mnist` was measured to do: right backends, planted faults, speed, and the full set. Writes mnist.md.

    python benchmarks/mnist.py frameworks        torch and TensorFlow, nets A and B, three seeds, 150 steps
    python benchmarks/mnist.py planted           each planted fault: what it breaks, what it is named, its accuracy
    python benchmarks/mnist.py spared            right trainers that look unusual, ten seeds
    python benchmarks/mnist.py full --data DIR   one epoch of all of MNIST: accuracy of the reference, torch, TensorFlow
    python benchmarks/mnist.py speed             a step of the reference, of torch, and of the bare matrix products
    python benchmarks/mnist.py default           time and memory of the default command

Each writes its own section of benchmarks/mnist.md and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WRONG = HERE.parent / "tests" / "mutants" / "wrong_training.py"
FRAMEWORKS = ("torch", "tensorflow")


def run(*arguments: object) -> tuple[dict, float, int]:
    """One `convspec mnist`: its results, seconds and exit status."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, "-m", "convspec.harness.cli", "mnist", *map(str, arguments), "--json", str(file)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, check=False)
        seconds = time.perf_counter() - started
        return json.loads(file.read_text()), seconds, done.returncode


def versions(found: dict) -> str:
    """Date, machine and versions, in one line."""
    told = {}
    for backend in found["backends"].values():
        told |= backend["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in told.items())
    return f"{found['date'][:10]}, {found['machine']['system']}, {found['machine']['cores']} cores, {listed}."


def figures(found: dict, backend: str, net: str) -> dict[str, float]:
    """The largest errors over all seeds and steps, as relative errors."""
    from convspec.harness.training.lockstep import GRADIENT, LOSS  # here: NumPy reads the threads when it is imported

    of, loss, others = found["compared"][net], 0.0, 0.0
    for one in found["runs"]:
        if (one["who"], one["net"]) == (backend, net) and "errors" in one:
            for row in one["errors"]:
                loss = max(loss, row[of.index("loss")] * LOSS)
                rest = [e for e, name in zip(row, of, strict=True) if name not in ("loss", "branches")]
                others = max(others, max(rest) * GRADIENT)
    return {"loss": loss, "others": others}


def frameworks() -> str:
    """Right backends, three seeds."""
    found, seconds, status = run(*FRAMEWORKS, "--steps", 150, "--seeds", 3)
    rows = ["| backend | net | loss | outputs and gradients | step 8 | end, of what is allowed | accuracy |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    for backend in FRAMEWORKS:
        for net in found["nets"]:
            own = [v for v in found["verdicts"] if (v["backend"], v["net"]) == (backend, net)]
            by = {slug: [v for v in own if v["clause"] == slug] for slug in {v["clause"] for v in own}}
            worst = figures(found, backend, net)
            end = max(v["figure"] / v["limit"] for v in by["training-end"])
            rows.append(
                f"| {backend} | {net} | {worst['loss']:.1e} | {worst['others']:.1e} "
                f"| {max(v['figure'] for v in by['training-early']):.1e} | {end:.2f} "
                f"| {', '.join(format(v['figure'], '.3f') for v in by['training-accuracy'])} |"
            )
    states = {v["state"] for v in found["verdicts"] if v["level"] == "MUST"}
    return (
        f"{versions(found)} 150 steps of 64, seeds 0, 1, 2; every step compared. Exit status {status}; states of MUST "
        f"verdicts: {', '.join(sorted(states))}. {seconds:.0f} s.\n\n" + "\n".join(rows)
    )


def planted(only: list[str] | None = None, before: str = "") -> str:
    """Each fault in both nets, with what accuracy alone would have said; rows of faults not asked for stay."""
    sys.path.insert(0, str(WRONG.parent.parent))
    from mutants import wrong_training

    names = only or list(wrong_training.PLANTED)
    rows = ["| fault | net | MUST clauses broken | named | accuracy | the reference's | by accuracy alone |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    found, _, _ = run(*(f"{WRONG}:{name}" for name in names))
    for name in names:
        for net in found["nets"]:
            own = [v for v in found["verdicts"] if (v["net"], v["backend"]) == (net, f"{WRONG}:{name}")]
            broken = [
                v["clause"].removeprefix("training-") for v in own if v["level"] == "MUST" and v["state"] == "fail"
            ]
            said = sorted({v["diagnosis"] for v in own if v["diagnosis"]})
            accuracy = next(v for v in own if v["clause"] == "training-accuracy")
            mine = next(one["accuracy"] for one in found["runs"] if (one["net"], one["who"]) == (net, "reference"))
            judged = "right" if accuracy["state"] == "pass" else "wrong"
            rows.append(
                f"| {wrong_training.what(name)} | {net} | {', '.join(broken) or 'none: it makes no difference here'} "
                f"| {'; '.join(said)} | {accuracy['figure']:.3f} | {mine:.3f} | {judged} |"
            )
    again = {row.rsplit(" | ", 5)[0]: row for row in rows}
    if only:
        rows = [again.get(row.rsplit(" | ", 5)[0], row) for row in before.splitlines() if row.startswith("|")]
    return "78 steps of 64 (one pass over the shipped images), seed 0.\n\n" + "\n".join(rows)


def spared() -> str:
    """Right trainers, ten seeds."""
    sys.path.insert(0, str(WRONG.parent.parent))
    from mutants import wrong_training

    said = []
    for names, options in (
        (wrong_training.SPARED, ("--net", "B", "--steps", 16, "--batch", 16)),
        (wrong_training.SPARED_READINGS, ("--net", "B", "--steps", 3, "--batch", 4)),
    ):
        found, seconds, status = run(*(f"{WRONG}:{name}" for name in names), *options, "--seeds", 10)
        musts = [v for v in found["verdicts"] if v["level"] == "MUST"]
        broken = [v for v in musts if v["state"] != "pass"]
        worst = max(max(row) for one in found["runs"] for row in one.get("errors", []))
        steps, batch = options[options.index("--steps") + 1], options[options.index("--batch") + 1]
        said.append(
            f"{', '.join(names)}: net {found['nets'][0]}, seeds 0 to 9, {steps} steps of "
            f"{batch}; {len(musts)} MUST verdicts, {len(broken)} not passed (exit status {status}); the largest error "
            f"was {worst:.2g} of the criterion; {seconds:.0f} s."
        )
    return "\n\n".join(said)


def full(folder: str) -> str:
    """One epoch of all of MNIST."""
    import numpy as np

    from convspec.harness.process.remote import RemoteBackend
    from convspec.harness.training import data, tasks
    from convspec.harness.training.subject import Subject

    digits = data.full(Path(folder))
    steps = len(digits.images) // 64
    rows = ["| | seed | test accuracy | seconds |", "|---|---|---|---|"]
    for who in ("numpy", *FRAMEWORKS):
        task = tasks.Task("A", 0, who, True, steps, 64, 0.05, 0.9)
        record, started = tasks.Record(facts={}), time.perf_counter()
        with (
            tempfile.TemporaryDirectory() as kept,
            RemoteBackend(who, timeout=300, env=tasks.ENVIRONMENT) as backend,
        ):
            tasks._freely(task, digits, Subject(backend), record, Path(kept) / "x.npz", lambda *_: None)
        right = float(np.mean(record.arrays["predicted"] == digits.test_labels))
        rows.append(f"| {who} | 0 | {right:.4f} | {time.perf_counter() - started:.0f} |")
        print(rows[-1], flush=True)
    return (
        f"Net A, {steps} steps of 64 over 60,000 images, 10,000 test images, rate 0.05, momentum 0.9.\n\n"
        + "\n".join(rows)
    )


def speed() -> str:
    """Steps and products side by side, one thread each, in one process."""
    import numpy as np
    import torch

    from convspec.adapters import registry
    from convspec.harness.training import data
    from convspec.reference import training

    torch.set_num_threads(1)
    digits, backends = data.subset(), {"reference": registry.load("numpy"), "torch": registry.load("torch")}
    images, labels = digits.images[:64], digits.labels[:64]
    rows = [
        "| net | the reference, ms | matrix products, ms | torch, ms | of the products | of torch |",
        "|---|---|---|---|---|---|",
    ]
    for name, net in training.NETS.items():
        parameters = training.initial(net, 0)
        state = [*parameters, *(np.zeros_like(p) for p in parameters)]
        products = _products(net, parameters)
        best = dict.fromkeys((*backends, "products"), np.inf)
        ratios = {"products": [], "torch": []}
        for _ in range(15):
            spent = {}
            for who, backend in backends.items():
                started = time.perf_counter()
                backend.train(images, labels, *state, net=net, batch=64, rate=0.05, momentum=0.9)
                spent[who] = time.perf_counter() - started
            started = time.perf_counter()
            for a, b in products:
                a @ b
            spent["products"] = time.perf_counter() - started
            best = {who: min(best[who], spent[who]) for who in best}
            for who, of in ratios.items():
                of.append(spent["reference"] / spent[who])
        rows.append(
            f"| {name} | {best['reference'] * 1e3:.1f} | {best['products'] * 1e3:.1f} | {best['torch'] * 1e3:.1f} "
            f"| {np.median(ratios['products']):.2f} | {np.median(ratios['torch']):.2f} |"
        )
    return (
        "One step of 64 images, update included, one thread; the least of 15 rounds, and the median of the rounds' "
        "ratios. The products are those of all convolutions and dense layers, forward and back, on matrices that lie "
        f"ready.\n\n{chr(10).join(rows)}\n\nPeak memory of the process, torch loaded: "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB."
    )


def _products(net, parameters):
    import numpy as np

    from convspec.reference import training

    found, shapes, rest = [], training.shapes(net, (28, 28, 1)), iter(parameters[::2])
    for number in training.weighted(net):
        w = next(rest)
        pixels = 64 * int(np.prod(shapes[number][:-1], dtype=int))
        k, f = w.size // w.shape[-1], w.shape[-1]
        x, m, dy = (np.ones(shape, np.float32) for shape in ((pixels, k), (k, f), (pixels, f)))
        found += [(x, m), (x.T, dy)] + ([(dy, m.T)] if number else [])
    return found


def default() -> str:
    """Time and memory of the default command with two backends."""
    found, seconds, status = run(*FRAMEWORKS)
    _, least, _ = run("numpy")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return (
        f"{versions(found)} `convspec mnist torch tensorflow`: {seconds:.0f} s, exit status {status}. `convspec mnist "
        f"numpy`: {least:.0f} s. The largest process (TensorFlow's) took {peak} MB."
    )


TITLES = {
    "frameworks": "Right backends", "planted": "Planted faults", "spared": "Right trainers that look unusual",
    "full": "All of MNIST, one epoch", "speed": "Speed", "default": "The default command",
}  # fmt: skip


def main() -> None:
    """Measure what is asked and put it in its section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=TITLES)
    parser.add_argument("--data", help="folder with the full set")
    parser.add_argument("--only", action="append", help="of planted: this fault alone; may be repeated")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if asked.what == "speed" and name not in os.environ:
            os.environ[name] = "1"
    file = HERE / "mnist.md"
    text = file.read_text(encoding="utf-8") if file.exists() else "# Training in lockstep: what was measured\n"
    sections = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    if asked.what == "planted":
        said = planted(asked.only, sections.get(TITLES["planted"], ""))
    else:
        said = full(asked.data) if asked.what == "full" else globals()[asked.what]()
    sections[TITLES[asked.what]] = f"`python benchmarks/mnist.py {asked.what}`. {said}\n"
    head = text[: text.index("\n## ")] if "\n## " in text else text.rstrip()
    listed = [f"## {title}\n\n{sections[title].rstrip()}\n" for title in TITLES.values() if title in sections]
    file.write_text(head.rstrip() + "\n\n" + "\n".join(listed), encoding="utf-8")


if __name__ == "__main__":
    main()
