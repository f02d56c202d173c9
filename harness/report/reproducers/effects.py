"""What a call does beside its answer: it changes an array, returns memory that is not its own, or uses it again.

May import `backend`.
"""

from __future__ import annotations

from string import Template

from .backend import Call

_CHANGED = '''\
def fault():
    """Whether the call changes what it is given."""
    given = [$arguments]
    before = [as_numpy(array)[0].copy() for array in given]
    call(*given)
    changed = False
    for name, old, array in zip($names, before, given):
        now = as_numpy(array)[0]
        print(f"expected: {name} =\\n{old}\\ngot:\\n{now}")
        changed = changed or old.tobytes() != now.tobytes()
    return changed
'''

_ALIAS = '''\
def fault():
    """Whether a result lies in the memory of an array that was given."""
    given = [$arguments]
    shared = any(np.shares_memory(np.asarray(result), np.asarray(array)) for result in call(*given) for array in given)
    print(f"expected: results in memory of their own\\ngot:      memory shared with an input: {shared}")
    return shared
'''

_REUSED = '''\
def fault():
    """Whether a later call changes the result of an earlier one."""
    first = call($arguments)
    before = [as_numpy(result)[0].copy() for result in first]
    call(*[array + array for array in ($arguments,)])
    after = [as_numpy(result)[0] for result in first]
    print(f"expected: the first result stays\\n{before}\\ngot:\\n{after}")
    return any(old.tobytes() != new.tobytes() for old, new in zip(before, after))
'''

_TEXTS = {"changed input": _CHANGED, "alias": _ALIAS, "reused memory": _REUSED}


def check(kind: str, call: Call) -> list[str]:
    """The lines that look for one of these effects."""
    text = Template(_TEXTS[kind]).substitute(arguments=call.arguments, names=tuple(call.arrays))
    return text.splitlines()
