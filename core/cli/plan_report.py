"""A plan in words: what will be trained, on what, in which steps, with which memory, and why."""

from collections.abc import Iterator
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode
from core.facts.types import DataFacts, Facts, ModelFacts
from core.plan.types import WHOLE_BASE, Choices, Curve, Duration, Memory, Plan
from core.spec.run_spec import RunSpec
from core.spec.sections import TrainingSpec
from core.spec.template_choice import TOOLS
from core.units import format_bytes, format_count, format_duration, format_energy, format_share

BAR, NARROW_BAR, WIDE = 24, 12, 100
# Parts of a run's time that are shorter than this share of it are not worth a word.
LEAST_SHARE = 0.02
_VERDICTS = {
    "fits": ("green", "fits"),
    "tight": ("yellow", "is tight"),
    "does_not_fit": ("red", "does not fit"),
    "unknown": ("yellow", "is not known yet"),
}
_CHOICES = (
    ("device", "device"),
    ("weights in", "quantization"),
    ("compute in", "compute_dtype"),
    ("base in processes", "sharding"),
    ("attention", "attention"),
    ("layers", "kernels"),
    ("packing", "packing"),
    ("tokens a pass", "micro_batch_tokens"),
    ("recomputed layers", "checkpointed_layers"),
    ("optimizer", "optimizer"),
    ("threads", "threads"),
    ("evaluate every", "evaluate_every"),
)


def exit_code_of(plan: Plan) -> ExitCode:
    """What the command line returns for a plan: 3 when lack of memory or disk space is all that is wrong."""
    if plan.can_start:
        return ExitCode.DONE
    return ExitCode.DOES_NOT_FIT if plan.lacks_only_room else ExitCode.BAD_SPEC


def print_plan(console: Console, spec: RunSpec, facts: Facts, plan: Plan) -> None:
    """Everything about a plan but its problems."""
    report = _Report(console)
    if facts.model is not None:
        report.model(facts.model)
    if facts.data is not None:
        pairs = spec.data.train_on == "preferences"
        report.data(facts.data, facts.model.template_origin if facts.model else "", pairs=pairs)
    report.training(spec, plan)
    report.schedule(plan)
    report.time_and_disk(plan)
    if plan.memory is not None:
        report.memory(plan.memory)
    report.choices(plan.choices)


def print_short_plan(console: Console, spec: RunSpec, facts: Facts, plan: Plan) -> None:
    """A plan in a few lines, for the start of a run."""
    report = _Report(console)
    if facts.model is not None:
        console.item("Model", f"{model_name(facts.model)}, {format_count(facts.model.parameters)} parameters")
    if facts.data is not None:
        train, validation = facts.data.train, facts.data.validation
        what = "pairs of answers" if spec.data.train_on == "preferences" else "rows"
        console.item("Data", f"{train.rows:,} {what} to learn from, {validation.rows:,} to measure with")
    report.training(spec, plan, modules=False)
    choices = plan.choices
    weights = {"nf4": "4 bits (NF4)", "int8": "8 bits", "none": "full precision"}[choices.quantization.value]
    console.item("Device", f"{choices.device.value}, weights in {weights}, computing in {choices.compute_dtype.value}")
    if plan.memory is not None:
        console.item("Memory", _memory_words(console, plan.memory))
    if plan.batch is not None:
        steps = f"{plan.batch.steps:,} steps of {plan.batch.effective_batch:,} rows"
        if plan.duration is not None:
            low, high = format_duration(plan.duration.low_seconds), format_duration(plan.duration.high_seconds)
            steps += f"; about {format_duration(plan.duration.seconds)} (between {low} and {high})"
        console.item("Work", steps)


def model_name(model: ModelFacts) -> str:
    """What to call a base model: the last part of its path, or its hub name."""
    from core.export.adapter import public_name

    return public_name(model.path)


def _memory_words(console: Console, memory: Memory) -> str:
    colour, verdict = _VERDICTS[memory.verdict]
    if memory.verdict == "unknown":
        return console.colour(colour, verdict)
    band = f"{format_bytes(memory.low_bytes)} to {format_bytes(memory.high_bytes)}"
    room = f"{format_bytes(memory.free_bytes)} free of {format_bytes(memory.limit_bytes)} on {memory.device}"
    return f"{console.colour(colour, verdict)}: about {format_bytes(memory.peak_bytes)} ({band}) with {room}"


class _Report:
    """Labelled paragraphs: the label on the left, the words beside it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def model(self, model: ModelFacts) -> None:
        self._console.item(
            "Model",
            f"{model_name(model)}: {model.architecture}, {format_count(model.parameters)} parameters in {model.dtype}, "
            f"{model.num_layers} layers, reads up to {model.context_length:,} tokens",
            *([model.path] if model.path != model_name(model) else []),
            *model.notes,
            *(f"Assumed: {sentence}" for sentence in model.assumptions),
        )

    def data(self, data: DataFacts, origin: str, *, pairs: bool) -> None:
        train, validation = data.train, data.validation
        what, each = ("pairs of answers", "both answers together have") if pairs else ("rows", "a row has")
        rows = f"{train.rows:,} {what} to learn from, {validation.rows:,} to measure with"
        tokens = f"{format_count(train.tokens)} tokens, {format_count(train.supervised_tokens)} of them carry loss"
        texts = [
            f"{rows}; {data.shape}: {data.shape_reason}",
            f"{tokens}; {each} {train.median:,} at the median, {train.longest:,} at most",
        ]
        if train.truncated_rows:
            cut = "pairs" if pairs else "rows"
            texts.append(f"{train.truncated_rows:,} {cut} are cut, {train.lost_tokens:,} tokens are lost")
        if data.skipped_rows:
            texts.append(f"{data.skipped_rows:,} rows could not be read and are skipped")
        if data.repaired:
            touched = ", ".join(f"{name} {count:,}" for name, count in data.repaired.items())
            texts.append(f"Rows changed or left out by repairs: {touched}")
        texts.append(f"Template: {_template_words(data.template_name, origin)}")
        self._console.item("Data", *texts)

    def training(self, spec: RunSpec, plan: Plan, *, modules: bool = True) -> None:
        if plan.parameters is None:
            return
        count, share = format_count(plan.parameters.trainable), format_share(plan.parameters.share)
        texts = [f"{count} of {format_count(plan.parameters.total)} parameters ({share})"]
        if spec.adapter.method == "full":
            texts[0] += ": full fine-tuning"
        else:
            texts[0] += f": {spec.adapter.method}, rank {spec.adapter.rank}, alpha {spec.adapter.alpha:g}"
            if modules:
                names = list(dict.fromkeys(target.module.rpartition(".")[2] for target in plan.targets))
                texts.append(f"{len(plan.targets):,} modules: {', '.join(names)}")
        if spec.data.train_on == "preferences":
            texts.append(_preference_words(spec.training))
        self._console.item("Trains", *texts)

    def schedule(self, plan: Plan) -> None:
        batch, curve = plan.batch, plan.curve
        if batch is not None:
            epochs = batch.steps / batch.steps_per_epoch if batch.steps_per_epoch else 0
            rows = f"{batch.effective_batch:,} row{'s' * (batch.effective_batch != 1)}"
            self._console.item(
                "Steps",
                f"{batch.steps:,} steps of {rows} ({epochs:.3g} epochs of {batch.steps_per_epoch:,} steps)",
                f"A step has about {batch.tokens_per_step:,.0f} tokens, {batch.supervised_per_step:,.0f} of them with "
                f"loss, and takes about {batch.passes_per_step:.1f} passes through the model",
            )
        if curve is not None:
            self._console.item("Rate", rate_words(curve))

    def time_and_disk(self, plan: Plan) -> None:
        if plan.duration is not None:
            self._console.item("Time", *_time_words(plan.duration))
        disk = plan.disk
        if disk is not None:
            run = f"{format_bytes(disk.run_bytes)} for the run"
            parts = f"result {format_bytes(disk.adapter_bytes)}, each saved state {format_bytes(disk.checkpoint_bytes)}"
            merged = f"{format_bytes(disk.merged_bytes)} for a merged model"
            texts = [f"{run} ({parts}), {merged}; {format_bytes(disk.free_bytes)} free"]
            if disk.gguf_bytes:
                sizes = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in disk.gguf_bytes.items())
                texts.append(f"As GGUF: {sizes}")
            self._console.item("Disk", *texts)

    def memory(self, memory: Memory) -> None:
        self._console.line()
        self._console.item("Memory", _memory_words(self._console, memory), *_more_memory_words(memory))
        _memory_table(self._console, memory)

    def choices(self, choices: Choices) -> None:
        self._console.line()
        self._console.line(self._console.bold("Choices"))
        known = [(title, getattr(choices, name)) for title, name in _CHOICES]
        shown = [(title, chosen) for title, chosen in known if chosen != WHOLE_BASE]
        title_width = max(len(title) for title, _ in shown)
        value_width = max(len(_value(chosen.value)) for _, chosen in shown)
        for title, chosen in shown:
            start = f"  {title:<{title_width}}  {_value(chosen.value):<{value_width}}  "
            self._console.paragraph(chosen.reason, " " * len(start), start)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _template_words(name: str, origin: str) -> str:
    base = name.removesuffix(TOOLS)
    own = f"the model's own, from {origin}" if origin else "the model's own"
    words = {"model": own, "edited": "edited in the settings", "none": "none"}.get(base, Path(base).name)
    return f"{words}, with tools written as text" if base != name else words


def _preference_words(training: TrainingSpec) -> str:
    """How pairs of answers are learned from."""
    beta = f"beta {training.preference_beta:g}"
    if training.preference_loss == "orpo":
        return f"Learns the chosen answers and prefers them to the rejected ones: ORPO, {beta}"
    beside = f", the chosen answers' own loss counts {training.chosen_weight:g} beside it"
    return f"Prefers the chosen answers to the rejected ones: DPO, {beta}{beside if training.chosen_weight else ''}"


def _time_words(time: Duration) -> Iterator[str]:
    band = f"{format_duration(time.low_seconds)} to {format_duration(time.high_seconds)}"
    yield f"about {format_duration(time.seconds)} ({band}), {time.tokens_per_second:,.0f} tokens a second"
    parts = [(name, seconds) for name, seconds in time.parts.items() if seconds >= LEAST_SHARE * time.seconds]
    if len(parts) > 1:
        yield "Of it: " + ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in parts)
    if time.watt_hours:
        yield f"About {format_energy(time.watt_hours)} of energy for the device alone"
    yield time.basis


def _more_memory_words(memory: Memory) -> Iterator[str]:
    if memory.shown_bytes:
        monitor = "the system's monitor" if memory.device == "cpu" else "nvidia-smi"
        yield f"About {format_bytes(memory.shown_bytes)} is what {monitor} will show, unused reserves included"
    if memory.moment and memory.moment != "step":
        yield f"The most is needed during {memory.moment}"
    if memory.measured_runs:
        runs = "1 earlier run" if memory.measured_runs == 1 else f"{memory.measured_runs} earlier runs"
        yield f"The band rests on {runs} on this device"


def _memory_table(console: Console, memory: Memory) -> None:
    if not memory.parts:
        return
    title_width = max(len(part.title) for part in memory.parts)
    largest = max(part.bytes for part in memory.parts) or 1
    width = BAR if console.width >= WIDE else NARROW_BAR
    for part in memory.parts:
        bar = "█" * round(width * part.bytes / largest) if part.bytes else ""
        start = f"  {part.title:<{title_width}}  {format_bytes(part.bytes):>10}  {bar:<{width}}  "
        if part.detail:
            console.paragraph(part.detail, " " * len(start), start)
        else:
            console.line(start.rstrip())


def rate_words(curve: Curve) -> str:
    """What the learning rate does, from the last extension on if there is one."""
    rise = f"rises for {curve.warmup_steps:,} steps to {curve.peak:g}" if curve.warmup_steps else f"{curve.peak:g}"
    after = {
        "cosine": "falls to zero along a cosine",
        "linear": "falls to zero along a line",
        "cosine_restarts": f"falls to zero along a cosine {curve.cycles:,} times",
        "warmup_stable_decay": f"stays there and falls to zero in the last {curve.decay_steps:,} steps",
    }
    words = f"{rise}, then {after.get(curve.kind, 'stays there')}"
    return f"from step {curve.start:,} on {words}" if curve.start else words
