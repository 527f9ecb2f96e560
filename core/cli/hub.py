"""What the verbs do with the Hugging Face Hub: searching and downloading models, and fetching data sets."""

from core.cli.console import Console
from core.errors import ExitCode, UserError, error
from core.spec.hub_data import HubData
from core.spec.sections import DataSpec
from core.units import format_bytes, format_count


def search_hub(text: str, console: Console) -> ExitCode:
    """Lists models that could be downloaded and trained, the most popular ones first."""
    from core.hub.search import search
    from core.hub.token import token_text
    from core.records import to_plain

    found = search(text, token=token_text())
    width = max((len(model.id) for model in found), default=0)
    for model in found:
        parts = [
            f"{format_count(model.parameters)} parameters" if model.parameters else "",
            format_bytes(model.bytes) if model.bytes else "",
            model.licence,
            "terms to accept" if model.gated else "",
            f"{format_count(model.downloads)} downloads a month",
        ]
        words = ", ".join(part for part in parts if part)
        console.paragraph(words, " " * (width + 2), f"{console.bold(model.id.ljust(width))}  ")
    if not found:
        console.line(f"The Hub has no model for “{text}” that continues text and has safetensors weights.")
    console.result({"models": [to_plain(model) for model in found]})
    return ExitCode.DONE


def download_from_hub(name: str, revision: str, console: Console) -> ExitCode:
    """Downloads a model into the Hugging Face cache, or goes on with a download that was stopped."""
    from core.cli.jobs import run_job
    from core.hub.cache import CachedRepository
    from core.hub.details import details
    from core.hub.download import installed
    from core.hub.job import download_arguments, download_command
    from core.hub.names import parse_name
    from core.hub.token import token_text

    model_id, named = parse_name(name)
    token = token_text()
    found = details(model_id, revision or named, token)
    if found.why_not:
        raise UserError(error(found.id, f"The model “{found.id}” cannot be trained here.", found.why_not))
    if found.barrier is not None:
        raise UserError(found.barrier, exit_code=ExitCode.FAILED)
    here = installed(found)
    if here is None:
        missing = found.bytes - CachedRepository(found.id).bytes_here(found.wanted, found.commit)
        console.line(f"Downloading “{found.id}”: {format_bytes(missing)} of {format_bytes(found.bytes)} are to come.")
        finished = run_job(
            "download", download_arguments(found), console, command=lambda folder: download_command(folder, token)
        )
        if finished.outcome.kind != "completed":
            console.line("What has come is kept; the same command goes on from there.")
            console.result({"id": found.id, "path": "", "exit_code": int(finished.outcome.exit_code)})
            return finished.outcome.exit_code
        here = CachedRepository(found.id).snapshot(found.commit)
    extra = f" --set model.revision={found.revision}" if found.revision != "main" else ""
    console.line(f"“{found.id}” is in {here}; use it with “--set model.base={found.id}{extra}”.")
    console.result({"id": found.id, "path": str(here), "exit_code": 0})
    return ExitCode.DONE


def fetch_hub_data(spec: DataSpec, console: Console, *, newest: bool = False) -> None:
    """Downloads the data sets of the hub that a spec names and that are not here, or goes on with that.

    Args:
        spec: the section ``data`` of a spec.
        console: where to say so.
        newest: also asks for a newer commit of those that are named without one.

    Raises:
        UserError: one of them cannot be had, or the download was stopped; what has come is kept.
    """
    from core.data.hub_files import missing_hub_data, movable_hub_data

    asked = movable_hub_data(spec) if newest else ()
    for wanted in dict.fromkeys((*missing_hub_data(spec), *asked)):
        _fetch_part(wanted, console)


def _fetch_part(wanted: HubData, console: Console) -> None:
    from core.cli.jobs import run_job
    from core.data.hub_files import pinned_name
    from core.hub.cache import require_space
    from core.hub.datasets import dataset_details
    from core.hub.job import dataset_arguments, download_command
    from core.hub.token import token_text

    token = token_text()
    found = dataset_details(wanted.id, wanted.revision, token)
    if found.barrier is not None:
        raise UserError(found.barrier, exit_code=ExitCode.FAILED)
    part = found.part(wanted)
    if part.is_here and pinned_name(str(wanted)) == str(part.name):
        console.line(f"“{part.name.short}” is the newest, and it is on this computer.")
        return
    missing = part.bytes - part.bytes_here
    require_space(missing)
    rows = f" with {part.split.rows:,} rows" if part.split.rows else ""
    terms = f"licence {found.licence}" if found.licence else "no licence stated"
    console.line(
        f"Downloading “{part.name.short}”{rows} ({terms}): {format_bytes(missing)} of {format_bytes(part.bytes)} are "
        "to come."
    )
    finished = run_job(
        "download", dataset_arguments(part), console, command=lambda folder: download_command(folder, token)
    )
    if finished.outcome.kind != "completed":
        message = f"The download of the data set “{found.id}” was stopped."
        raise UserError(
            error("", message, "What has come is kept; the same command goes on from there."),
            exit_code=finished.outcome.exit_code,
        )
