"""``python -m studio [PATH …]``: the window; with ``--engine FOLDER`` an engine, decided before Qt is imported.

With ``--queue-runner`` it works off the queue.
"""

import sys


def main(arguments: list[str]) -> int:
    """Becomes an engine, the process at the queue, or the window, by the first argument."""
    if len(arguments) > 1 and arguments[1] == "--engine":
        from core.engine.__main__ import main as engine

        return engine(arguments[2:])
    if arguments[1:] == ["--queue-runner"]:
        from core.runs.queue_runner import main as work_off

        return work_off()
    from studio.app import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
