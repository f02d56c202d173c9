"""How a script looks at what came back: lines of Python, one function a kind of question.

May import `asked` and `literals`. Each of them defines `fault()`, which prints expected and got and says whether the
fault is there: that is the script's exit status.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import Template

from convspec.harness.cases.formats import Format

from . import literals
from .asked import Asked
from .backend import indented

#: The results of each operation, in order.
RESULTS = {"conv2d_vjp": ("dx", "dw"), "max_pool_vjp": ("dx",), "block_vjp": ("dx", "dw", "dbias")}

_WRONG = '''\
def wrong(result, name, shape, dtype, expected, low=None, high=None$places_):
    """Whether a result is not what it has to be; prints both."""
    got, found = as_numpy(result)
    if got.shape != shape or found != dtype:
        print(f"expected: {name} of shape {shape}, {dtype}\\ngot:      shape {got.shape}, {found}")
        return True$pick
    low, high = (expected, expected) if low is None else (low, high)
    right = (low <= got) & (got <= high) | np.isnan(got)$nan
    print(f"expected: {name} =\\n{expected}\\ngot:\\n{got}")
    if not right.all():
        print(f"{(~right).sum()} of {right.size} elements of {name} are wrong, the first by "
              f"{(got - expected)[~right][0]:.6g}; allowed is {low[~right][0]} to {high[~right][0]}")
    return not bool(right.all())
'''

_ONE = '''\
def fault():
    """Whether the fault is there."""
    try:
        results = $call
    except Exception as error:
        print(f"expected: an answer\\ngot:      {type(error).__name__}: {error}")
        return True
    return any([wrong(results[at], **one) for at, one in $right])
'''

_SEVERAL = '''\
def fault():
    """Whether any of the calls, one after the other, is answered wrongly."""
    for function, arrays, answers in $steps:
        try:
            results = function(*arrays)
        except Exception as error:
            print(f"expected: an answer\\ngot:      {type(error).__name__}: {error}")
            return True
        if any([wrong(results[at], **one) for at, one in answers]):
            return True
    return False
'''

_REFUSAL = '''\
def fault():
    """Whether an invalid call is answered."""
    print($expected)
    try:
        results = call($arguments)
    except Exception as error:
        print(f"got:      {type(error).__name__}: {error}")
        return False
    print(f"got:      an answer of shape {[as_numpy(result)[0].shape for result in results]}")
    return True
'''

_PRECISION = '''\
def fault():
    """Whether errors are larger than sums kept in $bits bits make them, be they rounded at random."""
    found = False
    results = call($arguments)
    for at, one in right:
        got = as_numpy(results[at])[0]
        got = got.reshape(-1)[one["places"]] if "places" in one else got
        error = np.abs(got - one["expected"])$narrow
        some = one["sigma"] > 0
        square = np.mean((error[some] / one["sigma"][some]) ** 2)
        chance = np.log(1e15) / some.sum()
        most = 1 + 2 * chance**0.5 + 2 * chance  # exceeded by chance once in 1e15
        effective = min($bits, $bits - 0.5 * np.log2(max(square, 1e-300)))
        print(f"expected: {one['name']} with $bits effective bits, a mean square error of up to {most:.4g}")
        print(f"got:      {effective:.1f} effective bits, a mean square error of {square:.4g}")
        found = found or square > most
    return bool(found)
'''

_NARROW = """
        # The result is rounded to its type once: what that explains is no error of the sum.
        half = np.ldexp(1.0, np.maximum(np.frexp(got)[1] - 1, $least) - $significand)
        error = np.maximum(error - half, 0)"""


def rights(asked: Asked) -> list[str]:
    """Lines that hold what is right for each result that is looked at, after its place among the results."""
    order = RESULTS.get(asked.call.op, ("y", "argmax"))
    lines = [f"right{asked.call.suffix} = ["]
    for one in asked.right:
        parts = [f"name={one.name!r}"]
        if one.sigma is None:
            parts += [f"shape={one.shape}", f"dtype={one.dtype!r}"]
        parts.append(f"expected={literals.as_numpy(one.value)}")
        if one.sigma is not None:
            parts.append(f"sigma={literals.as_numpy(one.sigma)}")
        elif one.low is not None and one.high is not None:
            parts += [f"low={literals.as_numpy(one.low)}", f"high={literals.as_numpy(one.high)}"]
        if one.places is not None:
            parts.append(f"places={one.places.tolist()}")
        text = [line for part in parts for line in literals.wrapped(f"{part},").splitlines()]
        lines += [f"    ({order.index(one.name)}, dict(", *indented(text, 8), "    )),"]
    return [*lines, "]"]


def wrong(asked: Iterable[Asked]) -> list[str]:
    """The function that compares one result with what is right."""
    every = [one for each in asked for one in each.right]
    some = any(one.places is not None for one in every)
    pick = "\n    got = got if places is None else got.reshape(-1)[places]  # these elements" if some else ""
    spread = any(one.spread for one in every)
    text = Template(_WRONG).substitute(
        places_=", places=None" if some else "", pick=pick, nan="" if spread else " & np.isnan(expected)"
    )
    return text.splitlines()


def answers(asked: list[Asked]) -> list[str]:
    """Calls one after the other, each compared with what is right."""
    before = [line for each in asked for line in rights(each)]
    if len(asked) == 1:
        call = asked[0].call
        body = Template(_ONE).substitute(call=f"call{call.suffix}({call.arguments})", right=f"right{call.suffix}")
    else:
        steps = ",\n        ".join(f"(call{a.call.suffix}, [{a.call.arguments}], right{a.call.suffix})" for a in asked)
        body = Template(_SEVERAL).substitute(steps=f"[\n        {steps},\n    ]")
    return [*before, "", "", *wrong(asked), "", "", *body.splitlines()]


def refusal(arguments: str, why: str) -> list[str]:
    """An invalid call: an exception is right."""
    expected = repr(f"expected: an exception: {why}")
    return Template(_REFUSAL).substitute(expected=expected, arguments=arguments).splitlines()


def precision(asked: Asked, accumulator: Format, result: Format) -> list[str]:
    """The errors of all elements together, in units of what rounding at random explains."""
    narrow = Template(_NARROW).substitute(least=result.least_exponent, significand=result.precision)
    body = Template(_PRECISION).substitute(
        bits=accumulator.precision,
        arguments=asked.call.arguments,
        narrow=narrow if result.precision < accumulator.precision else "",
    )
    comment = f"# The answer, and the standard error of sums kept in {accumulator.precision} bits."
    return [comment, *rights(asked), "", "", *body.splitlines()]


_CHILD = """\
if "--call" not in sys.argv:  # in a process of its own: $why
    for _ in range($attempts):
        command = [sys.executable, __file__, "--call"]
        try:
            status = subprocess.run(command$environment, timeout=120).returncode
        except subprocess.TimeoutExpired:
            print("expected: an answer\\ngot:      none in 120 seconds")
            sys.exit(1)
        if status < 0 or status > 2:
            said = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            print(f"expected: an answer or an exception\\ngot:      the call ended its process: {said}")
        if status:
            sys.exit(status if status in (1, 2) else 1)
    sys.exit(0)
"""

_FOUL = """, env={
                **os.environ,
                "MALLOC_PERTURB_": "128",
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=128",
            }"""


def apart(*, child: bool = False, foul: bool = False, attempts: int = 1) -> list[str]:
    """Lines before the framework is imported that run the script again in a process of its own, where one is needed.

    A `child` may die without the script dying; in `foul` memory shows what was never written.
    """
    if not (child or foul or attempts > 1):
        return []
    why = "the call may end it" if child else "it does not show in each"
    why = "glibc fills memory there, so that what was never written shows" if foul and not child else why
    text = Template(_CHILD).substitute(why=why, attempts=attempts, environment=_FOUL if foul else "")
    return text.splitlines()
