"""How long a run will take: a rough roofline, good to a factor of two, until the first steps have been measured.

A pass takes the longer of two times: its arithmetic at the throughput that training reaches on such hardware, and the
launching of its kernels. Arithmetic per token and parameter is 4 operations for adapters (forward and the gradient of
activations), 6 for full fine-tuning, and 2 more for every layer that is recomputed.
"""

from core.facts.types import CpuFacts, Facts, GpuFacts, ModelFacts
from core.plan.choices import Decision
from core.plan.parameters import head_of
from core.plan.types import Batch, Duration
from core.spec.run_spec import RunSpec

# Vendors' dense 16-bit tensor throughput with 32-bit sums, TFLOP/s. First match wins.
GPU_TFLOPS = (
    ("RTX 5090", 209.0),
    ("RTX 5080", 112.0),
    ("RTX 5070", 80.0),
    ("RTX 4090", 165.0),
    ("RTX 4080", 98.0),
    ("RTX 4070", 58.0),
    ("RTX 4060", 30.0),
    ("RTX 3090", 71.0),
    ("RTX 3080", 60.0),
    ("RTX 3070", 40.0),
    ("RTX 3060", 25.0),
    ("RTX 2080", 45.0),
    ("RTX 2070", 30.0),
    ("RTX 2060", 26.0),
    ("RTX 6000 Ada", 364.0),
    ("A6000", 155.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("T4", 65.0),
    ("V100", 112.0),
    ("A100", 312.0),
    ("A10", 125.0),
    ("B200", 2250.0),
    ("GB200", 2250.0),
    ("H200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100", 989.0),
    ("GH200", 989.0),
)
# For names that are not listed: a mid-range card of each generation.
CAPABILITY_TFLOPS = (
    ((12, 0), 80.0),
    ((10, 0), 1500.0),
    ((9, 0), 750.0),
    ((8, 9), 60.0),
    ((8, 0), 50.0),
    ((7, 0), 40.0),
)
OLDEST_TFLOPS = 8.0

# The share of that which training reaches; published runs lie between 0.3 and 0.85.
GPU_SHARE = 0.45
FP32_SHARE = 0.15
# Starting a layer's kernels forward and backward, adapters included, seconds.
GPU_LAYER_SECONDS = 1.5e-3
CPU_LAYER_SECONDS = 2.0e-3
# Unpacking 4- and 8-bit weights for every product.
UNPACK_COST = {"none": 1.0, "nf4": 1.25, "int8": 1.15}

# Effective GFLOP/s of one core in a training step; 84 was measured for bfloat16 with AVX512-BF16 on a small model.
AMX_GFLOPS = 250.0
AVX512_BF16_GFLOPS = 85.0
AVX2_GFLOPS = 30.0
PLAIN_GFLOPS = 10.0
EMULATED_SHARE = 0.3

LOAD_BYTES_PER_SECOND = 500e6
START_SECONDS = 10.0
SLOWEST = 2.5
FASTEST = 0.5


def duration_of(spec: RunSpec, facts: Facts, decision: Decision, batch: Batch) -> Duration:
    """Expected seconds of the whole run: loading, steps and evaluations."""
    model, data, training = facts.model, facts.data, decision.training
    assert model is not None
    assert data is not None
    assert training is not None
    choices, ground = decision.choices, decision.ground
    full = spec.adapter.method == "full"
    rate, named = _throughput(ground.gpu, facts.hardware.cpu, choices.compute_dtype.value)
    rate /= UNPACK_COST.get(choices.quantization.value, 1.0)
    head = _head_elements(model)
    body = max(0, model.linear_parameters - (0 if model.tied_embeddings else head))
    share = choices.checkpointed_layers.value / max(1, model.num_layers)
    per_token = (6 if full else 4) + 2 * share
    mean = data.train.tokens / max(1, data.train.rows)
    attention = (2 + 0.5 * per_token) * mean * model.num_heads * model.head_dim * model.num_layers
    adapters = 6 * (0 if full else training.parameters.trainable)
    supervised = batch.supervised_per_step * head * (6 if full else 4)
    step_operations = batch.tokens_per_step * (per_token * body + attention + adapters) + supervised
    launch = GPU_LAYER_SECONDS if ground.gpu else CPU_LAYER_SECONDS
    step = max(step_operations / rate, batch.passes_per_step * model.num_layers * launch)
    every = choices.evaluate_every.value
    evaluations = (2 + batch.steps // every if every else 2) if data.validation.rows else 0
    evaluating = evaluations * (data.validation.tokens * 2 * body + data.validation.supervised_tokens * 2 * head) / rate
    seconds = START_SECONDS + model.bytes_on_disk / LOAD_BYTES_PER_SECOND + batch.steps * step + evaluating
    return Duration(
        seconds=seconds,
        low_seconds=seconds * FASTEST,
        high_seconds=seconds * SLOWEST,
        tokens_per_second=batch.tokens_per_step / step if step else 0.0,
        basis=f"A rough estimate from {named}; the first steps of the run will tell better.",
    )


def _head_elements(model: ModelFacts) -> int:
    head = head_of(model)
    return head.in_features * head.out_features if head else model.vocab_size * model.hidden_size


def _throughput(gpu: GpuFacts | None, cpu: CpuFacts, dtype: str) -> tuple[float, str]:
    """Operations a second that training reaches, and where the number comes from."""
    if gpu is not None:
        peak = next((value for name, value in GPU_TFLOPS if name.casefold() in gpu.name.casefold()), 0.0)
        source = f"the {gpu.name}'s published {peak:,.0f} TFLOP/s"
        if not peak:
            steps = (value for capability, value in CAPABILITY_TFLOPS if gpu.capability >= capability)
            peak = next(steps, OLDEST_TFLOPS)
            source = f"{peak:,.0f} TFLOP/s, usual for compute capability {gpu.capability[0]}.{gpu.capability[1]}"
        return peak * 1e12 * (FP32_SHARE if dtype == "fp32" else GPU_SHARE), source
    core = _core_gflops(cpu, dtype)
    cores = max(1, cpu.physical_cores)
    return core * cores * 1e9, f"{cores} cores of about {core:,.0f} GFLOP/s each"


def _core_gflops(cpu: CpuFacts, dtype: str) -> float:
    plain = AVX2_GFLOPS if cpu.avx2 else PLAIN_GFLOPS
    if dtype == "bf16" and cpu.amx_bf16:
        return AMX_GFLOPS
    if dtype == "bf16" and cpu.avx512_bf16:
        return AVX512_BF16_GFLOPS
    return plain if dtype == "fp32" else plain * EMULATED_SHARE
