"""How a backend is asked: in a process of its own, by frames without pickle.

`protocol` is the wire format (also told in ``PROTOCOL.md``, for workers in other languages), `worker` the far side,
`layouts` what the far side does to memory before a call and checks after it, `child` one running process and its pipes,
and `remote.RemoteBackend` the near side: it starts, times, ends and restarts workers.

This package knows nothing of clauses, cases or verdicts, and may import NumPy, `convspec.adapters` and
`convspec.reference.geometry` alone: its far side runs in interpreters that have nothing else. Nothing is imported
here, so that the worker loads only what it uses.
"""
