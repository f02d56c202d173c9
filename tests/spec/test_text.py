"""The text: every topic that was promised has a clause, every reference leads somewhere, words are used as defined."""

import re
from importlib import resources

import pytest

from convspec.spec import LEVELS, PROFILES, TOPICS, clause, clauses

TEXTS = {
    f"{name}.md": resources.files("convspec.spec").joinpath(f"{name}.md").read_text(encoding="utf-8")
    for name in (*TOPICS, "source")
}

#: What the clauses must cover, topic by topic, and the clauses that do.
COVERED = {
    "NHWC/HWIO layout": ["layout-nhwc-hwio"],
    "effective kernel": ["effective-kernel"],
    "VALID output size": ["valid-output-size"],
    "SAME output size": ["same-output-size"],
    "SAME total padding": ["same-total-padding"],
    "the odd pixel goes last": ["same-odd-pixel-last"],
    "SAME pads nothing more than needed": ["same-minimal-padding"],
    "SAME with stride 1 keeps the size": ["same-stride-one-keeps-size"],
    "explicit padding": ["explicit-padding", "max-pool-explicit-padding", "conv2d-gradient-explicit-padding"],
    "SAME_LOWER": ["same-lower"],
    "dilation with SAME": ["same-with-dilation"],
    "strides, dilations and pads per axis": ["per-axis-attributes"],
    "the size formula with total or per-side padding": ["size-formula"],
    "4-vectors": ["four-vectors"],
    "empty outputs": ["conv2d-empty-output", "max-pool-empty-output"],
    "the defining sum": ["conv2d-sum"],
    "cross-correlation and true convolution": ["conv2d-cross-correlation"],
    "padding contributes nothing": ["padding-contributes-nothing"],
    "bias": ["bias-added"],
    "groups and depthwise": ["groups", "depthwise"],
    "1x1 is a matrix product": ["pointwise-is-matrix-product"],
    "locality": ["locality"],
    "weight sharing": ["weight-sharing"],
    "batch items are independent": ["batch-items-independent"],
    "output depth is the number of filters": ["output-depth"],
    "empty batch": ["empty-batch", "max-pool-empty-batch"],
    "no input channels": ["no-input-channels"],
    "dtype out = dtype in": ["conv2d-dtype-preserved", "gradient-type-and-shape"],
    "NaN and infinity": ["conv2d-nan", "conv2d-infinity", "max-pool-infinity"],
    "inf times padding": ["padding-under-nonfinite-weight", "consistency-of-padding-taps"],
    "signed zero": ["conv2d-signed-zero", "max-pool-signed-zero"],
    "subnormals": ["subnormals-kept", "max-pool-subnormals"],
    "overflow": ["conv2d-overflow"],
    "inputs are not changed": ["inputs-unchanged"],
    "views, negative strides and broadcast inputs": ["memory-layouts"],
    "the result does not alias the input": ["result-owns-its-memory"],
    "the defining maximum": ["max-pool-maximum"],
    "padding never wins": ["max-pool-padding-never-wins", "max-pool-all-minus-infinity", "max-pool-no-valid-tap"],
    "type unchanged": ["max-pool-type-unchanged"],
    "NaN propagates": ["max-pool-nan"],
    "ksize over batch or channels is refused": ["max-pool-ksize-over-batch-or-channels"],
    "overlapping windows": ["max-pool-overlapping-windows"],
    "windows larger than the input under SAME": ["max-pool-window-larger-than-input"],
    "integer types": ["max-pool-integers"],
    "argmax is the first maximum": ["max-pool-argmax-first"],
    "input and filter gradients as adjoints": [
        "conv2d-input-gradient",
        "conv2d-filter-gradient",
        "conv2d-gradient-adjoint",
    ],
    "gradients: strides, dilations, SAME, groups": [
        "conv2d-gradient-strides",
        "conv2d-gradient-dilations",
        "conv2d-gradient-padding",
        "conv2d-gradient-groups",
    ],
    "gradient to the first maximum": ["max-pool-gradient-first-maximum"],
    "overlapping windows add up": ["max-pool-gradient-overlaps-add"],
    "gradients: NaN": ["conv2d-gradient-nan", "max-pool-gradient-nan"],
    "gradients: zero-size": ["conv2d-gradient-empty", "max-pool-gradient-empty"],
    "the three tiers": ["exact-on-lattice", "error-bound", "error-bound-gradients", "full-precision-inputs"],
    "accumulation at least float32": ["accumulate-at-least-float32", "accumulate-gradients-at-least-float32"],
    "determinism": ["deterministic"],
    "batch invariance": ["batch-invariance"],
    "thread-count invariance": ["thread-invariance"],
    "non-positive strides": ["error-strides-positive", "error-dilations-positive", "error-ksize-positive"],
    "wrong rank": ["error-rank"],
    "channel mismatch": ["error-channel-mismatch"],
    "groups that do not divide": ["error-groups-divide"],
    "negative padding": ["error-negative-padding"],
    "unknown padding name": ["error-unknown-padding"],
    "dtype mismatch": ["error-dtype-mismatch"],
    "relu": ["relu", "relu-gradient"],
    "dense": ["dense", "dense-gradient"],
    "softmax": ["softmax"],
    "one-hot": ["one-hot"],
    "cross-entropy": ["cross-entropy", "cross-entropy-gradient"],
    "SGD": ["sgd", "sgd-momentum"],
    "convolution -> activation -> pooling": ["convolution-activation-pooling"],
}


@pytest.mark.parametrize("topic", COVERED)
def test_topic_is_covered(topic):
    assert COVERED[topic]
    for slug in COVERED[topic]:
        assert clause(slug).statement


def test_shoulds_and_mays_are_the_few_that_were_decided():
    found = {level: {one.slug for one in clauses().values() if one.level == level} for level in LEVELS}
    assert found["MAY"] == {
        "padding-under-nonfinite-weight",
        "conv2d-signed-zero",
        "max-pool-signed-zero",
    }
    assert found["SHOULD"] == {
        "subnormals-kept",
        "max-pool-subnormals",
        "batch-invariance",
        "thread-invariance",
        "training-accuracy",
    }
    assert len(found["MUST"]) > 100


def test_every_profile_has_a_clause():
    assert {one.profile for one in clauses().values()} == set(PROFILES)


@pytest.mark.parametrize("slug", clauses())
def test_statement_is_one_or_two_sentences_on_one_level(slug):
    one = clause(slug)
    assert one.statement.endswith(".")
    assert len(re.findall(r"\.(?= |$)", one.statement)) <= 2
    assert not [word for word in LEVELS if word != one.level and re.search(rf"\b{word}\b", one.statement)]


def test_statements_differ():
    statements = [one.statement for one in clauses().values()]
    assert len(set(statements)) == len(statements)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_opens_with_a_title_and_an_introduction(topic):
    title, introduction = TEXTS[f"{topic}.md"].split("\n## ", 1)[0].split("\n", 1)
    assert title.startswith("# ")
    assert len(introduction.split()) >= 40


@pytest.mark.parametrize("name", TEXTS)
def test_links_to_clauses_and_topics_resolve(name):
    links = re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", TEXTS[name])
    inner = [(label, target) for label, target in links if not target.startswith("https://")]
    assert inner
    for label, target in inner:
        file, _, slug = target.partition("#")
        file = file or name
        assert file in TEXTS, target
        if slug:
            assert label == f"`{slug}`", target
            assert f"{clause(slug).topic}.md" == file, target
        else:
            assert label == file


def test_a_slug_in_code_quotes_that_looks_like_a_clause_is_one():
    prefixes = ("same-", "max-pool-", "conv2d-", "error-", "accumulate-", "batch-", "thread-")
    for name, text in TEXTS.items():
        for word in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", text):
            assert not word.startswith(prefixes) or word in clauses(), f"{name}: {word}"


@pytest.mark.parametrize("name", TEXTS)
def test_upstream_threads_are_named_as_they_are_linked(name):
    for label, target in re.findall(r"\[([^\]]+)\]\((https://[^)\s]+)\)", TEXTS[name]):
        found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:issues|pull)/(\d+)", target)
        assert found, target
        assert label in (f"{found[1]}#{found[2]}", f"#{found[2]}"), target


@pytest.mark.parametrize("name", TEXTS)
def test_lines_are_short(name):
    assert [line for line in TEXTS[name].splitlines() if len(line) > 120] == []


def test_the_source_is_gone_through_without_a_gap():
    numbers = [int(number) for number in re.findall(r"^\*\*(\d+)\.\*\* ", TEXTS["source.md"], re.MULTILINE)]
    assert numbers == list(range(1, 35))


def test_the_three_errors_of_the_source_are_put_right():
    section = TEXTS["source.md"].split("## Three errors, put right")[1].split("\n## ")[0]
    assert "28x28x**32**" in section
    assert "`p = 2`, `2p = 4`" in " ".join(section.split())
    for slug in ("output-depth", "size-formula", "same-stride-one-keeps-size", "valid-output-size"):
        assert f"#{slug})" in section
