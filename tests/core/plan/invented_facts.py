"""Machines, models and data that exist nowhere: what planner tests and the planner's benchmark plan with."""

from core.facts.types import CpuFacts, DataFacts, Facts, GpuFacts, HardwareFacts, LengthFacts, LinearFacts, ModelFacts
from core.spec.run_spec import RunSpec
from core.spec.sections import DataSpec, ModelSpec
from core.units import GIB

OLD_CPU = CpuFacts("Invented 8-core", 8, 16, avx2=True)
NEW_CPU = CpuFacts("Invented 16-core", 16, 32, avx2=True, avx512_bf16=True)


def gpu(name: str, capability: tuple[int, int], total_gib: float, used_gib: float = 0.6, index: int = 0) -> GpuFacts:
    return GpuFacts(index, name, capability, round(total_gib * GIB), round((total_gib - used_gib) * GIB), "580.1")


def machine(*gpus: GpuFacts, cpu: CpuFacts = OLD_CPU, ram_gib: float = 64.0, free_gib: float = 48.0) -> HardwareFacts:
    return HardwareFacts(cpu, gpus, round(ram_gib * GIB), round(free_gib * GIB), 500 * GIB, "Linux")


MACHINES = {
    "rtx3060": machine(gpu("NVIDIA GeForce RTX 3060", (8, 6), 12.0)),
    "rtx4090": machine(gpu("NVIDIA GeForce RTX 4090", (8, 9), 24.0, 1.0)),
    "t4": machine(gpu("Tesla T4", (7, 5), 14.6, 0.1)),
    "h100": machine(gpu("NVIDIA H100 80GB HBM3", (9, 0), 79.6, 0.5), cpu=NEW_CPU, ram_gib=512, free_gib=480),
    "cpu24": machine(cpu=NEW_CPU, ram_gib=24.0, free_gib=20.0),
}


def llama(
    hidden: int,
    wide: int,
    layers: int,
    heads: int,
    kv_heads: int,
    vocab: int,
    *,
    tied: bool = False,
    context: int = 8192,
) -> ModelFacts:
    """A model in the shape of Llama, every count exact."""
    width = hidden // heads
    shapes = (
        ("self_attn.q_proj", "attention", hidden, heads * width),
        ("self_attn.k_proj", "attention", hidden, kv_heads * width),
        ("self_attn.v_proj", "attention", hidden, kv_heads * width),
        ("self_attn.o_proj", "attention", heads * width, hidden),
        ("mlp.gate_proj", "mlp", hidden, wide),
        ("mlp.up_proj", "mlp", hidden, wide),
        ("mlp.down_proj", "mlp", wide, hidden),
    )
    linears = tuple(
        LinearFacts(f"model.layers.{layer}.{name}", layer, role, rows, columns)  # type: ignore[arg-type]
        for layer in range(layers)
        for name, role, rows, columns in shapes
    )
    body = sum(linear.in_features * linear.out_features for linear in linears)
    matrix = vocab * hidden
    parameters = body + matrix * (1 if tied else 2) + (2 * layers + 1) * hidden
    return ModelFacts(
        path=f"/models/llama-{parameters // 10**6}m",
        family="llama",
        architecture="LlamaForCausalLM",
        parameters=parameters,
        embedding_parameters=matrix,
        linear_parameters=body + (0 if tied else matrix),
        bytes_on_disk=2 * parameters,
        dtype="BF16",
        hidden_size=hidden,
        intermediate_size=wide,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=width,
        vocab_size=vocab,
        context_length=context,
        tied_embeddings=tied,
        linears=(*linears, LinearFacts("lm_head", None, "head", hidden, vocab)),
        template="{{ messages }}",
        template_origin="tokenizer_config.json",
    )


MODELS = {
    "135m": llama(576, 1536, 30, 9, 3, 49152, tied=True),
    "1b": llama(2048, 8192, 16, 32, 8, 128256, tied=True, context=131072),
    "8b": llama(4096, 14336, 32, 32, 8, 128256, context=131072),
    "70b": llama(8192, 28672, 80, 64, 8, 128256, context=131072),
}


def gpt2() -> ModelFacts:
    """A small model with Conv1D weights, biases and learned positions."""
    hidden, layers, vocab, positions = 64, 2, 500, 128
    shapes = (("attn.c_attn", "attention", 64, 192), ("attn.c_proj", "attention", 64, 64))
    shapes += (("mlp.c_fc", "mlp", 64, 256), ("mlp.c_proj", "mlp", 256, 64))
    linears = tuple(
        LinearFacts(f"transformer.h.{layer}.{name}", layer, role, rows, columns, bias=True, conv1d=True)  # type: ignore[arg-type]
        for layer in range(layers)
        for name, role, rows, columns in shapes
    )
    body = sum(linear.in_features * linear.out_features for linear in linears)
    parameters = body + sum(linear.out_features for linear in linears) + (vocab + positions) * hidden + 10 * hidden
    return ModelFacts(
        embedding="transformer.wte",
        positions="transformer.wpe",
        path="/models/gpt2-tiny",
        family="gpt2",
        architecture="GPT2LMHeadModel",
        parameters=parameters,
        embedding_parameters=(vocab + positions) * hidden,
        linear_parameters=body,
        bytes_on_disk=4 * parameters,
        dtype="F32",
        hidden_size=hidden,
        intermediate_size=256,
        num_layers=layers,
        num_heads=4,
        num_kv_heads=4,
        head_dim=16,
        vocab_size=vocab,
        context_length=positions,
        tied_embeddings=True,
        linears=(*linears, LinearFacts("lm_head", None, "head", hidden, vocab)),
    )


def lengths(
    rows: int = 2000,
    mean: int = 240,
    longest: int = 1100,
    *,
    supervised: float = 0.6,
    truncated: int = 0,
    lost: int = 0,
) -> LengthFacts:
    return LengthFacts(
        rows=rows,
        tokens=rows * mean,
        supervised_tokens=round(rows * mean * supervised),
        longest=longest if rows else 0,
        median=mean,
        p95=(mean + longest) // 2,
        truncated_rows=truncated,
        lost_tokens=lost,
        histogram={},
    )


def data(train: LengthFacts | None = None, validation: LengthFacts | None = None, **more: object) -> DataFacts:
    values: dict[str, object] = {"shape": "alpaca", "shape_reason": "columns instruction and output"}
    values |= {"template_name": "model", "files": ()} | more
    return DataFacts(train=train or lengths(), validation=validation or lengths(100), **values)  # type: ignore[arg-type]


def spec(**settings: object) -> RunSpec:
    """A spec without problems of its own; settings are named section__setting."""
    made = RunSpec(model=ModelSpec(base="some-model"), data=DataSpec(train=("rows.jsonl",)))
    for name, value in settings.items():
        made = made.replace(name.replace("__", ".", 1), value)
    return made


def facts(machine_name: str = "rtx4090", model_name: str = "8b", rows: DataFacts | None = None) -> Facts:
    return Facts(MACHINES[machine_name], MODELS[model_name], rows or data())
