"""Known deviations of backends: declared with a reason, strict, and never in the way of another fault."""

from .entry import Declared, Deviation
from .files import DeviationError, alone, known, read, shipped

__all__ = ["Declared", "Deviation", "DeviationError", "alone", "known", "read", "shipped"]
