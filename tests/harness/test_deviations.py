"""Known deviations: what they cover, what they never hide, and how a wrong entry is told."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convspec.harness.cases.case import Case
from convspec.harness.deviations import Declared, DeviationError, known, read
from convspec.harness.deviations.predicate import Predicate, PredicateError
from convspec.harness.report import schema
from convspec.harness.verdict import Finding

POOL = Case("max_pool", (1, 1, 2, 1), (1, 2), recipe="nan-in-x")
ENTRY = {
    "id": '"mine-drops-nan"',
    "backend": '"mine"',
    "versions": '">=1"',
    "clause": '"max-pool-nan"',
    "where": "\"op == 'max_pool' and nan\"",
    "shows": '"value"',
    "kind": '"bug"',
    "reason": '"NaN is dropped."',
    "witness": '{ op = "max_pool", x = [1, 1, 2, 1], kernel = [1, 2], recipe = "nan-in-x" }',
}
#: The reference, but for what a test puts at FAULTS.
BACKEND = """
import os
import numpy as np
from convspec import *
import convspec

class Mine:
    name, version, device = "mine", "1.2", "cpu"
    conv2d, conv2d_vjp = staticmethod(convspec.conv2d), staticmethod(convspec.conv2d_vjp)
    max_pool_vjp = staticmethod(convspec.max_pool_vjp)

    def max_pool(self, x, *, ksize, **rest):
        {faults}
        return convspec.max_pool(x, ksize=ksize, **rest)
"""
DROPS_NAN = "x = np.where(np.isnan(x), -np.inf, x).astype(x.dtype)"
CHANNELS = "y = convspec.max_pool(x, ksize=ksize, **rest)\n        if x.shape[3] > 1: return -y"
DIES = "if ksize[0] > x.shape[1] and rest['padding'] == 'VALID': open('asked', 'a').write('x'); os._exit(3)"


def entry(**changes):
    keys = ENTRY | changes
    return "[[deviation]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


def written(tmp_path, *entries):
    file = tmp_path / "known.toml"
    file.write_text("\n".join(entries), encoding="utf-8")
    return file


def judged(tmp_path, faults, *arguments, clauses="max-pool-nan", deviations=True):
    """Exit status, output and cells of a run on a backend with these faults."""
    (tmp_path / "mine.py").write_text(BACKEND.format(faults=faults), encoding="utf-8")
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "convspec.harness.cli", "check", "mine.py:Mine", "--level", "quick", "-n", "1"]
    command += ["-k", clauses, "--json", str(results), *(["--deviations", "known.toml"] if deviations else [])]
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    document = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    return done.returncode, done.stdout + done.stderr, document


def states(document):
    return {(c["clause"], c["dtype"]): c["state"] for c in document["cells"]}


# ---- in a run ----------------------------------------------------------------------------------------------------


def test_a_declared_finding_is_a_deviation_and_decides_nothing(tmp_path):
    written(tmp_path, entry())
    status, said, document = judged(tmp_path, DROPS_NAN)
    assert status == 0, said
    assert set(states(document).values()) == {"deviation"}
    assert document["deviations"]["mine.py:Mine"]["mine-drops-nan"]["state"] == "reproduced"
    assert "NaN is dropped." in said


def test_without_its_entry_the_same_finding_fails(tmp_path):
    written(tmp_path, entry(versions='">=2"'))
    status, said, document = judged(tmp_path, DROPS_NAN)
    assert status == 1, said
    assert "fail" in states(document).values()
    status, said, _ = judged(tmp_path, DROPS_NAN, deviations=False)
    assert status == 1, said


def test_a_witness_that_passes_is_stale_and_its_lines_are_named(tmp_path):
    written(tmp_path, "# kept apart\n", entry())
    status, said, document = judged(tmp_path, "pass")
    assert status == 1
    assert set(states(document).values()) == {"pass"}
    assert "known.toml:3: deviation 'mine-drops-nan' of mine.py:Mine is stale" in " ".join(said.split())
    assert "delete lines 3 to 12" in " ".join(said.split())


def test_a_witness_that_shows_another_fault_is_told_as_that_and_not_to_be_deleted(tmp_path):
    written(tmp_path, entry(shows='"shape"'))
    status, said, document = judged(tmp_path, DROPS_NAN)
    assert status == 1
    said = " ".join(said.split())
    assert "mine-drops-nan' of mine.py:Mine is not as declared: its witness shows value, not shape" in said
    assert "passes now" not in said
    assert "delete" not in said
    assert document["deviations"]["mine.py:Mine"]["mine-drops-nan"]["otherwise"] == ["value"]
    schema.validate(document)


def test_a_flaky_one_that_does_not_show_is_no_fault(tmp_path):
    written(tmp_path, entry(flaky="true"))
    status, said, document = judged(tmp_path, "pass")
    assert status == 0, said
    assert document["deviations"]["mine.py:Mine"]["mine-drops-nan"]["state"] == "not shown this time"


def test_one_cause_does_not_hide_another_of_the_same_clause(tmp_path):
    written(tmp_path, entry(where="\"op == 'max_pool' and nan and height == 1\""))
    status, said, document = judged(tmp_path, DROPS_NAN)
    assert status == 1, said
    found = [f for c in document["cells"] for f in c["findings"]]
    assert {f["deviation"] for f in found} == {"", "mine-drops-nan"}
    assert all(f["case"]["x"][1] != 1 for f in found if not f["deviation"])


def test_another_clause_fails_as_ever(tmp_path):
    written(tmp_path, entry())
    status, said, document = judged(
        tmp_path, f"{DROPS_NAN}\n        {CHANNELS}", clauses="max-pool-nan or max-pool-maximum"
    )
    assert status == 1, said
    cells = states(document)
    assert cells["max-pool-maximum", "float32"] == "fail"


def test_calls_that_end_the_process_are_asked_once(tmp_path):
    dies = entry(
        id='"mine-dies"',
        clause='"max-pool-empty-output"',
        where="\"op == 'max_pool' and empty and kernel[0] > height\"",
        shows='"crash"',
        witness='{ op = "max_pool", x = [1, 1, 2, 1], kernel = [2, 1], recipe = "real-pool" }',
    )
    written(tmp_path, dies)
    status, said, document = judged(tmp_path, DIES, clauses="max-pool-empty-output")
    assert status == 0, said
    assert (tmp_path / "asked").read_text() == "x"
    assert states(document)["max-pool-empty-output", "float32"] == "deviation"


def test_a_witness_that_no_case_is_like_is_told(tmp_path):
    argmax = '{ op = "max_pool_with_argmax", x = [1, 1, 2, 1], kernel = [1, 2], recipe = "nan-in-x" }'
    written(tmp_path, entry(where='"nan"', witness=argmax))
    status, said, _ = judged(tmp_path, DROPS_NAN)
    assert status == 1
    assert "its witness was not asked" in " ".join(said.split())


def test_a_draft_declares_what_it_was_drafted_from(tmp_path):
    status, _, _ = judged(tmp_path, DROPS_NAN, deviations=False)
    assert status == 1
    command = [sys.executable, "-m", "convspec.harness.cli", "deviations"]
    drafted = subprocess.run(
        [*command, "draft", "results.json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    written(tmp_path, drafted.stdout)
    checked = subprocess.run(
        [*command, "check", "known.toml"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "well formed" in checked.stdout
    status, said, _ = judged(tmp_path, DROPS_NAN)
    assert status == 0, said


def test_the_list_is_of_one_backend_where_asked_and_says_when_there_is_none():
    command = [sys.executable, "-m", "convspec.harness.cli", "deviations", "list", "--backend"]
    some = subprocess.run([*command, "jax"], capture_output=True, text=True, check=True).stdout
    assert "jax-" in some
    assert "torch-" not in some
    none = subprocess.run([*command, "nope"], capture_output=True, text=True, check=False)
    assert (none.returncode, none.stdout) == (2, "")
    assert "no deviation of nope is known; there are some of jax, onnxruntime" in none.stderr


# ---- wrong entries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (entry(clause='"max-pool-nna"'), 5, "max-pool-nna"),
        (entry(clause=None), 1, "has no clause"),
        (entry(versions='"2.x"'), 4, "no specifier"),
        (entry(where='"stride > 1"'), 6, "unknown word 'stride'; did you mean 'strides'?"),
        (entry(where="\"op == 'conv2d'\""), 10, "not one of the calls"),
        (entry(where="\"__import__('os')\""), 6, "may not be called"),
        (entry(shows='"wrong"'), 7, "shows has 'wrong'"),
        (entry(kind='"opinion"'), 8, "it must be one of bug"),
        (entry(reason='" "'), 9, "reason is empty; say why"),
        (entry(witness='{ op = "max_pool" }'), 10, "the witness: it is no case"),
        (entry(test='"test_pool"'), 11, "unknown key 'test'"),
        (entry(backend="3"), 3, "must be text"),
        ("[[deviation]]\nid = \n", 2, "not TOML"),
        ("[other]\nid = 1\n", 1, "unknown table 'other'"),
        (entry() + entry(), 11, "has the name of"),
        (entry() + entry(id='"again"', where='"nan"'), 11, "overlaps"),
    ],
)
def test_a_wrong_entry_is_one_line_with_file_and_line(tmp_path, text, line, words):
    file = written(tmp_path, text)
    with pytest.raises(DeviationError) as told:
        known([file], ours=False)
    assert str(told.value).startswith(f"{file}:{line}:")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_wrong_file_ends_a_run_before_it_begins(tmp_path):
    written(tmp_path, entry(clause='"max-pool-nna"'))
    status, said, document = judged(tmp_path, "pass")
    assert status == 2
    assert "known.toml:5:" in said
    assert not document


# ---- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "case", "holds"),
    [
        ("", POOL, True),
        ("nan and kernel == (1, 2)", POOL, True),
        ("infinite or bias", POOL, False),
        ("max(strides) > 1", POOL.but(strides=(1, 2)), True),
        ("pads[3] > pads[2] and padding == 'SAME'", POOL.but(padding="SAME"), True),
        ("extent[0] > height", POOL.but(kernel=(2, 1), dilations=(3, 1), padding="SAME"), True),
        ("tapless", Case("max_pool", (1, 1, 3, 1), (2, 1), padding="SAME", dilations=(2, 1), recipe="distinct"), True),
        ("tapless", POOL, False),
        ("dtype in ('float16', 'bfloat16') and not gradient", POOL.but(dtype="float16"), True),
        ("depthwise", Case("conv2d", (1, 3, 3, 2), (2, 2), filters=2, groups=2), True),
        ("1 <= height < 2 and width % 2 == 0 and -1 < batch", POOL, True),
    ],
)
def test_predicates_say_what_they_read(text, case, holds):
    assert Predicate(text)(case) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("op ==", "'op ==' is no expression: invalid syntax"),
        ("opp == 1", "unknown word 'opp'; did you mean 'op'?"),
        ("op.upper()", "op.upper(...) may not be called; only "),
        ("open('f')", "open(...) may not be called; only "),
        ("lambda: 1", "'lambda: 1': Lambda may not stand in a predicate"),
        ("[c for c in op]", "'[c for c in op]': ListComp may not stand in a predicate"),
        ("op if op else op", "IfExp may not stand in a predicate"),
        ("(op := 1)", "NamedExpr may not stand in a predicate"),
        ("max(strides, key=len)", "keyword may not stand in a predicate"),
        ("max(*strides)", "Starred may not stand in a predicate"),
        ("~height > 1", "'~height': Invert may not stand in a predicate"),
        ("height / 2 > 1", "'height / 2': Div may not stand in a predicate"),
        ("op is bias", "'op is bias': Is may not stand in a predicate"),
    ],
)
def test_what_is_no_predicate_is_refused_and_says_why(text, said):
    with pytest.raises(PredicateError, match=re.escape(said)):
        Predicate(text)


def test_an_entry_concerns_its_backend_version_device_and_mode(tmp_path):
    (one,) = read(written(tmp_path, entry(backend='"torch"', versions='">=2.4,<2.14"', modes='"!compile"')))
    hello = {"versions": {"torch": "2.13.0+cpu"}}
    assert Declared.of([one], "torch", hello).entries
    assert Declared.of([one], "torch:cuda@eager", hello).entries
    assert not Declared.of([one], "torch@compile", hello).entries
    assert not Declared.of([one], "torch", {"versions": {"torch": "2.14.0"}}).entries
    assert not Declared.of([one], "tensorflow", {"versions": {"torch": "2.13.0"}}).entries


def test_two_entries_about_one_call_are_told_when_a_run_meets_it(tmp_path):
    texts = [
        entry(),
        entry(id='"other"', where='"width == 3"', witness=ENTRY["witness"].replace("2, 1], k", "3, 1], k")),
    ]
    file = written(
        tmp_path, *(text.replace(' and nan"', ' and width == 3"') if '"other"' in text else text for text in texts)
    )
    with pytest.raises(DeviationError, match="overlaps"):
        known([file], ours=False)
    declared = Declared(tuple(e for text in texts for e in read(written(tmp_path, text))))
    case = POOL.but(x=(1, 1, 3, 1)).to_dict()
    declared.mark(Finding("max-pool-nan", "value", "wrong", call="a call", case=case))
    assert len(declared.overlaps) == 1


def test_what_ships_is_well_formed_and_in_the_wheel():
    entries = known()
    assert {e.backend for e in entries} >= {"torch", "tensorflow"}
    assert all(e.reason.endswith(".") for e in entries)
    assert all(not e.url or e.url.startswith("https://") for e in entries)
    assert all(Path(e.place.split(":")[0]).suffix == ".toml" for e in entries)
