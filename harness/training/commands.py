"""The command `convspec mnist`. May import `run`, when it is called."""

from __future__ import annotations

import sys

import click

from convspec.harness.options import no_folder


@click.command()
@click.argument("backends", nargs=-1, required=True, metavar="BACKEND...")
@click.option("--net", "net", type=click.Choice(["A", "B", "both"]), default="both", show_default=True,
              help="A: the usual net. B: one in which SAME's side and the pools' padding matter.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), metavar="N", default=78, show_default=True,
              help="Steps of training; 78 go once through the images that come with convspec.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), metavar="N", default=64, show_default=True, help="Images a step.")
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N", default=1, show_default=True, help="How many seeds: 0, 1, ..."
)
@click.option("--full", is_flag=True, help="All of MNIST, not the 5,000 images that come with convspec.")
@click.option(
    "--data", "folder", type=click.Path(exists=True, file_okay=False),
    help="Folder with MNIST's IDX files or mnist.npz.  [default: where torchvision and Keras keep it]",
)  # fmt: skip
@click.option("--download", is_flag=True, help="With --full: fetch it where no copy is found.")
@click.option("--python", "pythons", multiple=True, metavar="[NAME=]PATH", help="As of `convspec check`.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write all that was found to this file.")
@click.option("--plot", "plots", type=click.Path(file_okay=False), metavar="DIR", help="Draw it: SVG and PNG.")
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted or killed.")
@click.option("-n", "processes", type=click.IntRange(1), metavar="N", help="Processes to use.  [default: one a core]")
def mnist(
    backends: tuple[str, ...],
    net: str,
    steps: int,
    batch: int,
    seeds: int,
    full: bool,
    folder: str | None,
    download: bool,
    pythons: tuple[str, ...],
    json_file: str | None,
    plots: str | None,
    resume: bool,
    processes: int | None,
) -> None:
    """Train a small net on MNIST in lockstep with the reference.

    Accuracy proves little: a flipped kernel trains as well as a right one. So each step is compared: the loss, every
    output and every gradient at the reference's weights, the update of the weights, and runs that are left to
    themselves against twins of the reference that start one ulp apart.

    \b
    Example:  convspec mnist torch tensorflow --steps 150 --plot pictures

    \b
    Exit status:  0  no MUST clause is broken      1  one is
                  2  it could not run: an unknown backend, or missing data
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from .run import Asked, run  # noqa: PLC0415 - `convspec --help` is quick

    for name, file in (("--json", json_file), ("--plot", plots)):
        if file and (fault := no_folder(name, file)):
            raise click.UsageError(fault)
    if download and not full:
        raise click.UsageError("--download fetches all of MNIST: give --full with it")
    asked = Asked(
        tuple(dict.fromkeys(backends)),
        ("A", "B") if net == "both" else (net,),
        steps,
        tuple(range(seeds)),
        batch,
        full=full,
        download=download,
        folder=folder,
        pythons=pythons,
        json_file=json_file,
        plots=plots,
        resume=resume,
        processes=processes,
    )
    sys.exit(run(asked))
