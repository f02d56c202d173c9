"""`convspec mnist`: its criteria, its verdicts on wrong and right trainers, its command line, and a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mutants import wrong_training
from trained import FEW, judged, twins_of

from convspec.adapters.backend import Contract
from convspec.harness.cli import main
from convspec.harness.process.local import LocalBackend
from convspec.harness.training import data, explain, judge, lockstep, tasks
from convspec.harness.training.run import Asked
from convspec.harness.training.subject import Lost, Subject, one_ulp, zeros
from convspec.harness.training.tasks import Task, batches
from convspec.harness.verdict import State
from convspec.reference import network, training
from convspec.reference.training import NETS, Pass
from convspec.spec import clause, clauses

PLANTED_FILE = Path(wrong_training.__file__)


@pytest.fixture(scope="module")
def digits():
    """The shipped ones, of which a hundred to test: sorting out all of them takes longer than what is tested here."""
    whole = data.subset()
    return dataclasses.replace(whole, test_images=whole.test_images[:100], test_labels=whole.test_labels[:100])


# ------------------------------------------------------------------------------------------------------- criteria


def test_every_clause_of_training_is_judged():
    assert set(judge.CLAUSES) == {c.slug for c in clauses().values() if c.scope == "training"}


def test_the_text_gives_the_criteria():
    step = clause("training-step").formula
    assert f"{lockstep.LOSS:g}".replace("e-0", "e-") in step
    assert f"{lockstep.GRADIENT:g}".replace("e-0", "e-") in step
    assert f"{lockstep.MARGIN:g}".replace("e-0", "e-") in step
    assert f"{lockstep.ULPS} units" in " ".join(clause("training-update").formula.split())
    assert f"{lockstep.NEAR:g}".replace("e-0", "e-") in clause("training-early").formula
    assert f"{lockstep.MARGIN:g}".replace("e-0", "e-") in clause("training-early").formula
    assert "1e-2" in clause("training-end").formula
    assert "1e-2" in clause("training-early").formula
    assert lockstep.BRANCH == 1e-2
    assert f"{judge.SEEN:,} images" in " ".join(clause("training-accuracy").formula.split())
    assert lockstep.allowance(Contract(tf32=True)) == 2**13
    assert lockstep.allowance(Contract(algorithm="winograd")) == 2**8
    assert lockstep.allowance(Contract(algorithm="fft")) == 2**4


@pytest.mark.parametrize("net", "AB")
def test_a_pass_is_compared_with_itself_and_with_its_neighbours(net, digits):
    batch = digits.images[:8], digits.labels[:8]
    parameters = training.initial(NETS[net], 1)
    right = Pass.of(NETS[net], training.loss_and_gradients(*batch, *parameters, net=NETS[net]))
    same = lockstep.compare(NETS[net], batch, parameters, right, right)
    assert same.first == ""
    assert list(same.errors) == lockstep.names(NETS[net])
    assert set(same.errors.values()) == {0.0}
    for number, gradient in enumerate(right.gradients):
        off = list(right.gradients)
        off[number] = gradient + 1e-4 * np.abs(gradient).max()
        compared = lockstep.compare(NETS[net], batch, parameters, right, right._replace(gradients=tuple(off)))
        name = training.parameter_names(NETS[net])[number]
        assert compared.first == f"{name.rsplit(' ', 1)[0]}: gradient of the {name.rsplit(' ', 1)[1]}"


def test_what_cannot_be_compared_is_infinitely_far():
    a = np.ones(3, np.float32)
    assert lockstep.relative(a, a[:2]) == np.inf
    assert lockstep.relative(a, a.astype(np.float64)) == np.inf
    assert lockstep.relative(a, np.array([1, np.nan, 1], np.float32)) == np.inf
    assert lockstep.relative(0 * a, a) == np.inf
    assert lockstep.relative(a, a * np.float32(1.5)) == 0.5


def test_a_branch_taken_near_a_tie_is_followed(digits):
    """A float64 pass takes other branches here and there; it is right, and found right."""
    net = NETS["A"]
    batch = (digits.images[:32], digits.labels[:32])
    for seed in range(2, 40):  # which parameters have a near tie hangs on the order in which NumPy's BLAS adds
        parameters = training.initial(net, seed)
        wide = [a.astype(np.float64) for a in (batch[0], *parameters)]
        found = training.loss_and_gradients(wide[0], batch[1], *wide[1:], net=net)
        other = Pass.of(net, [np.asarray(a).astype(np.float32) for a in found])
        right = Pass.of(net, training.loss_and_gradients(*batch, *parameters, net=net))
        if lockstep.branches(net, right.outputs, other.outputs)[1]:
            break
    else:
        pytest.fail("no parameters with a near tie")
    assert lockstep.compare(net, batch, parameters, right, other).worst[1] < 0.2


def test_the_update_is_held_to_ulps():
    rng = np.random.default_rng(0)
    w, v, g = (rng.standard_normal(50).astype(np.float32) for _ in range(3))
    (w1,), (v1,) = network.sgd([w], [g], [v], rate=0.05, momentum=0.9)
    assert lockstep.compare_update([w, v], [w1, v1], [g], 0.05, 0.9).first == ""
    off = w1 * np.float32(1 + 2**-18)
    assert lockstep.compare_update([w, v], [off, v1], [g], 0.05, 0.9).first == "weights 0"
    assert lockstep.compare_update([w, v], [w1, v1 + np.float32(1e-3)], [g], 0.05, 0.9).first == "velocity 0"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda w, v, g: (w - 0.05 * (g + 0.9 * (0.9 * v + g)), 0.9 * v + g), "Nesterov's momentum, not the classical"),
        (lambda w, v, g: (w - 0.05 * (0.9 * v + 0.1 * g), 0.9 * v + 0.1 * g), "dampened momentum (dampening 0.9)"),
        (lambda w, v, g: (w - 0.05 * g, g), "no momentum"),
        (lambda w, v, g: (w + 0.05 * (0.9 * v + g), 0.9 * v + g), "the update has the wrong sign"),
        (lambda w, v, g: (w - 0.1 * (0.9 * v + g), 0.9 * v + g), "the learning rate is 0.1"),
        (lambda w, v, g: (w - 0.05 * (0.9 * v + g) - 0.001 * w, 0.9 * v + g), "weight decay (0.02)"),
        (lambda w, v, g: (w - 0.05 * (0.9 * v + g) + 0.01 * v**2, 0.9 * v + g), ""),
    ],
)
def test_rules_of_update_are_named(rule, said):
    rng = np.random.default_rng(0)
    w, v, g = (rng.standard_normal(500).astype(np.float32) for _ in range(3))
    after = [np.asarray(a, np.float32) for a in rule(w, v, g)]
    assert explain.of_update([w, v], after, [g], 0.05, 0.9) == said


# ------------------------------------------------------------------------------------------- wrong and right ones


@pytest.mark.once
def test_a_fault_between_steps_shows_in_the_free_run(digits, tmp_path):
    record = judged(wrong_training.StaleVelocity(), "B", digits, tmp_path, steps=12)
    assert "failed" not in record.facts
    found = judge.verdicts("B", 0, "mine", record, twins_of("B", digits, tmp_path, 12), digits)
    states = {v.clause: v.state for v in found}
    assert states["training-step"] == states["training-update"] == State.PASS
    assert states["training-early"] == State.FAIL


@pytest.mark.once
@pytest.mark.parametrize("name", wrong_training.SPARED)
@pytest.mark.parametrize("net", "AB")
def test_a_right_trainer_is_spared(name, net, digits, tmp_path):
    record = judged(getattr(wrong_training, name)(), net, digits, tmp_path, steps=3)
    found = judge.verdicts(net, 0, "mine", record, twins_of(net, digits, tmp_path, 3), digits)
    musts = [v for v in found if clause(v.clause).level == "MUST"]
    assert [v.state for v in musts] == [State.PASS] * 5, [(v.clause, v.text) for v in musts]


class NoPools:
    """Convolutions only."""

    name = "no-pools"
    conv2d = staticmethod(training.Own.conv2d)
    conv2d_vjp = staticmethod(training.Own.conv2d_vjp)


class Raises(wrong_training._Native):
    def loss_and_gradients(self, images, labels, *parameters, net):
        raise RuntimeError("out of luck")


class TooFew(wrong_training._Native):
    def loss_and_gradients(self, images, labels, *parameters, net):
        return super().loss_and_gradients(images, labels, *parameters, net=net)[:-1]


@pytest.mark.parametrize(
    ("cls", "state", "text"),
    [
        (NoPools, State.UNSUPPORTED, "no method max_pool"),
        (Raises, State.FAIL, "out of luck"),
        (TooFew, State.FAIL, "20 arrays, expected 21"),
    ],
)
def test_what_gives_no_answer(cls, state, text, digits, tmp_path):
    record = judged(cls(), "B", digits, tmp_path)
    found = judge.verdicts("B", 0, "mine", record, {}, digits)
    assert len(found) == len(judge.CLAUSES)
    step = next(v for v in found if v.clause == "training-step")
    assert step.state == state
    assert text in step.text


def test_a_net_of_four_methods_is_the_native_one(digits):
    net, batch = NETS["B"], (digits.images[:4], digits.labels[:4])
    parameters = training.initial(net, 0)
    inside = Subject(LocalBackend(wrong_training._KNOWN["TiesToLast"]()))
    assert not inside.native
    one = inside.passed(net, *batch, parameters)
    right = Pass.of(net, training.loss_and_gradients(*batch, *parameters, net=net))
    assert lockstep.relative(right.outputs[-1], one.outputs[-1]) < 1e-5
    with pytest.raises(Lost, match="no method block"):
        inside.ask("block", batch[0])


# ------------------------------------------------------------------------------------------------ pieces and kills


def test_batches_go_through_all_images_in_another_order_each_time():
    rows = batches(10, 3, 0, range(7))
    assert rows.shape == (7, 3)
    assert len(set(rows[:3].ravel())) == 9
    assert not np.array_equal(rows[:3], rows[3:6])
    assert np.array_equal(batches(10, 3, 0, range(4, 6)), rows[4:6])
    with pytest.raises(ValueError, match="more than the 10 images"):
        batches(10, 11, 0, range(1))


def test_a_twin_is_an_ulp_away():
    one = training.initial(NETS["A"], 0)
    two = one_ulp(one, 1)
    assert (one[0] != two[0]).all()
    assert np.abs(one[0] - two[0]).max() <= np.spacing(np.abs(one[0]).max())
    assert all(np.array_equal(a, b) for a, b in zip(one[1:], two[1:], strict=True))
    assert all(not v.any() for v in zeros(one))


class Killed(BaseException):
    pass


@pytest.mark.once
@pytest.mark.parametrize("backend", [False, True])
def test_going_on_gives_the_same_to_the_bit(backend, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "SAVE_EVERY", 0.0)
    who = f"{PLANTED_FILE}:OneUlp" if backend else "twin 1"
    task = Task("B", 0, who, backend, **(FEW | {"steps": 12}))
    whole = tasks.run(task, digits, tmp_path, lambda *_: None)
    (tmp_path / task.file).unlink()
    for stop in (3, 9, 14) if backend else (2, 8):

        def tell(done, _total, _text, stop=stop):
            if done >= stop:
                raise Killed

        with pytest.raises(Killed):
            tasks.run(task, digits, tmp_path, tell)
    resumed = tasks.run(task, digits, tmp_path, lambda *_: None)
    assert set(whole.arrays) == set(resumed.arrays)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, resumed.arrays[name], err_msg=name)
    assert {**whole.facts, "seconds": 0} == {**resumed.facts, "seconds": 0}


def test_a_broken_file_is_started_again(digits, tmp_path):
    task = Task("B", 0, "twin 1", False, **FEW)
    (tmp_path / task.file).write_bytes(b"PK\x03\x04 and then nothing")
    assert tasks.run(task, digits, tmp_path, lambda *_: None).done["free"] == FEW["steps"]


def convspec(*arguments, cwd, **options):
    command = [sys.executable, "-m", "convspec.harness.cli", "mnist", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def results(file):
    found = json.loads(file.read_text())
    for one in found["runs"]:
        one["facts"].pop("seconds")
    return {key: found[key] for key in ("verdicts", "runs")}


def test_a_killed_run_goes_on(tmp_path):
    arguments = (f"{PLANTED_FILE}:OneUlp", "--net", "B", "--steps", "10", "--batch", "16", "--json")
    first = convspec(*arguments, tmp_path / "whole.json", cwd=tmp_path)
    said, wrong = first.communicate(timeout=300)
    assert first.returncode == 0, said + wrong
    assert "No MUST clause is broken" in said
    assert not (tmp_path / ".convspec").exists()
    second = convspec(*arguments, tmp_path / "again.json", cwd=tmp_path, start_new_session=True)
    until = time.monotonic() + 120
    while not list(tmp_path.glob(".convspec/*/*.npz")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    third = convspec(*arguments, tmp_path / "again.json", "--resume", cwd=tmp_path)
    said, wrong = third.communicate(timeout=300)
    assert third.returncode == 0, said + wrong
    assert results(tmp_path / "whole.json") == results(tmp_path / "again.json")


# ---------------------------------------------------------------------------------------------------- command line


@pytest.mark.once
def test_a_wrong_backend_ends_in_one(tmp_path):
    one = convspec(f"{PLANTED_FILE}:Nesterov", "--net", "B", "--steps", "2", "--batch", "16", cwd=tmp_path)
    said, wrong = one.communicate(timeout=300)
    assert one.returncode == 1, said + wrong
    assert "matches: Nesterov's momentum, not the classical" in said
    assert "MUST verdicts are broken" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "unknown backend"),
        (["numpy", "--batch", "6000"], "there are only 5,000 images"),
        (["numpy", "--data", "."], "expected"),
        (["numpy", "--data", "nowhere"], "does not exist"),
        (["numpy", "--download"], "give --full with it"),
        (["numpy", "--json", "nowhere/a.json"], "there is no folder"),
        (["numpy", "--steps", "0"], "is not in the range"),
        ([], "Missing argument"),
    ],
)
def test_bad_arguments_end_in_two(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["mnist", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_defaults_are_those_of_the_command_line():
    asked, options = Asked(("numpy",)), {p.name: p.default for p in main.get_command(None, "mnist").params}
    assert options["steps"] == asked.steps
    assert options["batch"] == asked.batch
    assert options["seeds"] == len(asked.seeds)


def test_a_reading_explains_what_it_leaves_next_to_nothing_of():
    def compared(*errors):
        return lockstep.Compared(dict(zip("abc", errors, strict=True)))

    apart = compared(10.0, 20.0, 40.0)
    assert explain._explains(compared(0.5, 0.9, 1.0), apart)
    assert explain._explains(compared(0.01, 0.01, 9.0), apart)  # one element on the edge of a digit
    assert not explain._explains(compared(0.001, 0.001, 11.0), apart)
    assert not explain._explains(compared(5.0, 5.0, 5.0), apart)
    assert not explain._explains(compared(0.01, 20.0, 0.01), apart)
