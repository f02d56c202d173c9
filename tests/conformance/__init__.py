"""The clauses as pytest tests over any backend: `pytest --pyargs convspec.conformance --backend torch:cpu`.

Each test is named after its clause's slug and asks through the `check` fixture, which is bound to one backend and
one dtype. A clause with more than one test names the others `test_<slug>__<what>`.
"""
