"""From the spec's files to the rows that the engine trains and measures, and the facts that the planner needs."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.encoder import Encoder
from core.data.lengths import measure
from core.data.mixing import mix
from core.data.order import seed_number
from core.data.reading import FileSamples, Progress, collect_samples, keep_some
from core.data.repairs import WHOLE_SET_REPAIRS, drop_repeated
from core.data.split import group_keys, hold_back
from core.data.splitting import Splitter
from core.data.templates import NONE, ChatTemplate, choose_template
from core.data.text_rows import TextCut
from core.data.token_cache import TokenCache, tokens_folder
from core.data.tokenizer import Tokenizer
from core.data.types import EncodedRow, Sample
from core.errors import Edit, Fix, Problem, UserError, error, warning
from core.facts.types import DataFacts, FileFacts, ModelFacts
from core.spec.hub_data import short_name
from core.spec.repairs import REPAIRS
from core.spec.sections import DataSpec, ValidationGroups
from core.spec.weights import weight_of

_FINGERPRINT_VERSION = 2
"""2: members of a turn that are null are left out before a template sees them, as transformers does; until then such
rows gave other tokens. Files whose lines end with a bare carriage return are read line by line, not as one line."""
_HIGHEST_SHARE = 0.5  # of the setting data.validation_share
_LENGTH_STEP = 128
"""Limits that are offered are multiples of it."""


class LoadCancelledError(Exception):
    """For ``on_progress`` to raise when the data is no longer wanted: `load_dataset` ends.

    It leaves nothing behind but the batches of rows that were tokenised already (`core.data.token_cache`).
    """


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything about the data, ready to train.

    Attributes:
        train, validation: documents as tokens, in the order of the files.
        facts: lengths, counts and fingerprint.
        problems: warnings; what would block a run is raised instead.
    """

    train: tuple[EncodedRow, ...]
    validation: tuple[EncodedRow, ...]
    facts: DataFacts
    problems: tuple[Problem, ...]


def load_dataset(
    spec: DataSpec,
    seed: int,
    model: ModelFacts,
    *,
    tokenizer: Tokenizer | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Reads, understands, splits and tokenises the data. The same spec, files and model give the same rows.

    Args:
        spec: the section ``data`` of the spec.
        seed: decides which rows are used and held back where the spec leaves a choice.
        model: the base model; its folder holds the tokenizer.
        tokenizer: that one, where it has been read already: a quarter of a second and more for each reading.
        on_progress: told how many rows are done and how many there will be, as far as is known (0 of 0 before the
            first row). It is called several times a second and may raise `LoadCancelledError` to end the work.

    Raises:
        LoadCancelledError: ``on_progress`` raised it.
        UserError: with every problem found: files, rows (at most twenty named), template, or nothing left to train.
    """
    if not spec.train:
        raise UserError(error("data.train", "There are no training files.", "Choose at least one file."))
    tokenizer = tokenizer or Tokenizer.load(Path(model.path))
    template = choose_template(spec.template, model, tokenizer)
    progress = Progress(on_progress)
    with Encoder(tokenizer, template, spec, progress, TokenCache(tokens_folder())) as encoder:
        return _load(spec, seed, encoder, progress)


def _load(spec: DataSpec, seed: int, encoder: Encoder, progress: Progress) -> Dataset:
    tokenizer, template = encoder.tokenizer, encoder.template
    train_files, held_files = collect_samples(spec, progress, encoder.offer if _takes_all(spec) else None)
    repaired = Counter[str]()
    for item in (*train_files, *held_files):
        repaired.update(item.repaired)
    train_files = _without_repeated(train_files, spec, repaired, progress)
    pool = keep_some(mix(train_files, spec.weights, seed), spec.max_rows, seed)
    sides = _split(pool, _all_samples(held_files), spec, seed, progress.alive)
    samples, held = sides.train, sides.held
    if "split_long" in spec.repairs:
        splitter = Splitter(tokenizer, template, spec, progress.alive)
        samples, held = splitter.split_all(samples), splitter.split_all(held)
        repaired["split_long"] += splitter.count
    train, held_rows = encoder.encode(samples), encoder.encode(held)
    problems = [problem for item in (*train_files, *held_files) for problem in item.problems]
    problems += [*encoder.problems(), *_advice(spec, tokenizer, template, held_rows, sides, pool)]
    if not train:
        raise UserError(*_nothing_left(encoder, spec, problems))
    files = (*train_files, *held_files)
    first = train_files[0].shape
    facts = DataFacts(
        files=_counted(files, sides.train, spec),
        shape=first.name,
        shape_reason=_shape_reason(train_files),
        template_name=template.name,
        train=measure(train),
        validation=measure(held_rows),
        skipped_rows=sum(item.skipped for item in files) + encoder.failed,
        fully_masked_rows=encoder.masked,
        fingerprint=_fingerprint(spec, seed, files, template, tokenizer),
        repaired=dict(+repaired),
    )
    progress.finish(len(samples) + len(held))
    return Dataset(tuple(train), tuple(held_rows), facts, tuple(problems))


def _takes_all(spec: DataSpec) -> bool:
    """Whether every row that is read will be tokenised, so that this may begin at once."""
    whole = all(weight_of(name, spec.weights) >= 1 for name in spec.train)
    return whole and not spec.max_rows and not {*spec.repairs} & {*WHOLE_SET_REPAIRS}


def _without_repeated(
    files: list[FileSamples], spec: DataSpec, repaired: Counter[str], progress: Progress
) -> list[FileSamples]:
    """The training files without rows that are there before, if the spec asks for that."""
    kept, counts = drop_repeated([file.samples for file in files], spec.repairs, progress.alive)
    repaired.update(counts)
    return [
        replace(file, samples=tuple(samples), facts=replace(file.facts, rows=len(samples)))
        for file, samples in zip(files, kept, strict=True)
    ]


def _all_samples(files: Sequence[FileSamples]) -> list[Sample]:
    return [sample for item in files for sample in item.samples]


@dataclass(frozen=True, slots=True)
class _Sides:
    """Rows to train and rows to measure.

    Attributes:
        shared: how many validation rows were left out because they are trained.
        smallest: how many rows belong together at least, where no such group was small enough to be held back.
    """

    train: list[Sample]
    held: list[Sample]
    shared: int = 0
    smallest: int = 0


def _split(pool: list[Sample], held: list[Sample], spec: DataSpec, seed: int, alive: Callable[[], None]) -> _Sides:
    keys = group_keys([*pool, *held], _groups(spec), alive=alive)
    if spec.validation:
        known = set(keys[: len(pool)])
        fresh = [sample for sample, key in zip(held, keys[len(pool) :], strict=True) if key not in known]
        return _Sides(pool, fresh, shared=len(held) - len(fresh))
    chosen = hold_back(keys, spec.validation_share, seed)
    train = [sample for index, sample in enumerate(pool) if index not in chosen]
    # A row that an epoch trains several times is measured once all the same.
    held_back = {id(pool[index]): pool[index] for index in sorted(chosen)}
    smallest = min(Counter(keys).values(), default=0) if spec.validation_share and not chosen else 0
    return _Sides(train, list(held_back.values()), smallest=smallest)


def _groups(spec: DataSpec) -> ValidationGroups:
    """Which rows have to be on one side: whole files matter only where rows of one might be on both."""
    if not spec.validation and not spec.validation_share:
        return "equal"
    return "equal" if spec.validation and spec.validation_groups == "file" else spec.validation_groups


def _counted(files: Sequence[FileSamples], samples: Sequence[Sample], spec: DataSpec) -> tuple[FileFacts, ...]:
    """The facts of each file, with its weight and how many rows of it an epoch takes."""
    counts = Counter(id(sample) for sample in samples)
    found = []
    for place, item in enumerate(files):
        is_trained = place < len(spec.train)
        weight = weight_of(item.facts.path, spec.weights) if is_trained else 1.0
        taken = sum(counts[id(sample)] for sample in item.samples) if is_trained else 0
        found.append(replace(item.facts, weight=weight, epoch_rows=taken))
    return tuple(found)


def _nothing_left(encoder: Encoder, spec: DataSpec, problems: Sequence[Problem]) -> list[Problem]:
    pairs = spec.train_on == "preferences"
    message = "No row is left to train."
    if encoder.masked and pairs:
        message = "No row is left to train: every pair has an answer without a token that carries loss."
    elif encoder.masked:
        message = f"No row is left to train: none of the {encoder.masked} rows has a token that carries loss."
    if encoder.hidden:
        wanted = math.ceil(encoder.hidden / _LENGTH_STEP) * _LENGTH_STEP
        raised = Fix(f"Allow {wanted:,} tokens", (Edit("data.max_length", wanted),))
        return [error("data.train", message, "The answers begin behind data.max_length; raise it.", raised), *problems]
    advice = "Check the row format and the column mapping, or set data.train_on to “all”."
    if pairs:
        advice = "Check the column mapping and the chat template: both answers of a pair have to be written by it."
    return [error("data.train", message, advice), *problems]


def _advice(
    spec: DataSpec,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    held: Sequence[EncodedRow],
    sides: _Sides,
    pool: Sequence[Sample],
) -> list[Problem]:
    """Warnings about data that can be trained but perhaps should not be, as it is.

    What follows from the facts alone, such as cut rows, is for the planner to say.
    """
    found: list[Problem] = []
    if sides.shared:
        message = f"{sides.shared} validation rows are also training rows and are left out of the validation."
        if spec.validation_groups == "near":
            message = f"{sides.shared} validation rows are the same as training rows, or nearly, and are left out."
        found.append(warning("data.validation", message, "Use other rows for validation."))
    if sides.smallest > 1:
        found.append(_too_large_groups(sides.smallest, len(pool)))
    if spec.validation and not held:
        message = "No validation row is left."
        found.append(warning("data.validation", message, "Choose other validation files."))
    chats = template.name != NONE and any(sample.messages or sample.prompt for sample in pool)
    if chats and not template.ends_turns(tokenizer):
        message = (
            f"The chat template “{template.name}” ends an answer with “{template.turn_end.strip() or 'nothing'}”, "
            "which is no token of this model, so the model may not know when to stop."
        )
        fix = Fix("Use “plain”", (Edit("data.template", "plain"),))
        found.append(warning("data.template", message, "Choose a template whose end token the model has.", fix))
    return found


def _too_large_groups(smallest: int, rows: int) -> Problem:
    share = math.ceil(100 * smallest / rows) / 100
    message = (
        f"No row is held back for validation: the smallest group of rows that have to stay together has {smallest} of "
        f"the {rows} rows."
    )
    if share > _HIGHEST_SHARE:
        return warning("data.validation_groups", message, "Name validation files, or let rows of one file be parted.")
    fix = Fix(f"Hold back {share:.0%} of the rows", (Edit("data.validation_share", share),))
    return warning("data.validation_share", message, "Hold back more rows, or name validation files.", fix)


def _shape_reason(files: Sequence[FileSamples]) -> str:
    first = files[0]
    others = [item for item in files[1:] if item.shape.name != first.shape.name]
    if not others:
        return first.shape.reason
    named = "; ".join(f"{short_name(item.facts.path)} is “{item.shape.name}”" for item in others)
    return f"{first.shape.reason} Other files differ: {named}."


def _fingerprint(
    spec: DataSpec, seed: int, files: Sequence[FileSamples], template: ChatTemplate, tokenizer: Tokenizer
) -> str:
    """Hash of all that decides the tokens and their sides; where the files lie is no part of it."""
    parts: dict[str, object] = {
        "version": _FINGERPRINT_VERSION,
        "files": [[item.facts.sha256, item.shape.name, dict(item.shape.columns)] for item in files],
        "sides": [len(spec.train), len(spec.validation), spec.validation_share],
        "template": [template.name == NONE, template.source, dict(template.variables)],
        "labels": [spec.train_on, spec.max_length, spec.bad_rows, spec.max_rows],
        "seed": seed_number(seed),
        "tokenizer": tokenizer.fingerprint,
    }
    # Only what differs from what there was before: specs that do without it keep their fingerprints.
    parts |= {name: value for name, value in _later_parts(spec, files) if value}
    blob = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(blob.encode("ascii")).hexdigest()


def _later_parts(spec: DataSpec, files: Sequence[FileSamples]) -> Iterator[tuple[str, object]]:
    """What else decides the rows, each empty where it is as it always was."""
    trained = files[: len(spec.train)]
    weights = [weight_of(item.facts.path, spec.weights) for item in trained]
    yield "weights", weights if any(weight != 1 for weight in weights) else []
    cuts = [[item.cut.unit, item.cut.separator] for item in files]
    yield "cuts", cuts if any(item.cut != TextCut() for item in files) else []
    fallbacks = [item.fallback for item in files]
    yield "encodings", fallbacks if any(fallbacks) else []
    groups = _groups(spec)
    yield "groups", groups if groups != "equal" else ""
    yield "repairs", [name for name in REPAIRS if name in spec.repairs]
