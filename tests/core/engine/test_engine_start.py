"""PiSSA and OLoRA: the model answers as before, a start that is read gives the same bits, the result fits the base."""

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from core.engine import adapters, start  # noqa: E402
from core.engine.masters import Masters  # noqa: E402
from core.errors import FailureKind, JobError  # noqa: E402
from core.plan.parameters import resolve_targets  # noqa: E402
from core.spec.sections import AdapterSpec  # noqa: E402
from tests.core.engine.test_engine_optimizers import tiny  # noqa: E402
from tests.simulator.facts import facts_of_model  # noqa: E402

pytestmark = pytest.mark.torch

IDS = torch.arange(12)[None]


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32))


MODELS = {"llama": tiny, "gpt2": gpt2}
STARTS = ["pissa", "olora"]


def attached(base, spec: AdapterSpec, file: Path | None):
    torch.manual_seed(7)
    return adapters.attach(base, spec, resolve_targets(spec, facts_of_model(base)), file)


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("kind", STARTS)
def test_a_start_that_is_read_gives_the_same_bits(kind: str, family: str, dtype: object, tmp_path: Path) -> None:
    base = MODELS[family]().to(dtype)
    before, again = logits(base), copy.deepcopy(base)
    spec = AdapterSpec(rank=4, start=kind)
    made = attached(base, spec, tmp_path / "start.safetensors")
    assert torch.allclose(logits(made).float(), before.float(), atol=1e-5 if dtype is torch.float32 else 0.05)
    torch.manual_seed(99)  # nothing is drawn anew
    read = adapters.attach(again, spec, resolve_targets(spec, facts_of_model(again)), tmp_path / "start.safetensors")
    found, kept = dict(read.named_parameters()), dict(made.named_parameters())
    assert found.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].requires_grad == tensor.requires_grad


@pytest.mark.parametrize("kind", STARTS)
def test_the_start_is_pefts_own_in_32_bits(kind: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny()
    theirs = copy.deepcopy(base)
    made = attached(base, AdapterSpec(rank=4, alpha=12, start=kind), tmp_path / "s")
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", init_lora_weights=kind)
    theirs = get_peft_model(theirs, config)
    expected = dict(theirs.named_parameters())
    for name, tensor in made.named_parameters():
        if ".lora_B." in name:
            first = name.replace("lora_B", "lora_A")
            part = tensor @ made.get_parameter(first)
            assert torch.allclose(part, expected[name] @ expected[first], atol=1e-4), name
        elif "lora" not in name:
            assert torch.allclose(tensor, expected[name], atol=1e-4), name


def test_pissa_begins_with_the_largest_singular_vectors(tmp_path: Path) -> None:
    base = tiny()
    weight = base.model.layers[0].mlp.up_proj.weight.detach().clone()
    made = attached(base, AdapterSpec(rank=4, alpha=12, start="pissa"), tmp_path / "s")
    layer = made.base_model.model.model.layers[0].mlp.up_proj
    part = 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    left, values, right = torch.linalg.svd(weight)
    assert torch.allclose(part, left[:, :4] @ values[:4].diag() @ right[:4], atol=1e-4)
    assert torch.allclose(layer.base_layer.weight + part, weight, atol=1e-5)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set:UserWarning")
@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("method", ["lora", "rslora"])
@pytest.mark.parametrize("kind", STARTS)
def test_the_result_is_an_adapter_of_the_unchanged_base(kind: str, method: str, family: str, tmp_path: Path) -> None:
    """Through plain PEFT, on a base that knows nothing of the start; with ranks of their own for some modules."""
    from peft import PeftModel
    from safetensors.torch import save_file

    from core.paths import write_json

    base = MODELS[family]()
    untouched = copy.deepcopy(base)
    own = {"llama": {"down_proj": 2, "1.q_proj": 3}, "gpt2": {"c_fc": 2}}[family]
    spec = AdapterSpec(method=method, rank=4, alpha=6, start=kind, rank_pattern=own)
    made = attached(base, spec, tmp_path / "start")
    masters = Masters(made, torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for master in masters.masters:
            master.add_(0.1 * torch.randn_like(master))
    plain = start.against_base(dict(masters.named()), start.read_start(tmp_path / "start"))
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(adapters.adapter_tensors(made, plain), folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", start.settings_against_base(adapters.adapter_settings(made), spec))
    wanted = logits(made)
    loaded = PeftModel.from_pretrained(untouched, str(folder))
    assert torch.allclose(logits(loaded), wanted, atol=1e-4)
    with loaded.disable_adapter():
        assert not torch.allclose(logits(loaded), wanted, atol=1e-2), "the adapter changes nothing"


def test_without_its_start_a_run_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="began cannot be read any more") as caught:
        start.read_start(tmp_path / "start.safetensors")
    assert caught.value.failure.kind is FailureKind.RESUME_MISMATCH
    (tmp_path / "start.safetensors").write_bytes(b"\x08" * 20)
    with pytest.raises(JobError, match="began cannot be read any more"):
        start.read_start(tmp_path / "start.safetensors")
