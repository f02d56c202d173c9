"""The zoo: wrong backends that the suite must catch, and right ones that it must spare.

`ZOO` and `RIGHT` map names to classes: those of the catalogue that is shipped (`convspec.harness.oracle.readings`:
wrong answers to one call, which a failure is explained by), and those here, which are wrong in other ways: in their
state, in memory, in errors, by dying. A wrong class carries its `Mutant` record in `cls.zoo`.
"""

import convspec.harness.oracle.readings
from convspec.harness.oracle.readings.calls import Mutant

readings = convspec.harness.oracle.readings

__all__ = ["RIGHT", "ZOO", "Mutant", "where"]


def where(cls):
    """The name of a class on the command line, from the repository's root."""
    module = cls.__module__
    return (
        f"{module}:{cls.__name__}"
        if module.startswith("convspec.")
        else f"tests/mutants/{module.rpartition('.')[2]}.py:{cls.__name__}"
    )


ZOO = readings.known() | readings.classes("mutants", __path__, "wrong_", "zoo")
RIGHT = readings.spared() | readings.classes("mutants", __path__, "right_", "spared")
