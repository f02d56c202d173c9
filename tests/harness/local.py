"""A backend judged in this process, by one check at a time."""

from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.levels import LEVELS
from convspec.harness.process.local import LocalBackend
from convspec.harness.verdict import Cell
from convspec.spec import clause

__all__ = ["LocalBackend", "check_of", "judge_of"]


def judge_of(backend, level="quick"):
    return Judge(LocalBackend(backend), LEVELS[level].crashes)


def check_of(backend, slug, dtype="float32", level="quick", judge=None):
    cell = Cell(slug, clause(slug).level, dtype, "local")
    return Check(judge or judge_of(backend, level), cell, level=level, seed=20)
