"""Starting an engine on a run folder, and following it if nobody wants the shell back."""

from core.cli.console import Console
from core.cli.follow import follow
from core.cli.run_report import (
    print_after_run,
    print_commands,
    print_losses,
    print_outcome,
    program,
    run_record,
)
from core.errors import ExitCode
from core.runs.layout import RunFolder
from core.runs.supervisor import Supervisor


def start_and_follow(folder: RunFolder, console: Console, *, detach: bool) -> ExitCode:
    """Starts the engine and shows it until it ends; with ``detach`` only says how to find it again.

    Raises:
        UserError: another engine works on the folder, or this one cannot be started.
    """
    supervisor = Supervisor(folder)
    name = folder.path.name
    if detach:
        supervisor.start()
        console.line(f"Started “{name}” in {folder.path}.")
        print_commands(
            console,
            [
                (f"{program()} show {name} --follow", "watch it"),
                (f"{program()} stop {name}", "stop it; it saves first"),
            ],
        )
        console.result({"run": name, "folder": str(folder.path), "started": True})
        return ExitCode.DONE
    console.line()
    greeting = f"Running “{name}”. Ctrl+C stops it and saves; closing this terminal leaves it running."
    outcome = follow(supervisor, console, start=True, greeting=greeting)
    assert outcome is not None, "a run that Ctrl+C stops is never left alone"
    console.line()
    print_outcome(console, outcome)
    print_losses(console, supervisor.run_state)
    print_after_run(console, folder, outcome)
    console.result(run_record(folder, supervisor.run_state, outcome))
    return outcome.exit_code
