"""A finding as a script that shows it without convspec, and as an issue for those who can mend it.

May import the cases, the oracle, the specification, the adapters' names and `reproducers`; never a framework. A script
has its data in it, prints expected and got, and exits 1 while the fault is there, and 0 once it is gone.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Any

from convspec.adapters import registry
from convspec.adapters.backend import BackendError, Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import ACCUMULATOR, FORMATS
from convspec.harness.cases.invalid import CHANGES
from convspec.harness.oracle.bounds import accumulator_of
from convspec.harness.verdict import LOSSES
from convspec.spec import Clause, clause

from .reproducers import NoReproducer, checks, effects
from .reproducers.asked import invalid, valid
from .reproducers.backend import Call, Language
from .reproducers.jax_script import Jax
from .reproducers.onnxruntime_script import OnnxRuntime
from .reproducers.plain import Plain
from .reproducers.relations import Relations
from .reproducers.tensorflow_script import TensorFlow
from .reproducers.torch_script import Torch

__all__ = ["NoReproducer", "issue", "script"]

LANGUAGES: dict[str, type[Language]] = {
    "torch": Torch,
    "tensorflow": TensorFlow,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
}
#: How often a fault that does not always show is asked for: calls in one process, and processes.
TRIES, ATTEMPTS = 20, 5
NUMPY = ("np.set_printoptions(precision=17, linewidth=120)",)
#: What goes wrong beside the fault must not look like it.
HOOK = ("sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(2))  # 1 is the fault's own status",)
ENDING = ('if __name__ == "__main__":', "    sys.exit(fault())")
#: Clauses with a measurement, and findings about what a call does beside its answer.
PRECISION = ("effective-precision", "effective-precision-gradients")
EFFECTS = ("changed input", "alias", "reused memory")
UNSTEADY = ("answered differently", "uninitialised memory")
#: Words of a finding, or of what declares it, that tell of memory.
MEMORY = ("uninitialised", "never written")
#: The ending of one that ends the process, and not each time: damage is done by each call, and shows in one of them.
OFTEN = (ENDING[0], f"    sys.exit(any(fault() for _ in range({TRIES})))")


@dataclass(frozen=True)
class _Parts:
    """What a script is made of; `apart` runs it again in processes of its own, before the framework is imported."""

    calls: list[Call]
    check: list[str]
    apart: list[str]
    ending: tuple[str, ...] = ENDING


def script(finding: dict[str, Any], backend: dict[str, Any] | str) -> str:
    """A Python script that shows a finding, in the backend's own language.

    Parameters
    ----------
    finding
        As in a results file; ``flaky`` may say that it does not always show.
    backend
        The backend as it was named, or what a results file says of it, with that name as ``text``.

    Raises
    ------
    NoReproducer
        There can be none; the message says why.

    Examples
    --------
    >>> case = Case("max_pool", (1, 1, 2, 1), (1, 2), recipe="all-minus-inf").to_dict()
    >>> finding = {"clause": "max-pool-all-minus-infinity", "kind": "value", "message": "", "case": case}
    >>> print(script(finding, "torch"))  # doctest: +ELLIPSIS
    \"\"\"max-pool-all-minus-infinity: ...
    """
    text, said = _told(backend)
    if not finding.get("case"):
        raise NoReproducer(f"the finding of {finding['clause']} has no call to show")
    language = _language(text, finding)
    parts = _parts(finding, language, Contract(**(said.get("contract") or {})))
    before = language.environment()
    data = [line for call in parts.calls for line in language.data(call)]
    functions = [line for call in parts.calls for line in [*language.function(call), "", ""]]
    body = [*language.imports(), "", *NUMPY, "", *data, "", "", *functions, *language.convert, "", "", *parts.check]
    first = [*_imports("\n".join([*parts.apart, *body])), "", *HOOK, "", *(before and [*before, ""])]
    heading = _heading(finding, text, said, language)
    lines = [*heading, *first, *(parts.apart and [*parts.apart, ""]), *body, "", "", *parts.ending]
    return "\n".join(lines) + "\n"


def _imports(code: str) -> list[str]:
    """What of the standard library, and NumPy, a script needs."""
    used = [name for name in ("base64", "os", "signal", "subprocess", "sys", "zlib") if f"{name}." in code + "os.sys."]
    numbers = re.findall(r"(?<![\w.])(inf|nan)(?!\w)", code)
    words = ", ".join(sorted(set(numbers)))
    constants = [f"from math import {words}"] if words else []
    return [*(f"import {name}" for name in used), *constants, "", "import numpy as np"]


def issue(finding: dict[str, Any], backend: dict[str, Any] | str) -> str:
    """The same as Markdown, ready for an issue of the backend: what is expected by which standard, and the script.

    Raises
    ------
    NoReproducer
        As `script` does.
    """
    text, said = _told(backend)
    code, broken = script(finding, backend), clause(finding["clause"])
    versions = _versions(said)
    got = finding.get("got") or ("the process ends" if finding["kind"] in LOSSES else "what the script prints")
    expected = finding.get("expected") or "what the script prints"
    rows = [
        ("Versions", versions or _without_versions(finding)),
        ("Backend", f"`{text}`"),
        ("Call", f"`{finding.get('call') or _call_of(finding)}`"),
        ("Expected", expected),
        ("Got", got),
        ("Difference", finding.get("error", "")),
        ("It looks like", finding.get("diagnosis", "")),
    ]
    parts = [
        f"# {_title(finding, text)}",
        finding.get("message", ""),
        "\n".join(f"- **{name}:** {value}" for name, value in rows if value),
        "## Minimal case",
        "It prints expected and got, and exits 1 while the fault is there and 0 once it is gone.",
        f"```python\n{code}```",
        "## Expected by",
        _quoted(broken),
        f"Clause `{broken.slug}` of convspec, the executable specification of 2-D convolution and max pooling.",
    ]
    if finding.get("stderr"):
        parts[5:5] = ["It says on stderr:", f"```\n{finding['stderr'].strip()}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(backend: dict[str, Any] | str) -> tuple[str, dict[str, Any]]:
    if isinstance(backend, str):
        return backend, {}
    return str(backend.get("text") or backend["name"]), backend


def _versions(said: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in (said.get("versions") or {}).items())


def _without_versions(finding: dict[str, Any]) -> str:
    """What stands for the versions of a backend that did not run here."""
    if "declared" in finding:
        return f"{finding['declared']}, as deviation `{finding['deviation']}` says; put in yours"
    return "not recorded: `convspec check --json` records them"


def _language(text: str, finding: dict[str, Any]) -> Language:
    """The language of a backend, by its name; an entry of a deviations file names the file or module alone."""
    plain = text.partition("%")[0]
    try:
        named = registry.parse(plain)
    except BackendError as error:
        label = registry.Label.of(plain)
        if label.backend not in LANGUAGES:  # entry points may not be installed where scripts are written
            if "declared" in finding:
                raise NoReproducer(
                    f"deviation {finding['deviation']!r} is of {text!r}, which names no object to call; a run does: "
                    f"`convspec check FILE.py:NAME -k {finding['clause']} --json r.json`, then "
                    f"`convspec repro FILE.py:NAME/{finding['clause']}/{finding['dtype']} --results r.json`"
                ) from None
            raise NoReproducer(str(error)) from None
        named = registry.BackendName(plain, label.backend, label.device or None, label.mode or None)
    if named.kind == "command":
        raise NoReproducer(f"{text}: a worker in another language; `convspec check` with its command shows the fault")
    if named.name == "numpy" and named.kind == "built-in":
        raise NoReproducer(f"{text} is convspec's own reference: there is no script without convspec")
    found = LANGUAGES.get(named.name, Plain) if named.kind in ("built-in", "entry point") else Plain
    return found(named, named.device or "", named.mode or "")


def _parts(finding: dict[str, Any], language: Language, contract: Contract) -> _Parts:
    """Calls, check and ending of a script, by the kind of the finding."""
    data, kind = finding["case"], finding["kind"]
    flaky = bool(finding.get("flaky")) or any(words in finding.get("message", "") for words in UNSTEADY)
    tries = TRIES if flaky else 1
    lost = kind in (*LOSSES, "exit")
    if "change" in data:
        case, change = Case.from_dict(data["case"]), data["change"]
        call = invalid(case, change)
        lines = checks.refusal(call.arguments, CHANGES[change].why)
        return _Parts([call], lines, checks.apart(child=lost, attempts=tries if flaky else 1))
    case = Case.from_dict(data)
    if kind in EFFECTS:
        call = valid(case, language, finding, contract).call
        return _Parts([call], effects.check(kind, call), checks.apart())
    if finding["clause"] in PRECISION and kind == "precision":
        asked = valid(case, language, finding, contract)
        accumulator = accumulator_of(case.dtype, contract)
        lines = checks.precision(asked, accumulator, FORMATS[case.dtype])
        return _Parts([asked.call], lines, checks.apart())
    foul = 0 in case.y or any(words in finding.get("message", "") for words in MEMORY)
    if kind == "property":
        calls, lines, apart = Relations(language, finding, contract, tries).of(case)
        return _Parts(calls, lines, apart or checks.apart(attempts=ATTEMPTS if flaky else 1))
    asked = valid(case, language, finding, _at_least_float32(finding["clause"], contract))
    if lost and flaky:
        apart = checks.apart(child=True, foul=True, attempts=ATTEMPTS)
        return _Parts([asked.call], checks.answers([asked]), apart, OFTEN)
    attempts = TRIES if flaky or (lost and not foul) else 1
    return _Parts([asked.call], checks.answers([asked]), checks.apart(child=lost, foul=foul, attempts=attempts))


def _at_least_float32(slug: str, contract: Contract) -> Contract:
    """What is declared, but for sums narrower than float32 where a clause forbids those."""
    if not slug.startswith("accumulate") or contract.accumulate in (None, *ACCUMULATOR.values()):
        return contract
    return Contract(None, contract.tf32, contract.flush_subnormals, contract.algorithm)


def _title(finding: dict[str, Any], text: str) -> str:
    what = {"value": "wrong values", "silent": "an invalid call is answered", "property": "answers that do not agree"}
    kind = what.get(finding["kind"], finding["kind"])
    return f"{registry.Label.of(text).backend} {_op(finding)}: {kind} ({finding['clause']})"


def _op(finding: dict[str, Any]) -> str:
    return str(finding["case"].get("op") or finding["case"]["case"]["op"])


def _call_of(finding: dict[str, Any]) -> str:
    data = finding["case"]
    return Case.from_dict(data).describe() if "op" in data else f"{_op(finding)}, {data['change']}"


def _statement(broken: Clause) -> str:
    return " ".join(broken.statement.split())


def _quoted(broken: Clause) -> str:
    return "\n".join(textwrap.wrap(_statement(broken), 100, initial_indent="> ", subsequent_indent="> "))


def _heading(finding: dict[str, Any], text: str, said: dict[str, Any], language: Language) -> list[str]:
    """The docstring of a script: what it shows, what should be, and in which versions it was seen."""
    versions = _versions(said)
    seen = f" ({versions})" if versions else ""
    message = finding.get("message", "")
    paragraphs = [
        f"{finding['clause']}: {_statement(clause(finding['clause']))}",
        f"{text}{seen}: {message or finding['kind']}",
        finding.get("call") or _call_of(finding),
        *language.notes,
        "Prints expected and got; exits 1 while the fault is there, 0 once it is gone.",
    ]
    wide = ["\n".join(textwrap.wrap(p, 100, break_long_words=False, break_on_hyphens=False)) for p in paragraphs if p]
    inside = "\n\n".join(wide).replace("\\", "\\\\").replace('"""', "'''")
    return [f'"""{inside}', '"""', ""]
