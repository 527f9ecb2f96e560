"""What the plan says of the disk, held against the files that a run and a merge really write."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.engine import checkpoints
from core.export.adapter import write_adapter
from core.export.merge import merge_adapter, merge_needs
from core.export.peft_adapter import WEIGHTS_FILE
from core.facts.model_files import read_model
from core.plan.choices import training_of
from core.plan.disk import CHECKPOINT_TEXTS, COMPANIONS, HEADER_LINE, TOKEN_BYTES, disk_of
from core.plan.types import Disk
from core.runs.saved_states import Counters, Identity
from core.spec.run_spec import RunSpec
from tests.core.export.tiny_models import make_base

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),  # PEFT's own words about tied and transposed weights
]


@dataclass(frozen=True)
class Written:
    """A run's files, and what was planned for them."""

    disk: Disk
    tensors: int
    base: Path
    adapter: Path
    checkpoint: Path


def asked(base: Path, **settings: Any) -> RunSpec:
    spec = RunSpec().replace("model.base", str(base))
    for name, value in settings.items():
        spec = spec.replace(name.replace("__", "."), value)
    return spec


def written(folder: Path, family: str, optimizer: str, **settings: Any) -> Written:
    """Trains one step as the engine does, and lets the engine write its state and its result."""
    import torch

    from core.engine import adapters, bootstrap
    from core.engine.loading import load_base
    from core.engine.masters import Masters
    from core.engine.optimizer import make_optimizer, optimizer_tensors

    base = make_base(folder / "base", family)
    spec, facts = asked(base, **settings), read_model(base)
    training = training_of(spec, facts)
    bootstrap.quiet_libraries()
    loaded = load_base(
        base, device=torch.device("cpu"), compute_dtype="bf16", quantization="none", double_quant=False,
        kernel="sdpa", trust_remote_code=False,
    )  # fmt: skip
    model = adapters.attach(loaded, spec.adapter, training.targets)
    masters = Masters(model, torch.bfloat16)
    steps = make_optimizer(optimizer, masters.masters, learning_rate=1e-3, weight_decay=0.0)
    for master in masters.masters:
        master.grad = torch.ones_like(master)
    steps.step()
    state, _ = checkpoints.save_checkpoint(
        folder / "checkpoints",
        counters=Counters(step=1),
        identity=Identity(),
        masters=dict(masters.named()),
        optimizer=optimizer_tensors(steps),
        scaler={"factor": 1.0, "good_steps": 0},
        keep=2,
    )
    if spec.adapter.method != "full":
        write_adapter(
            folder / "adapter",
            tensors=adapters.adapter_tensors(model, dict(masters.named())),
            config={**adapters.adapter_settings(model), "base_model_name_or_path": str(base)},
            card="",
            manifest={"base_path": str(base), "base_fingerprint": facts.fingerprint},
        )
    disk = disk_of(spec, facts, training.targets, training.trained, optimizer, 0)
    count = sum(count for _, count in training.trained.tensors)
    return Written(disk, count, base, folder / "adapter", state)


def tensor_bytes(*files: Path) -> int:
    """What files of tensors hold without their headers."""
    return sum(path.stat().st_size - 8 - struct.unpack("<Q", path.read_bytes()[:8])[0] for path in files)


def weights_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"adapter__rank": 8},
    "dora": {"adapter__rank": 4, "adapter__method": "dora"},
    "some ranks": {"adapter__rank": 4, "adapter__rank_pattern": {"mlp": 2}},
    "attention": {"adapter__rank": 300, "adapter__alpha": 300.0, "adapter__targets": ("attention",)},
    "head": {"adapter__rank": 4, "adapter__modules_to_save": ("lm_head",)},
    "embeddings": {"adapter__rank": 4, "adapter__modules_to_save": ("embed_tokens",)},
}


# GPT-2 has other names for its embeddings.
CASES = [(family, kind) for family in ("llama", "llama-tied", "phi3") for kind in ADAPTERS]
CASES += [("gpt2", kind) for kind, settings in ADAPTERS.items() if "adapter__modules_to_save" not in settings]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_an_adapter_and_its_merge_are_known_to_the_byte(family: str, kind: str, tmp_path: Path) -> None:
    settings = dict(ADAPTERS[kind])
    if "adapter__rank_pattern" in settings:
        settings["adapter__rank_pattern"] = {"c_proj" if family == "gpt2" else "down_proj": 2}
    made = written(tmp_path, family, "adamw", **settings)
    assert tensor_bytes(made.adapter / WEIGHTS_FILE) == made.disk.adapter_bytes
    report = merge_adapter(made.base, made.adapter, tmp_path / "merged")
    beside = COMPANIONS + TOKEN_BYTES * read_model(made.base).vocab_size
    files = sum(path.stat().st_size for path in weights_of(report.target))
    assert files == pytest.approx(made.disk.merged_bytes - beside, abs=256)  # the header alone, which is written anew
    assert tensor_bytes(*weights_of(report.target)) + header_bytes(made.base) == made.disk.merged_bytes - beside
    whole = sum(path.stat().st_size for path in report.target.iterdir() if path.name != "README.md")
    assert merge_needs(made.base, made.adapter).disk == pytest.approx(whole, abs=4096)


def header_bytes(folder: Path) -> int:
    files = weights_of(folder)
    return sum(path.stat().st_size for path in files) - tensor_bytes(*files)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
@pytest.mark.parametrize("kind", ["lora", "attention", "dora", "embeddings", "full"])
def test_a_checkpoint_is_known_to_within_its_texts(kind: str, optimizer: str, tmp_path: Path) -> None:
    settings = {"adapter__method": "full"} if kind == "full" else ADAPTERS[kind]
    made = written(tmp_path, "llama", optimizer, **settings)
    tensors = [made.checkpoint / f"{name}.safetensors" for name in ("masters", "optimizer")]
    states = 1 + (3 if optimizer == "adamw" else 6)
    lines = [len(json.loads(path.read_bytes()[8:].split(b"}}")[0] + b"}}")) for path in tensors]
    planned = made.disk.checkpoint_bytes - CHECKPOINT_TEXTS
    real = tensor_bytes(*tensors)
    assert sum(lines) <= states * made.tensors
    assert planned - HEADER_LINE * sum(lines) == real
    whole = sum(path.stat().st_size for path in made.checkpoint.iterdir())
    assert made.disk.checkpoint_bytes - CHECKPOINT_TEXTS - HEADER_LINE * sum(lines) < whole
    assert whole < made.disk.checkpoint_bytes


def test_a_full_fine_tuning_writes_the_model_in_the_formats_of_its_base(tmp_path: Path) -> None:
    made = written(tmp_path, "llama-tied", "adamw", adapter__method="full")
    facts = read_model(made.base)
    beside = COMPANIONS + TOKEN_BYTES * facts.vocab_size
    assert made.disk.adapter_bytes - beside == tensor_bytes(*weights_of(made.base)) == 4 * facts.parameters
