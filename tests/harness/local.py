"""A backend judged in this process: what the worker does, without the worker. For backends that do not crash."""

import warnings

from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.levels import LEVELS
from convspec.harness.process import worker
from convspec.harness.verdict import Cell
from convspec.spec import clause


class LocalBackend:
    """Stands where `RemoteBackend` does."""

    def __init__(self, backend, text="local"):
        self.backend, self.text, self.timeout = backend, text, 30.0
        self.hello = worker.hello(backend, text)

    def call(self, request):
        with warnings.catch_warnings():  # this project's tests turn them into errors; a worker does not
            warnings.simplefilter("ignore")
            return worker.serve_one(self.backend, request)


def judge_of(backend, level="quick"):
    return Judge(LocalBackend(backend), LEVELS[level].crashes)


def check_of(backend, slug, dtype="float32", level="quick", judge=None):
    cell = Cell(slug, clause(slug).level, dtype, "local")
    return Check(judge or judge_of(backend, level), cell, level=level, seed=20)
