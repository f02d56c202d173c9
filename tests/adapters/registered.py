"""What the tests of the registry share: a file of backends, and a refusal in one line."""

import pytest

from convspec.adapters import BackendError, registry

SOURCE = """
from __future__ import annotations
import dataclasses
import {sibling}
from convspec.adapters.modes import Mode

ONLY_TWO = Mode("fused", devices=("two",), compiles=True)

@dataclasses.dataclass
class Mine:
    name: str = {sibling}.NAME
    sides: dataclasses.InitVar[int] = 4

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        return x

ready = Mine(name="ready")
empty = object()

class Nested:
    inner = Mine

class Needs:
    def __init__(self, device):
        pass

class Chip(Mine):
    devices = ("one", "two")
    modes = {{"plain": "one at a time", "graph": "all at once", "fused": ONLY_TWO}}

    def __init__(self, device="one", mode="plain"):
        super().__init__("chip")
        self.device, self.mode = device, mode

class Absent:
    def __init__(self):
        from convspec.adapters import DeviceUnavailable
        raise DeviceUnavailable("no such chip: /dev/chip is not there")
"""


def refusal(text, kind=BackendError):
    with pytest.raises(kind) as error:
        registry.load(text)
    message = str(error.value)
    assert "\n" not in message
    return message
