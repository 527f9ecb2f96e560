"""“Copy as script”: a run as one plain Python file for transformers and peft, which anybody can read, run and change.

It does what the engine does without the engine's speed: one row a pass, no packing, no saved states. Rows come in the
same order, labels stand on the same tokens, and the adapters begin the same, so the losses are the same as far as
rounding goes.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from core.data.templates import MODEL as MODEL_TEMPLATE
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.errors import UserError, error
from core.export.adapter import read_manifest
from core.export.script_parts import (
    ADAPTERS,
    FULL,
    HEAD,
    IMPORTS,
    LABELS_CHAT,
    LABELS_TEXT,
    LOOP,
    MODEL,
    ORDER,
    READERS,
    SCHEDULES,
)
from core.export.script_parts import OPTIMIZERS as OPTIMIZER_LINES
from core.facts.types import Facts
from core.plan.types import Plan
from core.runs.layout import RunFolder
from core.runs.store import load_facts, load_plan, load_spec
from core.spec.run_spec import RunSpec

_TURNS = ("messages", "sharegpt")
_PAIRS = {
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "question_answer": ("question", "answer"),
}
_SHAPES = (*_TURNS, *_PAIRS, "text")
_DTYPES = {"bf16": "torch.bfloat16", "fp16": "torch.float16", "fp32": "torch.float32"}


def training_script(spec: RunSpec, facts: Facts, plan: Plan, *, template: str = "") -> str:
    """The text of a script that does the run again.

    Args:
        spec: what was asked for.
        facts: model and data, as they were when the plan was made.
        plan: what was decided.
        template: source of the chat template where it is not the model's own.

    Raises:
        UserError: a part of the run has no plain counterpart.
    """
    if facts.model is None or facts.data is None or plan.batch is None or plan.curve is None:
        message = "The run was never planned to the end, so there is nothing to write a script of."
        raise UserError(error("", message, "Choose a run whose model and data were found."))
    if spec.data.train_on == "preferences":
        message = "The run learned from pairs of answers, and scripts are written for the loss of tokens only."
        advice = "Take TRL's DPOTrainer or ORPOTrainer with the settings of the run; its spec.yaml names them."
        raise UserError(error("data.train_on", message, advice))
    if facts.data.shape not in _SHAPES:
        message = f"Rows of the format “{facts.data.shape}” have no plain reader yet."
        raise UserError(error("data.format", message, "Write the rows as “messages” and plan the run again."))
    if plan.choices.optimizer.value not in OPTIMIZER_LINES:
        message = f"The optimizer “{plan.choices.optimizer.value}” has no plain counterpart."
        raise UserError(error("training.optimizer", message, "Choose AdamW for a run that is to become a script."))
    labels = LABELS_TEXT if facts.data.shape == "text" else LABELS_CHAT
    adapters = FULL if spec.adapter.method == "full" else ADAPTERS.format(**_adapter(spec, plan, facts))
    parts = [
        _title(spec, facts, plan),
        IMPORTS,
        _settings(spec, facts, plan, template),
        READERS,
        _rows(spec, facts.data.shape),
        HEAD,
        labels,
        ORDER,
        MODEL.format(**_model(plan)),
        adapters,
        OPTIMIZER_LINES[plan.choices.optimizer.value],
        SCHEDULES[plan.curve.kind],
        LOOP,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def run_script(folder: RunFolder) -> str:
    """The script of a run, with the chat template that it was trained with.

    Raises:
        UserError: a part of the run has no plain counterpart, or its base model is gone and with it the template.
    """
    spec, facts, plan = load_spec(folder), load_facts(folder), load_plan(folder)
    template = ""
    if facts.model is not None and facts.data is not None and facts.data.template_name != MODEL_TEMPLATE:
        manifest = read_manifest(folder.adapter)
        if manifest is not None:
            template = manifest.template
        else:
            tokenizer = Tokenizer.load(Path(facts.model.path))
            template = choose_template(spec.data.template, facts.model, tokenizer).source
    return training_script(spec, facts, plan, template=template)


def _title(spec: RunSpec, facts: Facts, plan: Plan) -> str:
    assert facts.data is not None
    notes = ["Rows go through the model one by one: slower than packed rows, with the same gradients."]
    if facts.data.validation.rows:
        notes.append(
            f"The run held back {facts.data.validation.rows} rows to measure on; this script trains on all rows."
        )
    if spec.data.repairs or spec.data.weights or spec.data.max_rows:
        notes.append("Repairs, weights of files and the limit on rows were left out: prepare the files yourself.")
    if plan.choices.compute_dtype.value != "fp32":
        notes.append(
            "Weights that learn are float32 here; the run kept float32 masters and computed with 16-bit copies."
        )
    if spec.training.embedding_noise:
        notes.append("Noise on embeddings (NEFTune) was left out.")
    if plan.curve is not None and plan.curve.start:
        notes.append("The run was extended; the learning rate here is that of one run in one go.")
    if spec.adapter.start in ("pissa", "olora"):
        notes.append(
            f"The adapter begins as {spec.adapter.start}: it fits only the changed base that is saved beside it."
        )
    listed = "\n".join(f"- {note}" for note in notes)
    return f'''"""Fine-tunes a language model with transformers and peft.

Written by Lowrank Studio from one of its runs. It needs: pip install torch transformers peft{_more(plan)}

What is different from the run:
{listed}
"""'''


def _more(plan: Plan) -> str:
    needs = plan.choices.quantization.value != "none" or "8bit" in plan.choices.optimizer.value
    return " bitsandbytes" if needs or plan.choices.optimizer.value.startswith(("lion", "paged")) else ""


def _settings(spec: RunSpec, facts: Facts, plan: Plan, template: str) -> str:
    assert facts.model is not None
    assert plan.batch is not None
    assert plan.curve is not None
    training = spec.training
    lines = [
        f"BASE = {_text(facts.model.path)}  # folder or hub name of the base model",
        f"FILES = {_list(spec.data.train)}",
        'OUTPUT = "adapter"',
        f"TEMPLATE = {_text(template) if template else 'None'}  # a chat template; None for the model's own",
        f"TRAIN_ON = {_text(spec.data.train_on)}  # completions: answers; last: the last answer; all: everything",
        f"MAX_LENGTH = {spec.data.max_length}  # tokens; longer rows are cut at the end",
        f"ROWS_A_STEP = {plan.batch.effective_batch}",
        f"STEPS = {plan.batch.steps}",
        f"LEARNING_RATE = {plan.curve.peak!r}",
        f"WARMUP_STEPS = {plan.curve.warmup_steps}",
        f"DECAY_STEPS = {plan.curve.decay_steps}" if plan.curve.decay_steps else "",
        f"CYCLES = {plan.curve.cycles}" if plan.curve.kind == "cosine_restarts" else "",
        f"WEIGHT_DECAY = {training.weight_decay!r}",
        f"MAX_GRAD_NORM = {training.max_grad_norm!r}  # 0 for no clipping",
        f"B_RATE_RATIO = {spec.adapter.b_rate_ratio!r}  # LoRA+: how many times faster B learns than A",
        f"SEED = {training.seed}",
        'DEVICE = "cuda" if torch.cuda.is_available() else "cpu"',
    ]
    return "\n".join(line for line in lines if line)


def _rows(spec: RunSpec, shape: str) -> str:
    mapping = spec.data.mapping
    if shape == "text":
        column = mapping.get("text", "text")
        return f'def to_text(row):\n    """The running text of a row."""\n    return row[{_text(column)}]'
    if shape in _TURNS:
        column = mapping.get("messages", "messages" if shape == "messages" else "conversations")
        return (
            'ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant"}\n\n\n'
            "def to_messages(row):\n"
            '    """The conversation of a row as turns with role and content."""\n'
            f'    turns = row.get({_text(column)}) or row.get("messages") or row["conversations"]\n'
            "    messages = []\n"
            "    for turn in turns:\n"
            '        role, content = turn.get("role") or turn["from"], turn.get("content", turn.get("value"))\n'
            '        messages.append({"role": ROLES.get(role, role), "content": content})\n'
            "    return messages"
        )
    asked, answered = _PAIRS[shape]
    asked, answered = mapping.get("prompt", asked), mapping.get("completion", answered)
    system = mapping.get("system", "system")
    lines = [
        "def to_messages(row):",
        '    """The question and the answer of a row as turns."""',
        f"    question = {_column(asked)}",
    ]
    if shape == "alpaca":
        lines += ['    if row.get("input"):', '        question += "\\n" + row["input"]']
    lines += [
        f"    answer = {_column(answered)}",
        '    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]',
        f"    if row.get({_text(system)}):",
        f'        turns.insert(0, {{"role": "system", "content": row[{_text(system)}]}})',
        "    return turns",
    ]
    return "\n".join(lines)


def _column(name: str) -> str:
    """A column, or a text with columns in braces."""
    return f"{_text(name)}.format_map(row)" if "{" in name else f"row[{_text(name)}]"


def _model(plan: Plan) -> dict[str, str]:
    dtype = _DTYPES[plan.choices.compute_dtype.value]
    quantization = ""
    if plan.choices.quantization.value == "nf4":
        quantization = (
            '    quantization_config=BitsAndBytesConfig(\n        load_in_4bit=True, bnb_4bit_quant_type="nf4", '
            f"bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype={dtype}\n    ),\n"
        )
    elif plan.choices.quantization.value == "int8":
        quantization = "    quantization_config=BitsAndBytesConfig(load_in_8bit=True),\n"
    return {"dtype": dtype, "quantization": quantization}


def _adapter(spec: RunSpec, plan: Plan, facts: Facts) -> dict[str, str]:
    adapter = spec.adapter
    more = {
        "use_rslora": "True" if adapter.method == "rslora" else "",
        "use_dora": "True" if adapter.method == "dora" else "",
        "init_lora_weights": _text(adapter.start) if adapter.start != "default" else "",
        "modules_to_save": _list(adapter.modules_to_save) if adapter.modules_to_save else "",
        "rank_pattern": _ranks(adapter.rank, plan),
    }
    extra = "".join(f"    {name}={value},\n" for name, value in more.items() if value)
    targets = _targets(plan, facts)
    return {
        "rank": str(adapter.rank), "alpha": repr(adapter.alpha), "dropout": repr(adapter.dropout),
        "targets": targets, "extra": extra,
    }  # fmt: skip


def _ranks(rank: int, plan: Plan) -> str:
    others = {target.module: target.rank for target in plan.targets if target.rank != rank}
    return json.dumps(others) if others else ""


def _targets(plan: Plan, facts: Facts) -> str:
    """Short names where they mean exactly the planned modules, else full ones."""
    assert facts.model is not None
    planned = {target.module for target in plan.targets}
    short = sorted({name.rpartition(".")[2] for name in planned})
    meant = {linear.name for linear in facts.model.linears if linear.name.rpartition(".")[2] in short}
    return _list(short if meant == planned else sorted(planned))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"
