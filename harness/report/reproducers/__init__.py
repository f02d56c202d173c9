"""Scripts that show a finding without convspec, one file a framework.

`asked` says what is called and what is right, `checks` how a script looks at the answer, the others how the call is
written. May import the cases, the oracle and the adapters' geometry; never a framework.
"""

from .backend import NoReproducer

__all__ = ["NoReproducer"]
