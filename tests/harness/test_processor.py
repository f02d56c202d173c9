"""What the processor can, and deviations that speak of some processors alone."""

import pytest

from convspec.harness import processor
from convspec.harness.deviations import DeviationError, alone, read, shipped
from convspec.harness.deviations.entry import Declared
from convspec.harness.report import results

WIDE = frozenset({"fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"})
ENTRY = """
[[deviation]]
id = "{id}"
backend = "mine"
versions = ""
clause = "max-pool-nan"
where = "op == 'max_pool' and nan"
shows = "value"
kind = "bug"
reason = "A NaN is dropped."
cpu = {cpu}
witness = {{ op = "max_pool", x = [1, 1, 2, 1], kernel = [1, 2], recipe = "nan-in-x" }}
"""


@pytest.fixture
def wide(monkeypatch):
    """A processor with everything, and nothing that caps it."""
    monkeypatch.setattr(processor, "has", lambda: WIDE)
    for name in processor.CAPS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("cap", "left"),
    [
        ("ALL", WIDE),
        ("AVX512_CORE_BF16", WIDE - {"amx_bf16"}),
        ("avx512_core", {"fma", "avx2", "avx512f"}),
        ("AVX2", {"fma", "avx2"}),
        ("SSE41", {"fma"}),
    ],
)
def test_a_cap_takes_away_what_is_above_it(cap, left, wide, monkeypatch):
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "ALL")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert processor.usable() == left
    assert processor.told() == [name for name in processor.TOLD if name in left]


def test_a_processor_that_does_not_say_has_nothing(monkeypatch):
    monkeypatch.setattr(processor, "has", frozenset)
    assert processor.usable() == frozenset()
    assert processor.fits(("!avx512f",), processor.usable())


def written(tmp_path, *cpus):
    file = tmp_path / "known.toml"
    file.write_text("".join(ENTRY.format(id=f"mine-{n}", cpu=cpu) for n, cpu in enumerate(cpus)), encoding="utf-8")
    return file


def test_an_entry_speaks_of_the_processors_that_it_names(tmp_path, wide, monkeypatch):
    entries = read(written(tmp_path, '["avx512_bf16", "!amx_bf16"]', '"amx_bf16"', '"!avx512f"'))

    def declared():
        return [entry.id for entry in Declared.of(entries, "mine", {"versions": {"mine": "1.0"}}).entries]

    assert declared() == ["mine-1"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert declared() == ["mine-0"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert declared() == ["mine-2"]


def test_entries_of_processors_that_are_never_one_do_not_overlap(tmp_path):
    alone(read(written(tmp_path, '"avx512f"', '"!avx512f"')))
    with pytest.raises(DeviationError, match="'mine-1' overlaps"):
        alone(read(written(tmp_path, '"avx512f"', '"avx512_bf16"')))


def test_a_processor_that_is_no_name_is_refused_with_its_line(tmp_path):
    with pytest.raises(DeviationError, match=r"known.toml:11: cpu is 512; it must be a name or a list of names"):
        read(written(tmp_path, "512"))


def test_what_ships_names_instruction_sets_that_results_tell():
    named = {name.removeprefix("!") for entry in shipped() for name in entry.cpu}
    assert named
    assert named <= set(processor.TOLD)


def test_a_results_file_tells_them(wide):
    head = results.head("convspec-results", results.VERSION)
    assert head["machine"]["instructions"] == ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"]
