"""A tiny model and rows to plan with, the command line in this process, and a fake engine behind it."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.paths import runs_dir
from core.runs import supervisor
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.process_record import living_process
from core.runs.process_tree import family, kill
from tests.core.data.small_tokenizers import CHATML, write_tokenizer

ROOT = Path(__file__).parents[3]
FAKE_ENGINE = ROOT / "tests" / "fakes" / "fake_engine.py"
VOCABULARY, WIDTH, INNER, LAYERS = 400, 32, 48, 2


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def paths(self) -> set[str]:
        return {problem["path"] for problem in self.json["problems"]}


@pytest.fixture
def lowrank(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line, in this process."""

    def call(*words: object) -> Said:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of two layers with random weights and a real tokenizer. Never write to it."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = write_tokenizer(tmp_path_factory.mktemp("models") / "tiny", chat_template=CHATML)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.self_attn.q_proj.weight": (WIDTH, WIDTH),
            f"{prefix}.self_attn.k_proj.weight": (WIDTH // 2, WIDTH),
            f"{prefix}.self_attn.v_proj.weight": (WIDTH // 2, WIDTH),
            f"{prefix}.self_attn.o_proj.weight": (WIDTH, WIDTH),
            f"{prefix}.mlp.gate_proj.weight": (INNER, WIDTH),
            f"{prefix}.mlp.up_proj.weight": (INNER, WIDTH),
            f"{prefix}.mlp.down_proj.weight": (WIDTH, INNER),
            f"{prefix}.input_layernorm.weight": (WIDTH,),
            f"{prefix}.post_attention_layernorm.weight": (WIDTH,),
        }
    save_file({name: np.zeros(shape, "float32") for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Eighty short conversations."""
    path = tmp_path / "rows.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n}?"},
                {"role": "assistant", "content": f"A number, {n}."},
            ]
        }
        for n in range(80)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def basics(tiny_model: Path, rows: Path) -> tuple[str, ...]:
    """Options that make a whole spec."""
    settings = {
        "model.base": tiny_model,
        "data.train": rows,
        "data.max_length": 128,
        "adapter.rank": 4,  # its layers are too small for the usual one, and a warning would say so
        "adapter.alpha": 8,
        "hardware.device": "cpu",
        "output.name": "words",
    }
    return tuple(word for path, value in settings.items() for word in ("--set", f"{path}={value}"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, lowrank_home: Path) -> Iterator[Callable[[str], None]]:
    """Chooses the fake engine's mode; whatever it started ends with the test."""

    def choose(mode: str) -> None:
        def command(folder: RunFolder) -> LaunchCommand:
            argv = (sys.executable, "-P", str(FAKE_ENGINE), str(folder.path), mode)
            return LaunchCommand(argv, child_env(), folder.path)

        monkeypatch.setattr(supervisor, "engine_command", command)

    yield choose
    for path in runs_dir().iterdir() if runs_dir().is_dir() else ():
        record = living_process(RunFolder(path))
        if record is not None:
            kill(family(record.key))
