"""The form of the results files: every run is of it, and nothing else is."""

import copy
import json
import os
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from reported import all_states, run_of, training

from convspec.harness.deviations.entry import KINDS
from convspec.harness.report import merge, rows, schema
from convspec.harness.report.schema import DocumentError, fault, validate
from convspec.harness.training import run as training_run
from convspec.harness.verdict import FINDING_KINDS, WITNESS, State
from convspec.spec import LEVELS

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "results").glob("*.json"))


def convspec(*args, cwd, status=0):
    command = [sys.executable, "-m", "convspec.harness.cli", *args]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, env={**os.environ, "COLUMNS": "110"}
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------ every run


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.name)
def test_the_committed_results_are_of_the_form(file):
    document = json.loads(file.read_text(encoding="utf-8"))
    validate(document)
    assert fault(document) == ""


def test_there_are_committed_results_and_their_union_is_of_the_form():
    assert len(COMMITTED) >= 5
    validate(merge.merge(COMMITTED))


def test_a_fresh_run_is_of_the_form(tmp_path):
    convspec("check", "numpy", "--level", "quick", "-n", "1", "-k", "same_lower or locality", "--json", "r.json",
             cwd=tmp_path)  # fmt: skip
    document = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    validate(document)
    assert document["cells"]
    assert fault(document) == ""


@pytest.mark.once
def test_a_fresh_training_run_is_of_the_form_and_can_be_shown(tmp_path):
    args = ("mnist", "numpy", "--net", "B", "--steps", "2", "--batch", "8", "-n", "1", "--json", "t.json")
    convspec(*args, cwd=tmp_path)
    document = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    validate(document)
    assert len(document["verdicts"]) == 6
    assert fault(document) == ""
    assert "training-update" in convspec("show", "t.json", "--clause", "training-update", cwd=tmp_path)


DIVERGES = """
import convspec
class Diverges:  # the four methods: it is trained inside the reference's net
    name = "diverges"
    def conv2d(self, x, w, **options): return convspec.conv2d(x, w, **options) * float("nan")
    conv2d_vjp = staticmethod(convspec.conv2d_vjp)
    max_pool = staticmethod(convspec.max_pool)
    max_pool_vjp = staticmethod(convspec.max_pool_vjp)
"""


@pytest.mark.once
def test_a_run_that_diverges_is_of_the_form_and_strict_json(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    (tmp_path / "mine.py").write_text(DIVERGES)
    args = ("mnist", "mine.py:Diverges", "--net", "B", "--steps", "2", "--batch", "8", "-n", "1", "--json", "t.json")
    assert "training-step" in convspec(*args, cwd=tmp_path, status=1)
    document = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"), parse_constant=refuse)
    validate(document)
    assert fault(document) == ""
    assert any(None in row for run in document["runs"] for row in run.get("errors", ()))
    assert "training-step" in convspec("show", "t.json", cwd=tmp_path)


# -------------------------------------------------------------------------------------------------- nothing else


def sound():
    """A document that has something of each kind."""
    document = all_states()
    call = {
        "op": "conv2d", "x": [1, 2, 2, 1], "kernel": [1, 1], "filters": 1, "strides": [1, 1], "padding": "SAME",
        "dilations": [1, 1], "groups": 1, "bias": False, "dtype": "float32", "recipe": "integers", "layout": "C",
        "seed": 0, "pool": None,
    }  # fmt: skip
    document["cells"][1]["findings"][0]["case"] = call
    document["cells"][2]["findings"][0]["case"] = {"case": call, "change": "strides=0"}
    document["agreement"] = [
        {"one": "a", "other": "b", "call": "", "case": call, "what": "y", "said": ["1", "2"], "calls": 1}
    ]
    part = {key: document[key] for key in ("date", "machine", "level", "seed")}
    document["runs"] = [{"file": "a.json", "backends": ["mine"]} | part]
    return document


#: From a place to how it is reached; a cell and the document itself among them.
PLACES = {
    "document": lambda d: d,
    "machine": lambda d: d["machine"],
    "cell": lambda d: d["cells"][1],
    "finding": lambda d: d["cells"][1]["findings"][0],
    "case": lambda d: d["cells"][1]["findings"][0]["case"],
    "invalid case": lambda d: d["cells"][2]["findings"][0]["case"],
    "summary": lambda d: d["summary"]["mine"],
    "power": lambda d: d["power"]["mine"],
    "deviation": lambda d: d["deviations"]["mine"]["mine-leaks"],
    "difference": lambda d: d["agreement"][0],
    "run": lambda d: d["runs"][0],
}
OPTIONAL = {("document", "runs"), ("document", "agreement"), ("machine", "instructions")}
FIELDS = [(place, name) for place, find in PLACES.items() for name in find(sound())]


def test_the_document_that_is_damaged_below_was_sound():
    validate(sound())
    assert {"cells", "power", "agreement"} <= {name for place, name in FIELDS if place == "document"}
    assert len([place for place, _ in FIELDS if place == "cell"]) == 18


@pytest.mark.parametrize(("place", "name"), FIELDS, ids=lambda part: part)
def test_a_field_that_is_dropped_or_misnamed_is_an_error(place, name):
    dropped, misnamed = sound(), sound()
    del PLACES[place](dropped)[name]
    inside = PLACES[place](misnamed)
    inside[name + "s"] = inside.pop(name)
    for document in [misnamed] if (place, name) in OPTIONAL else [dropped, misnamed]:
        with pytest.raises(DocumentError):
            validate(document)
        if not place.endswith("case"):  # a choice of forms, which only jsonschema can tell apart
            assert fault(document)


def training_places(document):
    return {"document": document, "verdict": document["verdicts"][0], "data": document["data"]}


@pytest.mark.parametrize(
    ("place", "name"), [(place, name) for place, part in training_places(training()).items() for name in part]
)
def test_a_field_of_a_training_run_too(place, name):
    validate(training())
    dropped, misnamed = training(), training()
    del training_places(dropped)[place][name]
    inside = training_places(misnamed)[place]
    inside[name + "s"] = inside.pop(name)
    for document in (dropped, misnamed):
        with pytest.raises(DocumentError):
            validate(document)
        assert fault(document)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d["cells"][0].update(state="passed"), "cells/0/state"),
        (lambda d: d["cells"][0].update(cases="3"), "cells/0/cases"),
        (lambda d: d["cells"][0].update(cases=True), "cells/0/cases"),
        (lambda d: d["cells"][0].update(level="must"), "cells/0/level"),
        (lambda d: d["cells"][1]["findings"][0].update(kind="wrong"), "cells/1/findings/0/kind"),
        (lambda d: d.update(cells={}), "cells"),
        (lambda d: d.update(machine=None), "machine"),
        (lambda d: d["deviations"]["mine"]["mine-leaks"].update(state="gone"), "deviations/mine/mine-leaks/state"),
        (lambda d: d["backends"]["mine"].update(methods="conv2d"), "backends/mine/methods"),
        (lambda d: d["backends"]["mine"]["contract"].update(tf33=True), "backends/mine/contract"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(change, where):
    document = sound()
    change(document)
    with pytest.raises(DocumentError, match=f"^{where}: "):
        validate(document)
    assert fault(document).startswith(f"{where}: ")


@pytest.mark.parametrize("document", [None, [], {}, {"format": "junit"}, {"format": []}])
def test_another_format_is_refused(document):
    with pytest.raises(DocumentError, match="no format that convspec knows"):
        validate(document)


# ----------------------------------------------------------------------------------------------------- the schemas


@pytest.mark.parametrize("form", schema.SCHEMAS)
def test_a_schema_is_one_and_describes_every_field(form):
    whole = schema.schema(form)
    jsonschema.Draft202012Validator.check_schema(whole)
    assert whole["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def undescribed(part, path):
        if not isinstance(part, dict):
            return
        for name, inner in part.get("properties", {}).items():
            said = inner if "$ref" not in inner else whole["$defs"][inner["$ref"].rsplit("/", 1)[1]]
            if not said.get("description"):
                yield f"{path}/{name}"
        for name, inner in part.items():
            for one in inner if isinstance(inner, list) else [inner]:
                yield from undescribed(one, f"{path}/{name}")

    assert list(undescribed(whole, form)) == []


def test_the_choices_are_those_of_the_code():
    whole = schema.schema("convspec-results")
    cells, findings = (whole["$defs"][name]["properties"] for name in ("cell", "finding"))
    assert cells["state"]["enum"] == [state.value for state in State]
    assert cells["level"]["enum"] == list(LEVELS)
    assert findings["kind"]["enum"] == list(FINDING_KINDS)
    assert cells["witnesses"]["additionalProperties"]["enum"] == list(WITNESS)
    assert whole["$defs"]["deviation"]["properties"]["kind"]["enum"] == list(KINDS)
    assert schema.schema("convspec-training")["$defs"]["verdict"]["properties"]["state"]["enum"] == list(State)
    assert (training_run.FORMAT, training_run.VERSION) == rows.TRAINING


def test_the_schemas_are_shipped():
    there = {path.name for path in resources.files("convspec.harness.report").iterdir()}
    assert set(schema.SCHEMAS.values()) <= there
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "*.schema.json" in declared["package-data"]["convspec.harness.report"]


def test_nothing_but_validation_needs_jsonschema(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(run_of(*all_states()["cells"])))
    program = (
        "import sys; sys.modules['jsonschema'] = None\n"
        "from convspec.harness.cli import main\n"
        "main(['show', 'r.json', '--junit', 'j.xml', '--markdown', 'm.md', '--badge', 'b.svg'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"j.xml", "m.md", "b.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_validation_changes_nothing():
    document = sound()
    before = copy.deepcopy(document)
    validate(document)
    fault(document)
    assert document == before
