"""What a run stands on: the device, the number format, the attention kernel and packing, each with its reason."""

from dataclasses import dataclass

from core.errors import Edit, Fix, Problem, error, warning
from core.facts.types import CpuFacts, DeviceKind, Facts, GpuFacts, ModelFacts
from core.plan.cards import AMPERE, OLDEST_SUPPORTED
from core.plan.types import Chosen
from core.spec.run_spec import RunSpec
from core.units import format_bytes

WIDEST_FLASH_HEAD = 256
DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
DTYPE_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class Ground:
    """The part of the choices that does not depend on how much memory anything takes.

    Attributes:
        title: the device's name for sentences.
        limit_bytes: what the device has for each process; `free_bytes`: what of it is free now.
        varlen: attention takes all rows of a pass in one call.
        kernel: what computes attention, as `core.plan.memory.Setup` calls it.
        scores: attention scores are written out.
    """

    kind: DeviceKind
    title: str
    gpu: GpuFacts | None
    limit_bytes: int
    free_bytes: int
    device: Chosen[str]
    dtype: Chosen[str]
    attention: Chosen[str]
    packing: Chosen[bool]
    varlen: bool
    kernel: str
    scores: bool
    problems: tuple[Problem, ...]


def ground_of(spec: RunSpec, facts: Facts) -> Ground:
    """Chooses device, number format, attention and packing; what cannot be had is a problem beside a usable choice."""
    problems: list[Problem] = []
    hardware = facts.hardware
    gpu, device = _device(spec, facts, problems)
    dtype = _dtype(spec, gpu, hardware.cpu, problems)
    attention = _attention(spec, gpu, dtype.value, facts.model, problems)
    packing = _packing(spec, facts.model, problems)
    problems += _crowded(spec, gpu, hardware.cpu)
    # Processes on processors share the memory; those on GPUs have one each.
    sharing = max(1, spec.hardware.processes) if gpu is None else 1
    varlen = gpu is not None and attention.value == "flash"
    kernel = "varlen" if varlen else attention.value
    if kernel != "eager" and _flash_obstacle(gpu, dtype.value, facts.model):
        kernel = "efficient"  # PyTorch's next choice on CUDA
    return Ground(
        kind="cpu" if gpu is None else "cuda",
        title="the processor" if gpu is None else gpu.name,
        gpu=gpu,
        limit_bytes=hardware.ram_total_bytes // sharing if gpu is None else gpu.total_bytes,
        free_bytes=hardware.ram_free_bytes // sharing if gpu is None else gpu.free_bytes,
        device=device,
        dtype=dtype,
        attention=attention,
        packing=packing,
        varlen=varlen,
        kernel=kernel,
        scores=kernel == "eager",
        problems=tuple(problems),
    )


def _device(spec: RunSpec, facts: Facts, problems: list[Problem]) -> tuple[GpuFacts | None, Chosen[str]]:
    asked, hardware = spec.hardware.device, facts.hardware
    gpus = hardware.gpus
    cores = f"{hardware.cpu.physical_cores} cores and {format_bytes(hardware.ram_free_bytes)} of free memory"
    if asked == "cpu":
        return None, Chosen("cpu", f"You chose the processor: {cores}.", by_user=True)
    if not gpus:
        if asked == "cuda":
            problems.append(
                error(
                    "hardware.device",
                    "An NVIDIA GPU is asked for, but 0 were found on this machine.",
                    "Train on the processor, or see “lowrank doctor” for what is missing.",
                    Fix("Choose the device automatically", (Edit("hardware.device", "auto"),)),
                )
            )
        return None, Chosen("cpu", f"There is no NVIDIA GPU; the processor has {cores}.")
    wanted = spec.hardware.processes
    if wanted > len(gpus):
        problems.append(
            error(
                "hardware.processes",
                f"{wanted:,} processes need a GPU each, and this machine has {len(gpus)}.",
                "Use as many processes as there are GPUs.",
                Fix(f"Use {len(gpus)} processes", (Edit("hardware.processes", len(gpus)),))
                if len(gpus) > 1
                else Fix("Use one process", (Edit("hardware.processes", 1),)),
            )
        )
    best = max(gpus, key=lambda gpu: (not _too_old(gpu), gpu.free_bytes, -gpu.index))
    if _too_old(best):
        problems.append(
            error(
                "hardware.device",
                f"PyTorch has no kernels for {best.name}: it has compute capability {_capability(best)}, and "
                f"{OLDEST_SUPPORTED[0]}.{OLDEST_SUPPORTED[1]} is the oldest that it runs on.",
                "Train on the processor, or on a newer GPU.",
                Fix("Train on the processor", (Edit("hardware.device", "cpu"),)),
            )
        )
    if 1 < wanted <= len(gpus):
        least = min(gpus[:wanted], key=lambda gpu: gpu.free_bytes)
        reason = (
            f"{wanted} processes have a GPU each; {least.name} is the one with the least free memory: "
            f"{format_bytes(least.free_bytes)}."
        )
        return least, Chosen(f"cuda:{least.index}", reason, by_user=asked == "cuda")
    among = "the only GPU" if len(gpus) == 1 else f"of {len(gpus)} GPUs the one with the most free memory"
    reason = f"{best.name} is {among}: {format_bytes(best.free_bytes)} free."
    return best, Chosen(f"cuda:{best.index}", reason, by_user=asked == "cuda")


def _crowded(spec: RunSpec, gpu: GpuFacts | None, cpu: CpuFacts) -> list[Problem]:
    """More processes than cores only wait for each other."""
    wanted, cores = spec.hardware.processes, max(1, cpu.physical_cores)
    if gpu is not None or wanted <= cores or spec.hardware.device == "cuda":
        return []
    return [
        warning(
            "hardware.processes",
            f"{wanted:,} processes share {cores} cores, so they wait for each other and each holds the base model.",
            "One process with all cores is as fast on a processor and needs the least memory.",
            Fix("Use one process", (Edit("hardware.processes", 1),)),
        )
    ]


def _too_old(gpu: GpuFacts) -> bool:
    """Whether the PyTorch that the set-up installs cannot use a GPU; one of unknown capability gets its chance."""
    return (0, 0) < gpu.capability < OLDEST_SUPPORTED


def _dtype(spec: RunSpec, gpu: GpuFacts | None, cpu: CpuFacts, problems: list[Problem]) -> Chosen[str]:
    asked = spec.model.compute_dtype
    best, reason = _best_dtype(gpu, cpu)
    if asked not in DTYPE_BYTES:
        return Chosen(best, reason)
    slow = asked == "bf16" and best != "bf16"
    if slow:
        where = f"{gpu.name} (compute capability {_capability(gpu)})" if gpu else "This processor"
        needs = "compute capability 8.0" if gpu else "AVX512-BF16 or AMX"
        problems.append(
            warning(
                "model.compute_dtype",
                f"{where} has no fast bfloat16, which needs {needs}: every product is converted and takes longer.",
                f"Compute in {DTYPE_NAMES[best]} instead.",
                Fix(f"Compute in {DTYPE_NAMES[best]}", (Edit("model.compute_dtype", best),)),
            )
        )
    return Chosen(asked, f"You chose {DTYPE_NAMES[asked]}: {8 * DTYPE_BYTES[asked]} bits a number.", by_user=True)


def _best_dtype(gpu: GpuFacts | None, cpu: CpuFacts) -> tuple[str, str]:
    if gpu is not None:
        if gpu.capability >= AMPERE:
            return "bf16", f"Compute capability {_capability(gpu)} has fast bfloat16 (8.0 and newer do)."
        return (
            "fp16",
            f"Compute capability {_capability(gpu)} has no bfloat16 (8.0 and newer do); float16 is fast on it.",
        )
    if cpu.amx_bf16 or cpu.avx512_bf16:
        unit = "AMX" if cpu.amx_bf16 else "AVX512-BF16"
        return "bf16", f"This processor multiplies 16-bit bfloat16 in hardware ({unit})."
    return "fp32", "This processor has neither AVX512-BF16 nor AMX; 32-bit float32 is its fastest format."


def _capability(gpu: GpuFacts) -> str:
    return f"{gpu.capability[0]}.{gpu.capability[1]}"


def _attention(
    spec: RunSpec, gpu: GpuFacts | None, dtype: str, model: ModelFacts | None, problems: list[Problem]
) -> Chosen[str]:
    asked = spec.hardware.attention
    obstacle = _flash_obstacle(gpu, dtype, model) if gpu else ""
    if asked in ("sdpa", "eager"):
        return Chosen(asked, "You chose this kernel; 1 row is attended to at a time.", by_user=True)
    if asked == "flash" and not obstacle:
        return Chosen("flash", "You chose flash attention; 1 row never sees another.", by_user=True)
    if asked == "flash":
        problems.append(
            error(
                "hardware.attention",
                f"Flash attention is asked for but cannot run: {obstacle}.",
                "Let the kernel be chosen automatically.",
                Fix("Choose the attention automatically", (Edit("hardware.attention", "auto"),)),
            )
        )
    if obstacle:
        return Chosen("sdpa", f"Flash attention cannot run here: {obstacle}.")
    if gpu is None:
        return Chosen("flash", "PyTorch's flash attention for processors takes 1 row at a time and keeps no scores.")
    return Chosen("flash", f"Compute capability {_capability(gpu)} runs flash attention over rows of any length.")


def _flash_obstacle(gpu: GpuFacts | None, dtype: str, model: ModelFacts | None) -> str:
    """Why flash attention over packed rows cannot run on a GPU; empty when it can."""
    if gpu is None:
        return ""
    if gpu.capability < AMPERE:
        return f"{gpu.name} has compute capability {_capability(gpu)} and 8.0 is needed"
    if dtype == "fp32":
        return "it computes in 16 bits and this run in 32"
    if model is not None and model.head_dim > WIDEST_FLASH_HEAD:
        return f"this model's heads are {model.head_dim} wide and {WIDEST_FLASH_HEAD} is the limit"
    return ""


def _packing(spec: RunSpec, model: ModelFacts | None, problems: list[Problem]) -> Chosen[bool]:
    asked = spec.data.packing
    leaks = model is not None and model.state_leaks
    if leaks and model is not None and spec.data.train_on == "preferences":
        problems.append(
            error(
                "data.train_on",
                f"Preferences are to be learned, but {model.architecture} carries state along a pass, so the 2 answers "
                "of a pair would mix.",
                "Learn from the chosen answers alone, or take another base model.",
                Fix("Learn the chosen answers alone", (Edit("data.train_on", "completions"),)),
            )
        )
    if asked == "off":
        return Chosen(value=False, reason="You chose 1 row a pass.", by_user=True)
    if leaks and model is not None:
        why = f"{model.architecture} carries state along a pass, so 2 rows in one pass would mix"
        if asked == "on":
            problems.append(
                error(
                    "data.packing",
                    f"Packing is asked for, but {why}.",
                    "Train one row a pass with this model.",
                    Fix("Choose packing automatically", (Edit("data.packing", "auto"),)),
                )
            )
        return Chosen(value=False, reason=f"{why}.")
    if asked == "on":
        return Chosen(value=True, reason="You chose to pack several rows into 1 pass.", by_user=True)
    return Chosen(value=True, reason="Rows share passes without seeing each other, so 0 tokens are padding.")
