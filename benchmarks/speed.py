"""Measure the reference side by side with a bare matrix product, PyTorch and ONNX's ReferenceEvaluator, on one thread.

    python benchmarks/speed.py [ROUNDS] [--markdown FILE]

Everything is measured in one run, in turns, and reported as medians: what the machine does to one it does to all. Needs
torch and onnx for their columns; without them these are left out.
"""

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

import convspec

CONVOLUTIONS = [
    ((64, 14, 14, 32), (5, 5, 32, 64)),
    ((8, 56, 56, 64), (3, 3, 64, 64)),
    ((64, 28, 28, 1), (5, 5, 1, 32)),
]
POOL = ((64, 28, 28, 32), 2)
SMALL = ((1, 5, 5, 2), (3, 3, 2, 3))


THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def medians(rivals, rounds):
    """Median seconds of each callable, called in turns; those that take under a millisecond many times a turn."""
    repeat = {}
    for name, call in rivals.items():
        call()
        start = time.perf_counter()
        call()
        repeat[name] = max(1, min(200, int(2e-3 / (time.perf_counter() - start))))
    taken = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, call in rivals.items():
            start = time.perf_counter()
            for _ in range(repeat[name]):
                call()
            taken[name].append((time.perf_counter() - start) / repeat[name])
    return {name: float(np.median(times)) for name, times in taken.items()}


def torch_convolution(x, w):
    """PyTorch on the same images, in the NCHW that it is used with."""
    import torch

    torch.set_num_threads(1)
    image = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    filters = torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))
    return lambda: torch.nn.functional.conv2d(image, filters, padding="same")


def torch_convolution_last(x, w):
    """PyTorch with the images as they are (its channels-last format)."""
    import torch

    image, filters = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(w).permute(3, 2, 0, 1)
    return lambda: torch.nn.functional.conv2d(image, filters, padding="same")


def torch_pool(x, size, last):
    import torch

    torch.set_num_threads(1)
    image = torch.from_numpy(x).permute(0, 3, 1, 2)
    image = image if last else image.contiguous()
    return lambda: torch.nn.functional.max_pool2d(image, size)


def onnx_node(op, arrays, **attributes):
    """One operator in ONNX's reference implementation."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    kind = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("f8"): TensorProto.DOUBLE}[arrays[0].dtype]
    names = ["x", "w"][: len(arrays)]
    infos = [helper.make_tensor_value_info(n, kind, a.shape) for n, a in zip(names, arrays, strict=True)]
    out = helper.make_tensor_value_info("y", kind, [None] * 4)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], "g", infos, [out])
    session = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    return lambda: session.run(None, dict(zip(names, arrays, strict=True)))


def convolution(x_shape, w_shape, dtype, rounds):
    """Seconds of forward, vjp and their rivals for one shape."""
    random = np.random.default_rng(0)
    x, w = random.standard_normal(x_shape).astype(dtype), random.standard_normal(w_shape).astype(dtype)
    depth = int(np.prod(w_shape[:3]))
    columns = random.standard_normal((int(np.prod(x_shape[:3])), depth)).astype(dtype)
    matrix = np.ascontiguousarray(w.reshape(depth, -1))
    dy = random.standard_normal((*x_shape[:3], w_shape[3])).astype(dtype)
    rivals = {
        "a @ b": lambda: columns @ matrix,
        "forward": lambda: convspec.conv2d(x, w, padding="SAME"),
        "vjp": lambda: convspec.conv2d_vjp(x, w, dy, padding="SAME"),
    }
    rivals |= optional({"torch": lambda: torch_convolution(x, w), "torch last": lambda: torch_convolution_last(x, w)})
    found = medians(rivals, rounds)
    channels_first = [np.ascontiguousarray(a) for a in (x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1))]
    slow = optional({"onnx": lambda: onnx_node("Conv", channels_first, auto_pad="SAME_UPPER")})
    return found | medians(slow, 3)


def pool(rounds):
    """Seconds of the pool and its rivals."""
    shape, size = POOL
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    dy = np.ones_like(convspec.max_pool(x, ksize=size, strides=size, padding="SAME"))
    case = {"ksize": size, "strides": size, "padding": "SAME"}
    rivals = {
        "forward": lambda: convspec.max_pool(x, **case),
        "argmax": lambda: convspec.max_pool_with_argmax(x, **case),
        "vjp": lambda: convspec.max_pool_vjp(x, dy, **case),
    }
    rivals |= optional({"torch": lambda: torch_pool(x, size, False), "torch last": lambda: torch_pool(x, size, True)})
    found = medians(rivals, rounds)
    first = [np.ascontiguousarray(x.transpose(0, 3, 1, 2))]
    slow = optional({"onnx": lambda: onnx_node("MaxPool", first, kernel_shape=[size] * 2, strides=[size] * 2)})
    return found | medians(slow, 3)


def small(rounds):
    """Seconds of a call that is mostly overhead."""
    x, w = np.ones(SMALL[0], np.float32), np.ones(SMALL[1], np.float32)
    rivals = {padding: lambda padding=padding: convspec.conv2d(x, w, padding=padding) for padding in ("SAME", "VALID")}
    found = medians(rivals, 10 * rounds)
    first = [x.transpose(0, 3, 1, 2).copy(), w.transpose(3, 2, 0, 1).copy()]
    return found | medians(optional({"onnx": lambda: onnx_node("Conv", first, auto_pad="SAME_UPPER")}), rounds)


def optional(makers):
    """Those rivals that are installed."""
    made = {}
    for name, maker in makers.items():
        try:
            made[name] = maker()
        except ImportError:
            print(f"{name}: not installed, left out", file=sys.stderr)
    return made


def judged(rounds):
    """Rows (what, figure to reach, measured, reached) and lines of milliseconds."""
    rows, lines = [], []

    def row(what, value, limit, unit=""):
        rows.append((what, f"<= {limit:g}{unit}", f"{value:.2f}{unit}", "yes" if value <= limit else "NO"))

    def fastest_torch(seconds):
        return min((seconds[key] for key in ("torch", "torch last") if key in seconds), default=float("nan"))

    for dtype in (np.float32, np.float64):
        for number, (x_shape, w_shape) in enumerate(CONVOLUTIONS):
            seconds = convolution(x_shape, w_shape, dtype, rounds)
            name = f"{x_shape} x {w_shape} {dtype.__name__}"
            lines.append(f"conv2d {name}: " + ", ".join(f"{key} {1e3 * s:.2f}" for key, s in seconds.items()))
            if dtype is np.float32 and number < 2:
                row(f"{name}: forward / bare a @ b", seconds["forward"] / seconds["a @ b"], 1.2)
            elif dtype is np.float32:
                row(f"{name}: forward / torch", seconds["forward"] / fastest_torch(seconds), 2)
            elif number < 2:
                row(f"{name}: forward / torch", seconds["forward"] / fastest_torch(seconds), 0.6)
            row(f"{name}: vjp / forward", seconds["vjp"] / seconds["forward"], 2.5)
            row(f"{name}: forward / onnx", seconds["forward"] / seconds.get("onnx", float("nan")), 1)
    seconds = pool(rounds)
    name = f"max_pool {POOL[0]} {POOL[1]}x{POOL[1]} float32"
    lines.append(f"{name}: " + ", ".join(f"{key} {1e3 * s:.2f}" for key, s in seconds.items()))
    row(f"{name}: forward / torch", seconds["forward"] / fastest_torch(seconds), 2)
    row(f"{name}: forward / onnx", seconds["forward"] / seconds.get("onnx", float("nan")), 1)
    seconds = small(rounds)
    lines.append(f"conv2d {SMALL[0]} x {SMALL[1]}: " + ", ".join(f"{key} {1e3 * s:.4f}" for key, s in seconds.items()))
    row(f"{SMALL[0]} x {SMALL[1]} float32 SAME, a call", 1e6 * seconds["SAME"], 25, " us")
    row(f"{SMALL[0]} x {SMALL[1]} float32: call / onnx", seconds["SAME"] / seconds.get("onnx", float("nan")), 1)
    return rows, lines


def versions():
    """What the figures were taken with."""
    from importlib import metadata

    found = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    for name in ("torch", "onnx"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def machine():
    """The class of the machine, nothing more."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, of which one is used"


def main():
    """Measure, print, and write the record where asked."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read by NumPy when it starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | THREADS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=15)
    parser.add_argument("--markdown", metavar="FILE")
    given = parser.parse_args()
    rows, lines = judged(given.rounds)
    table = [
        "| what | to reach | measured | reached |",
        "|---|---|---|---|",
        *("| " + " | ".join(r) + " |" for r in rows),
    ]
    text = "\n".join(
        [
            "# Speed of the reference",
            "",
            f"Medians of {given.rounds} rounds of one run, rivals in turns, one thread, SAME padding.",
            f"{datetime.datetime.now(tz=datetime.UTC).date()}; {machine()}; {versions()}.",
            "Rerun: `python benchmarks/speed.py --markdown benchmarks/speed.md` (torch and onnx have to be installed).",
            "",
            *table,
            "",
            "Where torch is compared, it is the faster of its two layouts: `torch` has images as NCHW, `torch last` as",
            "channels-last. `a @ b` is the product alone, its columns already made. Milliseconds:",
            "",
            "```",
            *lines,
            "```",
        ]
    )
    print(text)
    if given.markdown:
        Path(given.markdown).write_text(text + "\n", encoding="utf-8")
    return 0 if all(row[-1] == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
