"""The parts of the script that `core.export.script` puts together; plain Python, to be read by people."""

IMPORTS = """
import csv
import hashlib
import json
import math
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
"""

READERS = '''
def read_file(path):
    """The rows of a JSONL, JSON, CSV or Parquet file."""
    if path.endswith(".parquet"):
        import pandas

        return pandas.read_parquet(path).to_dict("records")
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.endswith((".csv", ".tsv")):
            return list(csv.DictReader(file, delimiter="\\t" if path.endswith(".tsv") else ","))
        if path.endswith(".json"):
            return json.load(file)
        return [json.loads(line) for line in file if line.strip()]
'''

HEAD = """
tokenizer = AutoTokenizer.from_pretrained(BASE)
if TEMPLATE is not None:
    tokenizer.chat_template = TEMPLATE
"""

LABELS_CHAT = '''
def written(messages, **options):
    """A conversation as the chat template writes it."""
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def to_tokens(row):
    """Token ids of a row and their labels; -100 stands where nothing is to be learned."""
    messages = to_messages(row)
    text = written(messages)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    spans = []
    for index in answers[-1:] if TRAIN_ON == "last" else answers:
        start = len(written(messages[:index], add_generation_prompt=True))
        spans.append((start, len(written(messages[: index + 1]).rstrip())))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"][:MAX_LENGTH]
    learned = [TRAIN_ON == "all" or any(a <= begin < b for a, b in spans) for begin, _ in encoded["offset_mapping"]]
    return ids, [token if learn else -100 for token, learn in zip(ids, learned)]


rows = [to_tokens(row) for path in FILES for row in read_file(path)]
rows = [row for row in rows if any(label != -100 for label in row[1][1:])]
'''

LABELS_TEXT = '''
def to_tokens(row):
    """Token ids of a text with the end token behind it; all of them are learned."""
    ids = tokenizer(to_text(row))["input_ids"]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids = ids + [tokenizer.eos_token_id]
    return ids[:MAX_LENGTH], ids[:MAX_LENGTH]


rows = [to_tokens(row) for path in FILES for row in read_file(path)]
rows = [row for row in rows if len(row[0]) > 1]
'''

ORDER = '''
def order_of(epoch):
    """The order of the rows in an epoch: shuffled, and the same in every run with the same seed."""
    seed = hashlib.sha256(f"order\\x1f{SEED}\\x1f{epoch}".encode()).digest()[:16]
    source = random.Random(int.from_bytes(seed, "big"))
    order = list(range(len(rows)))
    for last in range(len(rows) - 1, 0, -1):
        other = int(source.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def rows_of(step):
    """The rows that a step learns from."""
    steps_an_epoch = math.ceil(len(rows) / ROWS_A_STEP)
    epoch, place = divmod(step, steps_an_epoch)
    return [rows[index] for index in order_of(epoch)[place * ROWS_A_STEP : (place + 1) * ROWS_A_STEP]]
'''

MODEL = """
model = AutoModelForCausalLM.from_pretrained(
    BASE,
    dtype={dtype},
{quantization}    device_map={{"": DEVICE}},
)
model.config.use_cache = False
"""

ADAPTERS = """
from peft import LoraConfig, get_peft_model

torch.manual_seed(SEED)
config = LoraConfig(
    task_type="CAUSAL_LM",
    r={rank},
    lora_alpha={alpha},
    lora_dropout={dropout},
    target_modules={targets},
    bias="none",
{extra})
model = get_peft_model(model, config)
model.print_trainable_parameters()
"""

FULL = """
torch.manual_seed(SEED)
"""

_GROUPS = """
learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
fast = [parameter for name, parameter in learned if ".lora_B." in name]
slow = [parameter for name, parameter in learned if ".lora_B." not in name]
groups = [{"params": slow, "factor": 1.0}, {"params": fast, "factor": B_RATE_RATIO}]
groups = [group for group in groups if group["params"]]
"""

_BITS = "lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=WEIGHT_DECAY"


def _bitsandbytes(name: str, settings: str = _BITS) -> str:
    return f"{_GROUPS}\nimport bitsandbytes\n\noptimizer = bitsandbytes.optim.{name}(groups, {settings})\n"


_LION = "lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY"
OPTIMIZERS = {
    "adamw": f"{_GROUPS}\noptimizer = torch.optim.AdamW(groups, {_BITS})\n",
    "adamw_8bit": _bitsandbytes("AdamW8bit"),
    "paged_adamw": _bitsandbytes("PagedAdamW"),
    "paged_adamw_8bit": _bitsandbytes("PagedAdamW8bit"),
    "lion": _bitsandbytes("Lion32bit", _LION),
    "lion_8bit": _bitsandbytes("Lion8bit", _LION),
    "adafactor": (
        f"{_GROUPS}\nfrom transformers.optimization import Adafactor\n\noptimizer = Adafactor(\n"
        "    groups, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, scale_parameter=False, relative_step=False\n)\n"
    ),
}

_WARM = '''
def learning_rate(step):
    """The rate of a step, counted from 0: it rises during the warm-up, {words}."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * (step + 1) / WARMUP_STEPS
{after}
'''
_PROGRESS = "    progress = (step - WARMUP_STEPS) / max(1, STEPS - WARMUP_STEPS)\n"
_COSINE = "    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * progress))"
SCHEDULES = {
    "cosine": _WARM.format(words="then falls to zero along half a cosine", after=_PROGRESS + _COSINE),
    "linear": _WARM.format(
        words="then falls to zero along a line", after=_PROGRESS + "    return LEARNING_RATE * (1 - progress)"
    ),
    "constant": _WARM.format(words="then stays", after="    return LEARNING_RATE"),
    "cosine_restarts": _WARM.format(
        words="then falls along half a cosine, several times",
        after=_PROGRESS + "    progress = (CYCLES * progress) % 1.0\n" + _COSINE,
    ),
    "warmup_stable_decay": _WARM.format(
        words="then stays, and falls to zero in the last steps",
        after=(
            "    begin = STEPS - DECAY_STEPS\n    if step < begin:\n        return LEARNING_RATE\n"
            "    return LEARNING_RATE * (1 - math.sqrt((step - begin) / DECAY_STEPS))"
        ),
    ),
}

LOOP = """
model.train()
for step in range(STEPS):
    batch = rows_of(step)
    # The first token of a row is never predicted, so its label does not count.
    count = sum(label != -100 for _, labels in batch for label in labels[1:])
    total = 0.0
    for ids, labels in batch:
        ids = torch.tensor([ids], device=DEVICE)
        targets = torch.tensor(labels[1:], device=DEVICE)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1].float()
        # The mean over all tokens of the step, not the mean of each row's mean.
        loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum") / count
        loss.backward()
        total += loss.item()
    if MAX_GRAD_NORM:
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in learned], MAX_GRAD_NORM)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step) * group["factor"]
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step + 1} of {STEPS}: loss {total:.4f}, learning rate {learning_rate(step):.2e}", flush=True)

model.save_pretrained(OUTPUT)
tokenizer.save_pretrained(OUTPUT)
"""
