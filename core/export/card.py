"""Model cards: what was done, with which settings on which data, in plain sentences and without a machine's paths."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.events.run_state import RunState
from core.events.types import Evaluated
from core.export.adapter import last_name, public_name
from core.export.usage import adapter_usage, model_usage
from core.facts.types import DataFacts, Facts, HardwareFacts
from core.plan.types import Plan
from core.spec.fields import FieldInfo, Kind
from core.spec.run_spec import RunSpec, fields, is_visible
from core.spec.template_choice import TOOLS, template_name
from core.units import format_bytes, format_count, format_duration, format_share

_METHODS = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA", "full": "full fine-tuning"}
# Where something lies or is called on the machine that trained is nobody else's business.
_PRIVATE = ("output.folder",)
_UNKNOWN = "unknown"


def model_card(
    *,
    spec: RunSpec,
    facts: Facts,
    plan: Plan,
    state: RunState,
    versions: Mapping[str, str],
    picture: str = "",
    spec_file: str = "",
) -> str:
    """The README.md of an adapter (or of a fully tuned model), Markdown with YAML front matter.

    Args:
        spec: what was asked for.
        facts: what was known when the plan was made.
        plan: what was decided.
        state: what happened.
        versions: program or library -> version, such as ``{"lowrank-studio": "0.1.0", "torch": "2.13.0"}``.
        picture: name of the file beside the card that shows the loss curve; empty for none.
        spec_file: name of the file beside the card that holds all settings; empty for none.
    """
    base = base_name(spec.model.base)
    name = one_line(spec.output.name) or f"{base}, tuned with {_METHODS[spec.adapter.method]}"
    parts = [
        _front_matter(base, facts.model.licence if facts.model else "", spec),
        f"# {name}",
        _summary(spec, facts, plan, base),
        _data(facts.data),
        _result(plan, state),
        f"![Loss over the steps of the training]({picture})" if picture else "",
        _settings(spec, plan),
        _every_setting(spec, spec_file),
        _machine(facts.hardware, plan, state, versions),
        _usage(spec, facts, base),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def merged_card(
    *,
    base: str,
    licence: str,
    adapter: str,
    modules: int,
    replaced: Sequence[str],
    untied: bool,
    chat: bool,
    quantized: str = "",
    training: str = "",
) -> str:
    """The README.md of a merged model: what it was merged from, how that was trained, and how to load it.

    Args:
        base: the base model's path or name.
        licence: the base model's.
        adapter: what the adapter is called.
        modules: how many modules have a low-rank change.
        replaced: tensors that the adapter holds in full.
        untied: the embeddings were one matrix in the base and are two here.
        chat: there is a chat template.
        quantized: how the base was held while the adapter was trained, such as “4 bits (NF4)”; empty for as it is.
        training: `training_part` of the adapter's card.
    """
    changes = (
        f"{_some(modules, 'module')} had W + scaling · B · A computed in float32 and stored in the base's own format"
    )
    if replaced:
        changes += f"; {_some(len(replaced), 'tensor')} that the adapter holds in full replaced the base's own"
    sentences = [f"This model is **{base_name(base)}** with the adapter **{one_line(adapter)}** merged in: {changes}."]
    if untied:
        sentences.append(
            "Input and output embeddings are one matrix in the base model and two here, because the adapter changes "
            "only one of them."
        )
    if quantized:
        sentences.append(
            f"The adapter was trained with the base in {quantized}; it was merged into the base's original weights, "
            "which are more exact."
        )
    front = _front("transformers", base_name(base), licence, ("text-generation", "lora", "merged", "lowrank-studio"))
    head = f"# {base_name(base)} merged"
    return "\n\n".join(filter(None, [front, head, " ".join(sentences), training, model_usage(chat=chat)])) + "\n"


def combined_card(
    *, base: str, licence: str, parts: Sequence[tuple[str, float]], rank: int, notes: Sequence[str]
) -> str:
    """The README.md of an adapter that was made of several: which ones, and how strongly each counts."""
    name = base_name(base)
    rows = [(one_line(folder), f"{weight:g}") for folder, weight in parts]
    exact = (
        f"This adapter changes the weights of **{name}** by the weighted sum of what the adapters below change. "
        f"The sum is exact: their A and B were joined, so the highest rank of a module is {rank}."
    )
    return (
        "\n\n".join(
            [
                _front("peft", name, licence, ("text-generation", "lora", "merged", "lowrank-studio")),
                f"# {name}, {_some(len(parts), 'adapter')} combined",
                " ".join([exact, *notes]),
                _table(("Adapter", "Weight"), rows),
                adapter_usage(name, chat=True, own_template=False),
            ]
        )
        + "\n"
    )


def base_name(base: str) -> str:
    """What to call a base model in public: its hub name, or the last part of its path."""
    return one_line(public_name(base)) or _UNKNOWN


def one_line(text: str) -> str:
    """Text without line breaks or runs of blanks, so that it cannot break a heading or a table."""
    return " ".join(text.split())


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _front_matter(base: str, licence: str, spec: RunSpec) -> str:
    method = spec.adapter.method
    library = "transformers" if method == "full" else "peft"
    kinds: list[str] = [] if method == "full" else list(dict.fromkeys(("lora", method)))
    if spec.data.train_on == "preferences":
        kinds.append(spec.training.preference_loss)
    elif method == "full":
        kinds.append("sft")
    tags = ("text-generation", *kinds, "lowrank-studio")
    return _front(library, base, licence, tags)


def _front(library: str, base: str, licence: str, tags: Sequence[str]) -> str:
    lines = ["---", f"base_model: {_yaml(base)}", f"library_name: {library}", "pipeline_tag: text-generation"]
    if licence:
        lines.append(f"license: {_yaml(licence)}")
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _yaml(text: str) -> str:
    # A JSON string is a YAML string; bare words would turn names such as “null” or “3.14” into something else.
    return json.dumps(text, ensure_ascii=False)


def _summary(spec: RunSpec, facts: Facts, plan: Plan, base: str) -> str:
    sentences = [f"**{base}** was tuned with {_METHODS[spec.adapter.method]}."]
    if spec.data.train_on == "preferences":
        training = spec.training
        paper = {"dpo": "DPO (arXiv 2305.18290)", "orpo": "ORPO (arXiv 2403.07691)"}[training.preference_loss]
        sentences.append(f"It learned from pairs of answers by {paper} with beta {training.preference_beta:g}.")
        if training.preference_loss == "dpo" and training.chosen_weight:
            sentences.append(f"The loss of the chosen answer counted {training.chosen_weight:g} beside it.")
    if facts.model:
        sentences.append(
            f"The base model has {format_count(facts.model.parameters)} parameters ({facts.model.family})."
        )
    if plan.parameters:
        trained, share = plan.parameters.trainable, format_share(plan.parameters.share)
        sentences.append(f"{trained:,} parameters were trained, {share} of all.")
    if spec.adapter.method != "full":
        sentences.append(
            f"Rank {spec.adapter.rank}, alpha {spec.adapter.alpha:g}, on {_some(len(plan.targets), 'module')}"
            + (f" ({', '.join(_short_names(plan))})." if plan.targets else ".")
        )
    if facts.model and not facts.model.licence:
        sentences.append("The base model names no licence; look it up before you pass this on.")
    return " ".join(sentences)


def _short_names(plan: Plan) -> list[str]:
    return sorted({target.module.rpartition(".")[2] for target in plan.targets})


def _data(data: DataFacts | None) -> str:
    if data is None:
        return "## Data\n\nNothing is recorded about the training data."
    rows = [
        (last_name(file.path), f"{file.rows:,}", format_bytes(file.bytes), f"`{file.sha256[:16]}`")
        for file in data.files
    ]
    table = _table(("File", "Rows", "Size", "SHA-256 starts with"), rows)
    measured = (
        f"Held back and only measured: {_some(data.validation.rows, 'row')}."
        if data.validation.rows
        else "No rows were held back, so nothing was measured on unseen rows."
    )
    rows_seen = f"Trained: {_some(data.train.rows, 'row')} with {data.train.tokens:,} tokens"
    sentences = [
        f"{rows_seen}, of which {data.train.supervised_tokens:,} carried loss. {measured}",
        f"Row format: {data.shape}. Chat template: {_template_words(data.template_name)}.",
    ]
    if data.train.truncated_rows:
        cut, lost = data.train.truncated_rows, data.train.lost_tokens
        sentences.append(f"Cut at the length limit: {_some(cut, 'row')}, which lost {_some(lost, 'token')}.")
    left_out = data.skipped_rows + data.fully_masked_rows
    if left_out:
        sentences.append(f"Left out as broken or with nothing to learn from: {_some(left_out, 'row')}.")
    if data.repaired:
        touched = ", ".join(f"`{name}` {_some(count, 'row')}" for name, count in data.repaired.items())
        sentences.append(f"Repairs in memory before the training: {touched}.")
    if data.fingerprint:
        sentences.append(f"Fingerprint of the data as it was seen: `{data.fingerprint}`.")
    return "## Data\n\n" + table + "\n\n" + " ".join(sentences)


def _template_words(name: str) -> str:
    base = name.removesuffix(TOOLS)
    known = {"model": "the base model's own", "edited": "edited for this run", "none": "none", "": _UNKNOWN}
    words = known.get(base, f"“{last_name(base)}”")
    return f"{words}, with tools written as text" if base != name else words


def _result(plan: Plan, state: RunState) -> str:
    steps = [int(step) for step in state.history.column("step")]
    train = [pair for pair in zip(steps, state.history.column("loss"), strict=True) if math.isfinite(pair[1])]
    planned = state.steps or (plan.batch.steps if plan.batch else 0)
    sentences = [
        f"{state.step:,} of {_some(planned, 'step')} taken." if planned else f"{_some(state.step, 'step')} taken."
    ]
    if train:
        (first, before), (last, after) = train[0], train[-1]
        sentences.append(f"The training loss was {before:.4f} at step {first:,} and {after:.4f} at step {last:,}.")
    else:
        sentences.append("No training loss is recorded.")
    text = "## Result\n\n" + " ".join(sentences)
    measured = [item for item in state.evaluations if math.isfinite(item.loss)]
    if not measured:
        return text + " The validation loss was not measured."
    best = min(measured, key=lambda item: item.loss)
    # The loss of pairs of answers is that of no token, so it has no perplexity.
    pairs = any(item.preferred is not None for item in measured)
    heads = ("Preferred", "Margin") if pairs else ("Perplexity",)
    rows = [
        (
            f"{item.step:,}",
            f"{item.loss:.4f}",
            *(_preference(item) if pairs else (_perplexity(item.loss),)),
            "best" if item is best else "",
        )
        for item in measured
    ]
    return text + "\n\n" + _table(("Step", "Validation loss", *heads, ""), rows)


def _preference(item: Evaluated) -> tuple[str, str]:
    preferred = "" if item.preferred is None else f"{item.preferred:.0%}"
    return preferred, "" if item.margin is None else f"{item.margin:.3f}"


def _perplexity(loss: float) -> str:
    return f"{math.exp(loss):,.2f}" if loss < 20 else "very large"


def _settings(spec: RunSpec, plan: Plan) -> str:
    rows = [
        (one_line(info.setting.title), f"`{info.path}`", _value(info, spec.get(info.path)))
        for info in fields()
        if spec.get(info.path) != info.default and info.path not in _PRIVATE and is_visible(spec, info)
    ]
    changed = _table(("Setting", "Path", "Value"), rows) if rows else "Every setting was at its default."
    choices = plan.choices
    decided = [
        ("Base weights", choices.quantization.value, choices.quantization.reason),
        ("Computed in", choices.compute_dtype.value, choices.compute_dtype.reason),
        ("Attention", choices.attention.value, choices.attention.reason),
        ("Optimizer", choices.optimizer.value, choices.optimizer.reason),
        ("Packing", "on" if choices.packing.value else "off", choices.packing.reason),
        ("Tokens a pass", f"{choices.micro_batch_tokens.value:,}", choices.micro_batch_tokens.reason),
    ]
    if plan.batch:
        decided.append(("Rows a step", f"{plan.batch.effective_batch:,}", ""))
    if plan.curve:
        words = f"{plan.curve.kind}, peak {plan.curve.peak:g}, warm-up {plan.curve.warmup_steps:,} steps"
        decided.append(("Learning rate", words, ""))
    return (
        "## Settings\n\nSettings that differ from the defaults:\n\n"
        + changed
        + "\n\nWhat followed from them:\n\n"
        + _table(("", "Value", "Why"), decided)
    )


def _every_setting(spec: RunSpec, spec_file: str) -> str:
    """All settings that count for this run, folded away."""
    rows = [
        (f"`{info.path}`", _value(info, spec.get(info.path)))
        for info in fields()
        if info.path not in _PRIVATE and is_visible(spec, info)
    ]
    again = ""
    if spec_file:
        again = f"\n\nThe same run once more, with base model and data in place: `lowrank run {spec_file}`."
    table = _table(("Setting", "Value"), rows)
    return f"<details>\n<summary>Every setting</summary>\n\n{table}\n\n</details>{again}"


def training_part(card: str) -> str:
    """What a card of `model_card` says about data, results, settings and hardware; empty for other cards."""
    begin, end = card.find("\n## Data\n"), card.find("\n## Use it\n")
    return card[begin:end].strip() if 0 <= begin < end else ""


def _value(info: FieldInfo, value: Any) -> str:
    kind = info.setting.kind
    if kind is Kind.PARAGRAPHS:
        return f"{len(value)} given"
    if kind is Kind.MODEL:
        return base_name(str(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(last_name(str(item)) if kind is Kind.FILES else str(item) for item in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}{_unit(info)}"
    if info.path == "data.template":
        value = template_name(value)
    # A text such as data.template may be a path.
    return f"{last_name(value) if isinstance(value, str) else value}{_unit(info)}"


def _unit(info: FieldInfo) -> str:
    return f" {info.setting.unit}" if info.setting.unit else ""


def _machine(hardware: HardwareFacts, plan: Plan, state: RunState, versions: Mapping[str, str]) -> str:
    on_gpu = plan.choices.device.value.startswith("cuda")
    name = state.hello.device_name if state.hello else ""
    if not name:
        name = hardware.gpus[0].name if on_gpu and hardware.gpus else hardware.cpu.name
    sentences = [f"Trained on {one_line(name) or _UNKNOWN}"]
    if state.hello and state.hello.world_size > 1:
        sentences[0] += f" ({state.hello.world_size} processes)"
    sentences[0] += f", {format_bytes(hardware.ram_total_bytes)} of RAM, {hardware.system}."
    sentences.append(f"It took {format_duration(state.seconds)}." if state.seconds else "How long it took is unknown.")
    if state.memory_peak:
        kind = "GPU memory" if on_gpu else "memory"
        sentences.append(f"The peak of {kind} was {format_bytes(state.memory_peak)}.")
    text = "## Hardware and versions\n\n" + " ".join(sentences)
    if not versions:
        return text + " The versions of the libraries are not recorded."
    return text + "\n\n" + _table(("Program", "Version"), list(versions.items()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def _usage(spec: RunSpec, facts: Facts, base: str) -> str:
    template = facts.data.template_name if facts.data else ""
    if spec.adapter.method == "full":
        return model_usage(chat=template != "none")
    return adapter_usage(base, chat=template != "none", own_template=template not in ("model", "none", ""))
