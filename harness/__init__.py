"""The conformance suite: cases, oracle, processes, verdicts and reports.

Kept empty on purpose: the worker of a foreign interpreter passes through here and has NumPy and a framework only.
"""
