"""Rules for the model, the data and the places of files. No file is touched: whether one exists is a fact."""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.spec.hub_data import SYNTAX, is_hub_data, read_hub_data
from core.spec.repairs import REPAIRS
from core.spec.run_spec import RunSpec
from core.spec.template_choice import is_template_text
from core.spec.values import quote, readable
from core.spec.weights import HIGHEST_WEIGHT, unmatched

MAPPING_PARTS = ("prompt", "completion", "system", "messages", "text", "chosen", "rejected")

_DATA = ("data.train", "data.validation")
_PLACES = ("model.base", "data.train", "data.validation", "data.template", "output.folder")


def _check_base(spec: RunSpec) -> Iterator[Problem]:
    base = spec.model.base
    if not base.strip():
        fix = Fix("Use the starter model", (Edit("model.base", "starter"),))
        yield error("model.base", "No base model is chosen.", "Choose a folder, a GGUF file or “starter”.", fix)
    if spec.model.trust_remote_code:
        message = "Python files inside the model folder will run on this computer, with all your rights."
        fix = Fix("Do not run them", (Edit("model.trust_remote_code", value=False),))
        yield warning("model.trust_remote_code", message, "Keep this only for a source that you trust.", fix)


def _check_quantized_full(spec: RunSpec) -> Iterator[Problem]:
    if spec.adapter.method != "full" or spec.model.quantization not in ("nf4", "int8"):
        return
    bits = "4" if spec.model.quantization == "nf4" else "8"
    yield error(
        "model.quantization",
        f"Full fine-tuning changes every weight, and weights in {bits} bits cannot be trained.",
        "Load the weights in full precision, or train adapters on the quantized weights.",
        Fix("Load in full precision", (Edit("model.quantization", "none"),)),
        Fix("Train a LoRA adapter", (Edit("adapter.method", "lora"),)),
    )


def _check_files(spec: RunSpec) -> Iterator[Problem]:
    train, validation = spec.data.train, spec.data.validation
    if not any(name.strip() for name in train):
        yield error("data.train", "No training files are chosen.", "Add at least one file with rows to learn from.")
    for path, files in (("data.train", train), ("data.validation", validation)):
        kept, repeated = _once(files)
        if repeated:
            message = f"{quote(repeated[0])} is listed more than once, so its rows count more than once."
            fix = Fix("List it once", (Edit(path, kept),))
            yield warning(path, message, "Keep it once unless you mean to.", fix)
    shared = {_key(name) for name in train} & {_key(name) for name in validation if name.strip()}
    if shared:
        first = next(name for name in validation if _key(name) in shared)
        rest = tuple(name for name in validation if _key(name) not in shared)
        yield warning(
            "data.validation",
            f"{quote(first)} is both trained and used for validation, so the validation loss measures memory, not "
            "understanding.",
            "Validate on rows that are not trained.",
            Fix("Do not validate on trained files", (Edit("data.validation", rest),)),
        )


def _once(files: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """The files without repetitions, and those that came again under whatever spelling."""
    kept: dict[str, str] = {}
    repeated = []
    for name in files:
        if _key(name) in kept and name.strip():
            repeated.append(name)
        kept.setdefault(_key(name) if name.strip() else name, name)
    return tuple(kept.values()), repeated


def _key(name: str) -> str:
    return os.path.normcase(os.path.normpath(os.path.expanduser(name)))  # noqa: PTH111 (no file is touched)


def _check_weights(spec: RunSpec) -> Iterator[Problem]:
    weights = spec.data.weights
    for name in unmatched(spec.data.train, weights):
        names = [os.path.basename(file) for file in spec.data.train]  # noqa: PTH119 (any system's path is only a text)
        close = difflib.get_close_matches(name, [*spec.data.train, *names], 1)
        hint = f"Did you mean {quote(close[0])}?" if close else "Name a training file, by its path or its name."
        rest = {key: weight for key, weight in weights.items() if key != name}
        fix = Fix("Remove this weight", (Edit("data.weights", rest),))
        yield error("data.weights", f"{quote(name)} is not among the training files.", hint, fix)
    for name, weight in weights.items():
        if not 0 < weight <= HIGHEST_WEIGHT:
            fix = Fix("Count the file once", (Edit("data.weights", {**weights, name: 1.0}),))
            message = f"The weight of {quote(name)} is {readable(weight)}, and weights lie above 0 and up to 1,000."
            advice = "Take the file out of the training files if it is not to be trained."
            yield error("data.weights", message, advice, fix)


def _check_places(spec: RunSpec) -> Iterator[Problem]:
    for path in _PLACES:
        value = spec.get(path)
        names = value if isinstance(value, tuple) else (value,)
        if path == "data.template" and is_template_text(str(value)):
            continue
        for name in names:
            if name.startswith("~"):
                yield _home_problem(path, name, value)
            elif path in _DATA and is_hub_data(name):
                if read_hub_data(name) is None:
                    message = f"{quote(name)} is not the name of a data set of the Hugging Face Hub."
                    yield error(path, message, f"Write it as {SYNTAX}; only owner/name has to be there.")
            elif "://" in name and path != "output.folder":
                message = f"{quote(name)} is a web address, and this program reads local files only."
                yield error(path, message, "Download it and name the file or folder.")


def _home_problem(path: str, name: str, value: str | tuple[str, ...]) -> Problem:
    whole = os.path.expanduser(name)  # noqa: PTH111 (Path.expanduser raises for unknown users)
    message = f"{quote(name)} begins with “~”, which is not a folder's name."
    if whole.startswith("~"):
        return error(path, f"{message} There is no such user here.", "Write the whole path.")
    changed = tuple(whole if item == name else item for item in value) if isinstance(value, tuple) else whole
    fix = Fix("Write the home folder out", (Edit(path, changed),))
    return error(path, message, f"Write {quote(whole)}.", fix)


def _check_rows(spec: RunSpec) -> Iterator[Problem]:
    data = spec.data
    if data.format == "text" and data.train_on not in ("all", "preferences"):
        yield Problem(
            Severity.INFO,
            "data.train_on",
            "Plain text has no prompts, so every token is trained although only answers are asked for.",
            "Nothing has to be done; “Everything” says what happens.",
            (Fix("Train on everything", (Edit("data.train_on", "all"),)),),
        )
    if not data.template.strip():
        fix = Fix("Use the model's own", (Edit("data.template", "auto"),))
        advice = "Write “auto”, “none”, a template's name or a Jinja file."
        yield error("data.template", "No chat template is named.", advice, fix)
    for part, column in data.mapping.items():
        if part not in MAPPING_PARTS:
            close = difflib.get_close_matches(part.casefold(), MAPPING_PARTS, 1)
            hint = f"Did you mean “{close[0]}”?" if close else f"The parts are {', '.join(MAPPING_PARTS)}."
            swapped = column in MAPPING_PARTS and part not in data.mapping.values()
            advice = f"Write the part first: {quote(f'{column}: {part}')}." if swapped else hint
            yield error("data.mapping", f"{quote(part)} is not a part that a column can play.", advice)
        elif not column.strip():
            rest = {key: name for key, name in data.mapping.items() if name.strip()}
            fix = Fix("Remove it", (Edit("data.mapping", rest),))
            message = f"No column is named for the part “{part}”."
            yield error("data.mapping", message, "Name the column, or remove the entry.", fix)


def _check_preferences(spec: RunSpec) -> Iterator[Problem]:
    """What does not go together with learning from pairs of answers."""
    data = spec.data
    if data.train_on != "preferences":
        return
    alone = Fix("Learn from answers without comparing them", (Edit("data.train_on", "completions"),))
    if data.format not in ("auto", "preference"):
        message = f"Learning preferences needs preference pairs, and the format is stated as {quote(data.format)}."
        fix = Fix("Recognise the format", (Edit("data.format", "auto"),))
        yield error("data.format", message, "Have the format recognised, or state “preference”.", fix, alone)
    others = {part: column for part, column in data.mapping.items() if part in ("completion", "text")}
    if others:
        rest = {part: column for part, column in data.mapping.items() if part not in others}
        named = " and ".join(quote(part) for part in others)
        message = f"A preference pair has the parts “chosen” and “rejected”, and no part {named}."
        fix = Fix("Leave it out" if len(others) == 1 else "Leave them out", (Edit("data.mapping", rest),))
        yield error("data.mapping", message, "Say which columns hold the chosen and the rejected answer.", fix, alone)
    if "split_long" in data.repairs:
        rest_of_repairs = tuple(name for name in data.repairs if name != "split_long")
        message = "Preference pairs cannot be split: both answers answer the whole of what is said before them."
        fix = Fix("Do not split rows", (Edit("data.repairs", rest_of_repairs),))
        yield error("data.repairs", message, "Take out this repair; rows that are too long are cut.", fix)


def _check_repairs(spec: RunSpec) -> Iterator[Problem]:
    repairs = spec.data.repairs
    unknown = {quote(name): name for name in repairs if name not in REPAIRS}  # those that are shown alike are one
    for shown, name in unknown.items():
        close = difflib.get_close_matches(name.casefold(), REPAIRS, 1)
        hint = f"Did you mean “{close[0]}”?" if close else f"The repairs are {', '.join(REPAIRS)}."
        rest = tuple(item for item in repairs if item in REPAIRS or quote(item) != shown)
        fix = Fix("Leave it out", (Edit("data.repairs", rest),))
        yield error("data.repairs", f"{shown} is not a repair.", hint, fix)


DATA_RULES: tuple[Callable[[RunSpec], Iterable[Problem]], ...] = (
    _check_base,
    _check_quantized_full,
    _check_files,
    _check_weights,
    _check_places,
    _check_rows,
    _check_preferences,
    _check_repairs,
)
