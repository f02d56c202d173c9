"""The command: ``convspec``, and ``python -m convspec`` of the interpreter that is named."""

import sys


def main() -> None:
    """Run the command line, or say which extra it needs; the library itself needs NumPy alone."""
    try:
        from convspec.harness.cli import main as command  # noqa: PLC0415 - not there without the extra
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] == "convspec":
            raise
        needs = f"the command needs {missing.name}, which is of the extra 'check': pip install 'convspec[check]'"
        print(f"convspec: {needs}", file=sys.stderr)
        sys.exit(2)  # not the 1 of a text in sys.exit, which says that a MUST is broken
    except KeyboardInterrupt:  # while it is imported
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
