"""What instruction sets this machine's processor has, and which of them oneDNN may use: kernels are chosen by them.

May import the standard library.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

#: Those by which frameworks choose kernels, as Linux names them; the widest last of each family.
TOLD = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
#: Users cap oneDNN's choice with one of these, the first where both are set.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
#: What is out of reach below each of these values; any other value is no cap.
_CAPPED = (
    (re.compile(r"SSE41|AVX", re.I), ("avx2", "avx_vnni", "avx512", "amx")),
    (re.compile(r"AVX2(_VNNI(_2)?)?", re.I), ("avx512", "amx")),
    (re.compile(r"AVX512_CORE", re.I), ("avx512_vnni", "avx512_bf16", "amx")),
    (re.compile(r"AVX512_CORE_VNNI", re.I), ("avx512_bf16", "amx")),
    (re.compile(r"AVX512_CORE_(BF16|FP16)|AVX10_1_512", re.I), ("amx",)),
)


@cache
def has() -> frozenset[str]:
    """The processor's instruction sets, by Linux's names; none where the system does not say.

    Examples
    --------
    >>> has() >= {"neither nor"}
    False
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
    return frozenset(line[1].split()) if line else frozenset()


def usable(env: Mapping[str, str] | None = None) -> frozenset[str]:
    """Those that oneDNN may use: the processor's, up to the cap that the environment sets.

    Examples
    --------
    >>> usable({"ONEDNN_MAX_CPU_ISA": "AVX2"}) & {"avx512f", "avx512_bf16"}
    frozenset()
    """
    env = os.environ if env is None else env
    cap = next((env[name] for name in CAPS if name in env), "")
    without = next((names for value, names in _CAPPED if value.fullmatch(cap)), ())
    return frozenset(name for name in has() if not name.startswith(without))


def told() -> list[str]:
    """Those of the usable ones that results tell.

    Examples
    --------
    >>> set(told()) <= set(TOLD)
    True
    """
    mine = usable()
    return [name for name in TOLD if name in mine]


def fits(wanted: Iterable[str], mine: frozenset[str]) -> bool:
    """Whether a processor with these instruction sets has all that are wanted, and none that is not: ``"!amx_bf16"``.

    Examples
    --------
    >>> fits(("avx512f", "!amx_bf16"), frozenset({"avx512f"})), fits(("avx512f",), frozenset())
    (True, False)
    """
    return all((name[1:] not in mine) if name.startswith("!") else name in mine for name in wanted)
