"""The job ``export``: a merged model, GGUF files for other programs, adapters combined, and the way to the hub.

Each kind is one function of `core.export`; here they get the protocol around them: progress in bytes, a request to
stop that is obeyed between pieces, and a last word with what was written.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine.bootstrap import keep_freed_memory
from core.engine.context import JobContext
from core.errors import FailureKind, JobError
from core.events.types import Completed, Notice, Stopped
from core.export.merge import MergeCancelledError, merge_adapter
from core.export.sizes import bytes_in
from core.hub.job import take_token
from core.hub.problems import HubError
from core.units import format_bytes


@dataclass(frozen=True, slots=True)
class _Order:
    """The arguments of a job, read.

    Attributes:
        adapter: None for a result that is a whole model.
        watch: what every export takes to tell of its progress and to be stopped.
    """

    base: Path
    adapter: Path | None
    target: Path
    precision: str
    watch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Made:
    """What an export came to.

    Attributes:
        words: a sentence for people.
        notes: what else they should know.
        more: what the job's result holds besides path and bytes.
    """

    words: str
    notes: tuple[str, ...] = ()
    more: Mapping[str, object] | None = None


def export(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``export``: writes ``kind`` of ``base`` and ``adapter`` (may be empty) to ``target`` in ``precision``.

    The kind "hub" takes the folder ``target`` to the repository ``repo`` instead, ``private`` or not, with the token
    from the environment; the kind "combined" makes one adapter of ``parts``, pairs of a folder and a weight.
    """
    began = time.monotonic()
    target = Path(arguments["target"])
    token = take_token()
    keep_freed_memory()  # blocks come and go by the thousand; clearing their pages anew took most of a merge's time
    watch = {
        "on_progress": lambda done, total: context.progress("export", done, total, "bytes"),
        "cancelled": lambda: context.interrupted,
    }
    try:
        with context.phase("export", _title(arguments["kind"], target.name, str(arguments.get("repo", "")))):
            made = _make(arguments, target, watch, token)
    except MergeCancelledError:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    except HubError as refusal:
        kind = FailureKind.ACCESS if refusal.reason in ("token", "gated") else FailureKind.NETWORK
        raise JobError(kind, refusal.message, refusal.advice) from refusal
    for note in made.notes:
        context.emit(Notice("info", "export.note", note))
    result = {"path": str(target), "bytes": bytes_in(target), **(made.more or {})}
    context.emit(Completed(0, time.monotonic() - began, made.words, result))


def _title(kind: str, target: str, repo: str) -> str:
    """What is done, in words; each whole, as a sentence that is put together is found by no translation."""
    match kind:
        case "hub":
            return f"Uploading to {repo}"
        case "combined":
            return "Combining adapters"
        case "merged":
            return f"Merging into {target}"
        case "ollama":
            return f"Writing {target} for Ollama"
        case "lm_studio":
            return f"Writing {target} for LM Studio"
        case _:
            return f"Writing {target}"


def _make(arguments: Mapping[str, Any], target: Path, watch: Mapping[str, Any], token: str) -> _Made:
    kind = arguments["kind"]
    if kind == "hub":
        return _upload(target, arguments, token, watch)
    if kind == "combined":
        return _combined(target, arguments["parts"])
    adapter = Path(arguments["adapter"]) if arguments["adapter"] else None
    order = _Order(Path(arguments["base"]), adapter, target, arguments.get("precision", ""), watch)
    return _MAKERS[kind](order)


def _merged(order: _Order) -> _Made:
    assert order.adapter is not None, "a whole model is copied"
    report = merge_adapter(order.base, order.adapter, order.target, **order.watch)
    return _Made(f"Merged {report.modules} modules into {order.target.name}.", report.notes)


def _gguf(order: _Order) -> _Made:
    from core.export.gguf import write_gguf

    report = write_gguf(order.base, order.adapter, order.target, order.precision, **order.watch)
    return _Made(f"Wrote {report.tensors} tensors in {report.precision.upper()} to {order.target.name}.", report.notes)


def _gguf_adapter(order: _Order) -> _Made:
    from core.export.gguf import write_gguf_adapter

    assert order.adapter is not None, "a whole model has no adapter"
    report = write_gguf_adapter(order.base, order.adapter, order.target, precision=order.precision, **order.watch)
    return _Made(f"Wrote {report.tensors} tensors in {report.precision.upper()} to {order.target.name}.", report.notes)


def _ollama(order: _Order) -> _Made:
    from core.export.ollama import export_ollama

    report = export_ollama(order.base, order.adapter, order.target, order.precision, **order.watch)
    return _Made(f"Wrote a model and a Modelfile for Ollama to {order.target.name}.", report.notes)


def _lm_studio(order: _Order) -> _Made:
    from core.export.lm_studio import export_lm_studio

    root, publisher, name = order.target.parent.parent, order.target.parent.name, order.target.name
    report = export_lm_studio(order.base, order.adapter, root, publisher, name, order.precision, **order.watch)
    return _Made(f"Wrote {publisher}/{name} for LM Studio.", report.notes)


def _combined(target: Path, parts: list[tuple[str, float]]) -> _Made:
    from core.export.combine import combine_adapters

    report = combine_adapters([(Path(folder), float(weight)) for folder, weight in parts], target)
    return _Made(f"Combined {len(parts)} adapters into one of rank {report.rank}.", report.notes)


def _upload(folder: Path, arguments: Mapping[str, Any], token: str, watch: Mapping[str, Any]) -> _Made:
    from core.export.hub_upload import upload_folder

    repo = str(arguments["repo"])
    report = upload_folder(folder, repo, token=token, private=bool(arguments["private"]), **watch)
    return _Made(f"Uploaded {format_bytes(report.bytes)} to {repo}.", more={"repo": repo, "url": report.url})


_MAKERS: Mapping[str, Callable[[_Order], _Made]] = {
    "merged": _merged,
    "gguf": _gguf,
    "gguf_adapter": _gguf_adapter,
    "ollama": _ollama,
    "lm_studio": _lm_studio,
}
