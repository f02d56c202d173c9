"""How verdicts are told. Sees results, never backends."""
