"""The reference of deviations files: keys, kinds, and the words of a predicate, from the code that reads them.

May import the deviations, the verdicts and the cases.
"""

from __future__ import annotations

from convspec.harness.cases.invalid import CHANGES
from convspec.harness.cases.recipes import RECIPES
from convspec.harness.deviations.entry import KINDS
from convspec.harness.deviations.files import OPTIONAL, REQUIRED
from convspec.harness.deviations.predicate import WORDS
from convspec.harness.verdict import FINDING_KINDS

MEANING = {
    "id": "its name, unique; it is an anchor of the findings, and what `convspec repro` takes",
    "backend": "the backend's name as on the command line, without device or mode",
    "versions": 'which releases, as `">=2.16,<2.22"`; `""` is all of them',
    "clause": "the clause that it breaks",
    "where": "which calls: an expression, below",
    "shows": "the kind of finding, or a list of them",
    "kind": " or ".join(f'`"{kind}"`' for kind in KINDS),
    "reason": "what happens and why, in a sentence",
    "witness": "one call that shows it, asked in every run; where it passes, the entry is stale",
    "url": "the upstream thread",
    "also": 'further clauses that the same cause breaks; `"*"`: any',
    "modes": 'which modes; `"!xla"`: all but that',
    "devices": "which devices, in the same way",
    "cpu": 'instruction sets that the kernel at fault needs, by Linux\'s names; `"!amx_bf16"`: without that',
    "flaky": "`true`: a fault that comes and goes; its witness is asked twenty times",
}
SAID = {
    "op": "`conv2d`, `conv2d_vjp`, `max_pool` or `max_pool_vjp`",
    "dtype": "the type's name",
    "batch": "images in the batch",
    "height": "rows of the image",
    "width": "columns of the image",
    "channels": "channels of the image",
    "filters": "output channels",
    "kernel": "taps by row and column; the window of a pool",
    "strides": "by row and column",
    "dilations": "by row and column",
    "groups": "groups of channels",
    "bias": "whether there is a bias",
    "padding": "`SAME`, `VALID`, `SAME_LOWER` or `explicit`",
    "pads": "top, bottom, left, right, in pixels",
    "output": "rows and columns of the output",
    "extent": "the effective kernel, by row and column",
    "empty": "whether the output has no element",
    "tapless": "whether some window holds no pixel of the image",
    "gradient": "whether `op` is a gradient",
    "depthwise": "whether there is a group for each channel",
    "layout": "how the arrays lie in memory",
    "nan": "whether an input has a NaN",
    "infinite": "whether an input has an infinity",
    "recipe": "the recipe of the data",
    "change": "what makes an invalid call invalid; empty for a valid one",
}


def pages() -> dict[str, str]:
    """The one page; a key or a word that nothing is said of is an error."""
    for told, known in ((MEANING, {*REQUIRED, *OPTIONAL}), (SAID, {*WORDS, "change"})):
        if set(told) != known:
            raise ValueError(f"docs/made/deviations.py says nothing, or too much, of {set(told) ^ known}")
    keys = "\n".join(f"| `{key}` | {'yes' if key in REQUIRED else ''} | {what} |" for key, what in MEANING.items())
    words = "\n".join(f"| `{word}` | {what} |" for word, what in SAID.items())
    changes = "\n".join(f"- `{name}`: {change.why}" for name, change in CHANGES.items())
    return {
        "reference/deviations.md": f"""# Deviations file

TOML, one `[[deviation]]` an entry. [How to declare one](../how-to/deviation.md) goes through it with an example.

| key | needed | meaning |
|---|---|---|
{keys}

`shows` takes {", ".join(f"`{kind}`" for kind in FINDING_KINDS)}. *silent* is an invalid call
that was answered as if it were valid.

## where

An expression over the words below: comparisons, `and`, `or`, `not`, `in`, plain arithmetic, subscripts, and
`min`, `max`, `any`, `all`, `len`. It is read without Python's `eval`.

| word | meaning |
|---|---|
{words}

## witness

A call as an inline table: `op`, `x` (the shape of the image), `kernel`, and what is not as usual of `filters`,
`strides`, `padding`, `dilations`, `groups`, `bias`, `dtype`, `recipe`, `layout` and `seed`. The data are drawn from
recipe and seed, the same on every machine. An invalid call is `{{ change = NAME, case = {{ ... }} }}`, where the
case is the valid call that it was made from.

The recipes: {", ".join(f"`{name}`" for name in sorted(RECIPES))}.

The changes, and what a backend has to refuse each for:

{changes}
"""
    }
