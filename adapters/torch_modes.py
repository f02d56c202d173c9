"""The modes of the torch adapter: each is the class `Eager` with one decision made otherwise.

The adapter says what is to be computed, with which pads; an object of one of these classes does it.
It may import `modes`; torch is handed in, for the table is read where torch is not installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from .backend import DeviceUnavailable, Pair
from .modes import Mode

__all__ = ["MODES", "Eager"]

Tensor = Any  # torch is not there to be asked for its types
Pads = tuple[Pair, Pair]


class Eager:
    """``torch.nn.functional``, one operation at a time.

    Parameters
    ----------
    torch
        The module.
    """

    #: SAME goes to torch by its name, whatever the stride, and where torch takes no name it is not offered.
    native_same = False

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.functional = torch.nn.functional

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enclose a call."""
        yield

    def run(self, function: Callable[..., Any], *tensors: Tensor, **options: Any) -> Any:
        """Call a function of several operations."""
        return function(*tensors, **options)

    def layout(self, tensor: Tensor) -> Tensor:
        """Lay a tensor out in memory."""
        return tensor

    def leaf(self, tensor: Tensor) -> Tensor:
        """Make a tensor one that gradients are taken of."""
        return tensor.requires_grad_()

    def conv2d(self, x: Tensor, w: Tensor, bias: Tensor | None, first: Pads, **options: Any) -> Tensor:
        """Put in the zeros that torch's own padding cannot, then convolve."""
        return self.functional.conv2d(self.pad(x, first, 0), w, bias, **options)

    def max_pool2d(self, x: Tensor, first: Pads, **options: Any) -> Any:
        """Put in the pads that torch's own padding cannot, then pool."""
        return self.functional.max_pool2d(self.pad(x, first, self.lowest(x)), **options)

    def pad(self, x: Tensor, pads: Pads, value: float) -> Tensor:
        """Pad the two last axes."""
        (top, bottom), (left, right) = pads
        if top == bottom == left == right == 0:
            return x
        return self.functional.pad(x, (left, right, top, bottom), value=value)

    def lowest(self, x: Tensor) -> float:
        """Return the identity of the maximum."""
        return -float("inf") if x.is_floating_point() else self.torch.iinfo(x.dtype).min


class Compile(Eager):
    """``torch.compile`` of the padding and the operation in one; autograd's half is compiled with it.

    Shapes are never taken as dynamic: which ones torch generalizes over depends on those seen before, and a verdict
    must not depend on the order of the cases. Nothing falls back to eager: neither what cannot be captured
    (``fullgraph``) nor what comes after torch's limit of compilations a function, which is lifted.
    """

    def __init__(self, torch: Any) -> None:
        super().__init__(torch)
        self._unlimited()
        self.conv2d = self._compiled(super().conv2d)  # type: ignore[method-assign]
        self.max_pool2d = self._compiled(super().max_pool2d)  # type: ignore[method-assign]
        try:  # torch loads its compiler with the first compilation, which takes longer than a call may
            self._compiled(lambda x: x + 1)(torch.zeros(2))
        except Exception as error:
            last = " ".join(str(error).split()) or type(error).__name__
            raise DeviceUnavailable(f"torch@compile: torch.compile does not work here: {last}") from error

    def run(self, function: Callable[..., Any], *tensors: Tensor, **options: Any) -> Any:
        """Call a function of several operations, compiled as one."""
        return self._compiled(partial(function, **options))(*tensors)

    def _compiled(self, function: Any) -> Any:
        return self.torch.compile(function, fullgraph=True, dynamic=False)

    def _unlimited(self) -> None:
        import torch._dynamo
        import torch._functorch.config
        import torch._inductor.config

        dynamo, inductor, functorch = torch._dynamo.config, torch._inductor.config, torch._functorch.config
        for config, option, value in (
            (dynamo, "recompile_limit", sys.maxsize),
            (dynamo, "accumulated_recompile_limit", sys.maxsize),
            (dynamo, "cache_size_limit", sys.maxsize),  # the first of them, by the name that older versions have
            (dynamo, "accumulated_cache_size_limit", sys.maxsize),
            # Compiled in this process and from this call: no pool of workers that outlives it, no graphs of other runs.
            (inductor, "compile_threads", 1),
            (inductor, "fx_graph_cache", False),
            (functorch, "enable_autograd_cache", False),
        ):
            if hasattr(config, option):
                setattr(config, option, value)


def _lacks_compiler() -> str:
    # torch.compile's own choice on the CPU: CXX, or the compiler of the platform.
    platforms = {"darwin": "clang++", "win32": "cl"}
    compiler = os.environ.get("CXX") or platforms.get(sys.platform, "g++")
    if shutil.which(compiler):
        return ""
    return f"torch.compile needs a C++ compiler, and {compiler!r} is not on PATH; install one or set CXX"


class ChannelsLast(Eager):
    """Images, filters and gradients laid out in memory with the channels last."""

    def layout(self, tensor: Tensor) -> Tensor:
        """Lay a tensor out in memory."""
        return tensor.contiguous(memory_format=self.torch.channels_last)


class NativeSame(Eager):
    """SAME is what torch has under that name: convolution at stride 1, and nothing else."""

    native_same = True


class Modules(Eager):
    """``torch.nn.Conv2d`` and ``torch.nn.MaxPool2d``, with the filters and the bias put in as parameters."""

    def leaf(self, tensor: Tensor) -> Tensor:
        """Make a tensor one that gradients are taken of: parameters are what a module holds."""
        return self.torch.nn.Parameter(tensor)

    def conv2d(self, x: Tensor, w: Tensor, bias: Tensor | None, first: Pads, **options: Any) -> Tensor:
        """Make the module, put the filters and the bias in, and call it."""
        nn = self.torch.nn
        cout, cin, *kernel = w.shape
        cin *= options["groups"]
        module = nn.Conv2d(cin, cout, kernel, bias=bias is not None, dtype=w.dtype, device=w.device, **options)
        module.weight = w if isinstance(w, nn.Parameter) else nn.Parameter(w)
        if bias is not None:
            module.bias = bias if isinstance(bias, nn.Parameter) else nn.Parameter(bias)
        return module(self.pad(x, first, 0))

    def max_pool2d(self, x: Tensor, first: Pads, **options: Any) -> Any:
        """Make the module and call it."""
        return self.torch.nn.MaxPool2d(**options)(self.pad(x, first, self.lowest(x)))


class Switched(Eager):
    """Switches of ``torch.backends`` set while a call runs, and set back after it."""

    switches: tuple[tuple[str, str, bool], ...] = ()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enclose a call."""
        with ExitStack() as stack:
            for path, switch, value in self.switches:
                place = self.torch.backends
                for part in path.split("."):
                    place = getattr(place, part)
                stack.callback(setattr, place, switch, getattr(place, switch))
                setattr(place, switch, value)
            yield


class NoMkldnn(Switched):
    """Without oneDNN, which torch calls MKLDNN."""

    switches = (("mkldnn", "enabled", False),)


class NoCudnn(Switched):
    """Without cuDNN: torch's own CUDA kernels."""

    switches = (("cudnn", "enabled", False),)


class Tf32(Switched):
    """TF32 allowed, in cuDNN and in the matrix products that stand in for it."""

    switches = (("cudnn", "allow_tf32", True), ("cuda.matmul", "allow_tf32", True))


class NoTf32(Switched):
    """TF32 forbidden, in both."""

    switches = (("cudnn", "allow_tf32", False), ("cuda.matmul", "allow_tf32", False))


class Benchmark(Switched):
    """CuDNN tries its algorithms and takes the fastest."""

    switches = (("cudnn", "benchmark", True),)


class Deterministic(Switched):
    """Deterministic algorithms only: cuDNN's switch and torch's, which refuses an operation that has none."""

    switches = (("cudnn", "deterministic", True), ("cudnn", "benchmark", False))

    def __init__(self, torch: Any) -> None:
        super().__init__(torch)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for then, before CUDA starts

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enclose a call."""
        before = self.torch.are_deterministic_algorithms_enabled()
        self.torch.use_deterministic_algorithms(True)
        try:
            with super().running():
                yield
        finally:
            self.torch.use_deterministic_algorithms(before)


_CUDA = ("cuda",)

#: The modes by name, the default first.
MODES = {
    "eager": Mode("torch.nn.functional, one operation at a time; gradients by autograd", Eager),
    "compile": Mode(
        "torch.compile of each operation and of its gradient (needs a C++ compiler)",
        Compile,
        compiles=True,
        slowly=True,
        lacks=_lacks_compiler,
    ),
    "channels_last": Mode("images, filters and gradients in torch.channels_last memory format", ChannelsLast),
    "nomkldnn": Mode("torch.backends.mkldnn off: torch's own CPU kernels", NoMkldnn, ("cpu",)),
    "native-same": Mode("SAME as torch's own padding='same' only, which it has at stride 1", NativeSame),
    "modules": Mode("torch.nn.Conv2d and torch.nn.MaxPool2d, with the filters put in", Modules),
    "tf32": Mode("TF32 allowed in cuDNN and in matrix products", Tf32, _CUDA),
    "notf32": Mode("TF32 forbidden in cuDNN and in matrix products", NoTf32, _CUDA),
    "nocudnn": Mode("torch.backends.cudnn off: torch's own CUDA kernels", NoCudnn, _CUDA),
    "benchmark": Mode("torch.backends.cudnn.benchmark: cuDNN takes the fastest of its algorithms", Benchmark, _CUDA),
    "deterministic": Mode("deterministic algorithms only, cuDNN's and torch's", Deterministic, _CUDA),
}
