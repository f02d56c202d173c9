"""The test of the protocol is itself tested: right workers pass it, and each wrong one fails the check meant for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convspec.harness.process import conformance

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-P", "-m", "convspec.harness.process.worker")
NODE = ("node", str(ROOT / "examples" / "javascript" / "worker.mjs"))

# A worker that pools windows of one pixel and refuses all else, in the standard library alone.
SMALL = """
import json, os, struct, sys

def take(size):
    data = bytearray()
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(0)  # END
        data += part
    return bytes(data)

def send(header, body=b""):
    text = json.dumps(header).encode()
    data = memoryview(b"CVS1" + struct.pack("<IQ", len(text), len(body)) + text + body)
    while data:
        data = data[os.write(1, data):]

def fits(entry, options):
    pads = options.get("padding") == "VALID"
    pairs = [options.get(name) == {"tuple": [1, 1]} for name in ("ksize", "strides", "dilations")]
    return len(entry["shape"]) == 4 and pads and all(pairs) and len(options) == 4

send({"kind": "hello", "protocol": 1, "name": "small", "versions": {}, "methods": ["max_pool"], "dtypes": ["float32"]})
while True:
    prefix = take(16)
    header, size = struct.unpack("<IQ", prefix[4:])
    call, body = json.loads(take(header)), take(size)
    # CALL
    answer = {"kind": "answer", "serial": call["serial"], "status": "error", "error": "ValueError: no"}
    arrays = call["arrays"]
    if call["op"] != "max_pool":
        send({**answer, "status": "missing"})
    elif arrays and arrays[0]["dtype"] != "float32":
        send({**answer, "status": "unsupported", "error": "float32 only"})
    elif len(arrays) != 1 or not fits(arrays[0], call["options"]):
        send(answer)
    else:
        answer["status"] = "ok"
        send({**answer, "arrays": arrays}, body)
"""

# What is changed in it, and the first check that has to fail.
FAULTS = {
    "another protocol": ('"protocol": 1', '"protocol": 2', "hello: the first"),
    "no versions": ('"versions": {}, ', "", "hello: the first"),
    "a method that there is not": ('["max_pool"]', '["max_pool", "relu"]', "hello: the first"),
    "it prints first": ("send({", "os.write(1, b'hi!'); send({", "hello: the first"),
    "no filling up": (": arrays}, body)", ": arrays}, body[:540])", "call: arrays"),
    "another order": (": arrays}, body)", ": arrays}, body[7::-1] + body[8:])", "call: arrays"),
    "a dtype too many": ('["float32"]}', '["float32", "float64"]}', "dtypes: each that it claims"),
    "a dtype too few": ('!= "float32"', 'not in ("float32", "int8")', "dtypes: each that it does not claim"),
    "only one layout": ("# CALL", "assert call['layouts'][:1] in ([], ['C'])", "layouts:"),
    "no empty arrays": ("# CALL", "assert size or not call['arrays']", "arrays: those without"),
    "a scalar is an image": ('len(entry["shape"]) == 4', 'len(entry["shape"]) in (0, 4)', "arrays: one of rank 0"),
    "no reason": (', "error": "ValueError: no"', "", "arrays: one of rank 0"),
    "it takes the first array": ("elif len(arrays) != 1 or", "elif", "arrays: a call without"),
    "one read a frame": ("while len(data) < size:", "while not data and size:", "frames: one that comes in pieces"),
    "short serial numbers": ('call["serial"],', 'call["serial"] % 2**32,', "calls: 100 in a row"),
    "small buffers": ("# CALL", "assert size < 1 << 20", "frames: a body"),
    "unknown methods are errors": ('"status": "missing"', '"status": "error"', "ops:"),
    "strides are not looked at": ('("ksize", "strides", "dilations")', '("ksize", "dilations")', "options:"),
    "it stays": ("os._exit(0)  # END", "import time; time.sleep(20)", "end: when stdin"),
    "last words": ("os._exit(0)  # END", "os.write(1, b'bye'); os._exit(0)", "end: when stdin"),
    "half a frame is waited for": ("os._exit(0)  # END", "while data: 0\n            os._exit(0)", "end: also in the"),
}


def failing(results):
    return [result.name for result in results if result.state == "FAIL"]


@pytest.mark.parametrize("command", [(*PYTHON, "numpy"), NODE], ids=["python", "node"])
def test_our_workers_speak_it(command):
    if shutil.which(command[0]) is None:
        pytest.skip("node is not installed")
    results = list(conformance.check(command))
    assert [result for result in results if result.state == "FAIL"] == []
    assert sum(result.state == "ok" for result in results) >= 15


def test_a_small_worker_with_one_method_speaks_it(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    results = list(conformance.check((sys.executable, str(tmp_path / "small.py"))))
    assert failing(results) == []
    skipped = ["no method of its takes two arrays of different sizes", "it does not ask for them"]
    assert [r.text for r in results if r.state == "skip"] == skipped


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_its_check(tmp_path, fault):
    before, after, check = FAULTS[fault]
    assert before in SMALL
    (tmp_path / "wrong.py").write_text(SMALL.replace(before, after))
    names = failing(conformance.check((sys.executable, str(tmp_path / "wrong.py")), seconds=2.0))
    assert names, "nothing failed"
    assert names[0].startswith(check)


def run(*command):
    line = [sys.executable, "-m", "convspec.harness.process.conformance", "--", *command]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_says_a_line_a_check_and_exits_by_what_it_found(tmp_path):
    (tmp_path / "small.py").write_text(SMALL)
    done = run(sys.executable, str(tmp_path / "small.py"))
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "It speaks the protocol.")
    assert all(line[:6] in ("ok    ", "skip  ") for line in lines[:-1])
    assert len(lines) == len(list(conformance.check((sys.executable, str(tmp_path / "small.py"))))) + 1
    (tmp_path / "wrong.py").write_text("raise SystemExit('no licence')")
    done = run(sys.executable, str(tmp_path / "wrong.py"))
    assert done.returncode == 1
    assert "FAIL  hello" in done.stdout
    assert "no licence" in done.stdout
    done = run("/no/such/program")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("/no/such/program cannot be started")
