"""Trainers judged in this process, in a few steps."""

from convspec.harness.process.local import LocalBackend
from convspec.harness.training import tasks
from convspec.harness.training.subject import Subject
from convspec.harness.training.tasks import Record, Task

FEW = {"steps": 2, "batch": 16, "rate": 0.05, "momentum": 0.9}


def judged(backend, net, digits, folder, steps=2):
    """The record of a backend in this process."""
    task = Task(net, 0, "mine", True, **(FEW | {"steps": steps}))
    record, local = Record(facts={"batch": task.batch}), LocalBackend(backend)
    tasks._judge(task, digits, Subject(local), local.hello, record, folder / "record.npz", lambda *_: None)
    return record


def twins_of(net, digits, folder, steps=2):
    found = {}
    for who in ("reference", "twin 1", "float64"):
        found[who] = tasks.run(Task(net, 0, who, False, **(FEW | {"steps": steps})), digits, folder, lambda *_: None)
    return found
