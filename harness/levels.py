"""How much a run asks: quick, standard, deep.

May import the exploration's budget only.
"""

from __future__ import annotations

from .explore import Budget

#: Examples a cell of float32 and one of the other dtypes, new calls for shrinking one cause, and crashes of one clause
#: that are worth a restart. The seconds are for backends that are very slow: elsewhere the calls run out first, so that
#: a run repeats itself.
LEVELS = {
    "quick": Budget(examples=8, others=4, shrink_calls=60, shrink_seconds=10, crashes=1),
    "standard": Budget(examples=40, others=40, shrink_calls=150, shrink_seconds=20, crashes=2),
    "deep": Budget(examples=400, others=400, shrink_calls=1000, shrink_seconds=60, crashes=4),
}
#: What a backend that compiles each shape anew is asked beside the covering arrays, at every level: so many drawn
#: cases, and so many of each list.
SPARING = Budget(examples=1, others=1, shrink_calls=10, shrink_seconds=60, crashes=1)
FEW = 2
DEFAULT_LEVEL = "standard"
