"""How much a run asks: quick, standard, deep.

May import the exploration's budget only.
"""

from __future__ import annotations

from .explore import Budget

#: Examples a cell, new calls and seconds for shrinking one cause, crashes of one clause that are worth a restart.
LEVELS = {
    "quick": Budget(examples=10, shrink_calls=60, shrink_seconds=0.7, crashes=1),
    "standard": Budget(examples=40, shrink_calls=200, shrink_seconds=2.0, crashes=2),
    "deep": Budget(examples=400, shrink_calls=1000, shrink_seconds=20.0, crashes=4),
}
DEFAULT_LEVEL = "standard"
