"""``python -m studio [PATH …]``: the window; with ``--engine FOLDER`` an engine, decided before Qt is imported."""

import sys


def main(arguments: list[str]) -> int:
    """Becomes an engine or the window, by the first argument."""
    if len(arguments) > 1 and arguments[1] == "--engine":
        from core.engine.__main__ import main as engine

        return engine(arguments[2:])
    from studio.app import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
