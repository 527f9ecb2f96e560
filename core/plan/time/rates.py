"""How fast a device does each part of the work, and what it draws from the wall meanwhile.

A GPU runs its kernels one after another: products at the share of the data sheet's throughput that long products reach
(or at what the board's power allows, where that is less), everything else at a share of the memory's bandwidth. While
it computes, the processor starts the next kernels; a small model waits for that instead.

GPU constants were set so that published runs come out; each says something about hardware and is the same for every
model: IBM's fms-acceleration on A100-80GB and L40 (Mistral-7B and Llama-2-70B; full, LoRA and QLoRA; rows of 4096
tokens). torchtune on an RTX 4090 is a check from outside; it compiles its kernels and is faster than is counted here.
Processor constants are those of one core of an EPYC with AVX512-BF16 at 2.6 GHz, from 20 settings of the engine's own
step on SmolLM2-135M, made 13 % faster than they were measured beside other work: undisturbed, two such cores learned
450 to 515 tokens a second. The tests hold the sums to all of these.
"""

from dataclasses import dataclass

from core.facts.types import CpuFacts, GpuFacts
from core.plan.cards import AMPERE, Card, card_of
from core.plan.time.work import Work
from core.units import SECONDS_PER_HOUR

# --- GPUs

# The share of the data sheet's throughput that products of thousands of rows reach, where power allows.
PRODUCT_SHARE = 0.95
# 10^12 operations for each watt that the board may draw: what limits dense cards instead. By capability, newest first.
OPERATIONS_PER_WATT = (
    ((12, 0), 1.00),
    ((10, 0), 1.55),
    ((9, 0), 0.95),
    ((8, 9), 0.85),
    ((8, 6), 0.45),
    ((8, 0), 0.58),
    ((7, 5), 0.42),
    ((7, 0), 0.33),
)
OLDEST_PER_WATT = 0.05
ATTENTION_SHARE = 0.6
TRAFFIC_SHARE = 0.8
# The caches of these generations are so large that a kernel finds part of what the last one wrote.
CACHED_SHARE = 1.2
CACHED = ((8, 9), (12, 0), (12, 1))
# Unpacking reads half a byte and writes two, by kernels that do many operations for each element.
UNPACK_BYTES = 2.5
UNPACK_SHARE = 0.13
# Starting the kernels of a layer and of an adapter around one projection, forward and backward, in Python and PyTorch.
GPU_LAYER_SECONDS = 1.0e-3
GPU_MODULE_SECONDS = 0.12e-3
GPU_CALL_SECONDS = 0.06e-3
# Share of the board's power: while kernels run one after another, and while it waits for the next one.
POWER_BUSY = 0.85
POWER_WAITING = 0.30
# What a counted time may be off by while nothing was measured: our engine has not run on most of these cards.
LISTED_BAND = (0.65, 1.7)
UNLISTED_BAND = (0.4, 2.5)
# For a GPU whose name is not listed: (capability, TFLOP/s, fp32 TFLOP/s, bytes a second) of a mid-range card.
UNLISTED = (
    ((12, 0), 60.0, 30.0, 670e9),
    ((10, 0), 1500.0, 75.0, 7000e9),
    ((9, 0), 750.0, 50.0, 2000e9),
    ((8, 9), 58.0, 29.0, 500e9),
    ((8, 0), 40.0, 20.0, 450e9),
    ((7, 0), 30.0, 7.0, 450e9),
    ((0, 0), 6.0, 6.0, 250e9),
)

# --- processors: one core with AVX512-BF16, in operations, bytes or elements a second, and seconds for each start

CPU_PRODUCTS = 215e9
CPU_NARROW = 170e9
CPU_ATTENTION = 95e9
CPU_TRAFFIC = 10.5e9
CPU_WEIGHTS = 10e9
CPU_UNPACKED = 0.8e9
CPU_LAYER_SECONDS = 0.8e-3
CPU_MODULE_SECONDS = 0.25e-3
CPU_CALL_SECONDS = 0.8e-3
# Products in other number formats and with other instructions, as parts of that. fp32 was measured; half of it for the
# half as wide vectors of AVX2, a third of that where numbers are converted first (the planner warns of it), and twice
# for AMX's tiles are guesses, for which the band is wide.
CPU_FP32, CPU_AVX2, CPU_PLAIN, CPU_AMX, CPU_EMULATED = 0.55, 0.25, 0.08, 2.0, 0.3
# Memory is shared: from this many cores on, more of them move no more bytes.
CPU_TRAFFIC_CORES = 6
MEASURED_BAND = (0.7, 1.7)
OTHER_CPU_BAND = (0.45, 2.2)


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device does in a second, by the parts of `Work`.

    Attributes:
        layer_seconds, module_seconds, call_seconds: starting the kernels of a layer, an adapter, an attention call.
        overlapped: kernels are started while earlier ones run, so only the longer of the two counts.
        watts: at most; 0 where it is not known.
        low, high: ends of the band around a counted time, as multiples of it, while nothing was measured.
        source: the part of a sentence that says where the numbers come from.
    """

    products: float
    narrow: float
    attention: float
    traffic: float
    weights: float
    unpacked: float
    layer_seconds: float
    module_seconds: float
    call_seconds: float
    overlapped: bool
    watts: float
    low: float
    high: float
    source: str

    def busy(self, work: Work) -> float:
        """Seconds in which the device computes or moves."""
        return (
            work.products / self.products
            + work.narrow / self.narrow
            + work.attention / self.attention
            + work.traffic / self.traffic
            + work.weights / self.weights
            + work.unpacked / self.unpacked
        )

    def starting(self, work: Work) -> float:
        """Seconds in which the processor starts kernels."""
        return work.layers * self.layer_seconds + work.modules * self.module_seconds + work.calls * self.call_seconds

    def seconds(self, work: Work) -> float:
        """How long the work takes."""
        busy, starting = self.busy(work), self.starting(work)
        return max(busy, starting) if self.overlapped else busy + starting

    def watt_hours(self, work: Work) -> float:
        """Energy that the device takes for the work; 0 where its power is not known."""
        busy, seconds = self.busy(work), self.seconds(work)
        waiting = max(0.0, seconds - busy)
        return self.watts * (POWER_BUSY * min(busy, seconds) + POWER_WAITING * waiting) / SECONDS_PER_HOUR

    def waiting_watt_hours(self, seconds: float) -> float:
        """Energy that the device takes while it waits for files."""
        return self.watts * POWER_WAITING * seconds / SECONDS_PER_HOUR


def rates_of(gpu: GpuFacts | None, cpu: CpuFacts, dtype: str, threads: int) -> Rates:
    """What the device that trains does in this number format: the GPU, or the processor where there is none."""
    return _cpu_rates(cpu, dtype, threads) if gpu is None else _gpu_rates(gpu, dtype)


def _gpu_rates(gpu: GpuFacts, dtype: str) -> Rates:
    """What a GPU does in this number format."""
    card = card_of(gpu)
    tflops, single, bandwidth, watts = _sheet(gpu, card)
    narrow_format = dtype in ("bf16", "fp16")
    slow = dtype == "bf16" and gpu.capability < AMPERE
    peak = (tflops if narrow_format and not slow else single) * 1e12
    per_watt = next((value for oldest, value in OPERATIONS_PER_WATT if gpu.capability >= oldest), OLDEST_PER_WATT)
    products = PRODUCT_SHARE * peak
    if watts and narrow_format and not slow:
        products = min(products, watts * per_watt * 1e12)
    if card is not None and card.invented:
        source = f"cards with {card.gigabytes:g} GB ({tflops:,.0f} TFLOP/s, {bandwidth / 1e9:,.0f} GB/s)"
    elif card is not None:
        source = f"the data sheet of {card.name} ({tflops:,.0f} TFLOP/s, {bandwidth / 1e9:,.0f} GB/s)"
    else:
        source = f"cards of compute capability {gpu.capability[0]}.{gpu.capability[1]} ({tflops:,.0f} TFLOP/s)"
    return Rates(
        products=products,
        narrow=products / 4,
        attention=ATTENTION_SHARE * peak,
        traffic=(CACHED_SHARE if gpu.capability in CACHED else TRAFFIC_SHARE) * bandwidth,
        weights=TRAFFIC_SHARE * bandwidth,
        unpacked=UNPACK_SHARE * bandwidth / UNPACK_BYTES,
        layer_seconds=GPU_LAYER_SECONDS,
        module_seconds=GPU_MODULE_SECONDS,
        call_seconds=GPU_CALL_SECONDS,
        overlapped=True,
        watts=watts,
        low=LISTED_BAND[0] if card else UNLISTED_BAND[0],
        high=LISTED_BAND[1] if card else UNLISTED_BAND[1],
        source=source,
    )


def _sheet(gpu: GpuFacts, card: Card | None) -> tuple[float, float, float, float]:
    if card is not None:
        return card.tflops, card.fp32_tflops, card.bandwidth, card.watts
    for oldest, tflops, single, bandwidth in UNLISTED:
        if gpu.capability >= oldest:
            return tflops, single, bandwidth, 0.0
    raise AssertionError("the last row fits every capability")


def _cpu_rates(cpu: CpuFacts, dtype: str, threads: int) -> Rates:
    cores = max(1, min(threads, cpu.physical_cores))
    part = _part(cpu, dtype)
    moving = min(cores, CPU_TRAFFIC_CORES)
    known = cpu.avx512_bf16 and dtype in ("bf16", "fp32")
    return Rates(
        products=cores * part * CPU_PRODUCTS,
        narrow=cores * part * CPU_NARROW,
        attention=cores * part * CPU_ATTENTION,
        traffic=moving * CPU_TRAFFIC,
        weights=moving * CPU_WEIGHTS,
        unpacked=cores * CPU_UNPACKED,
        layer_seconds=CPU_LAYER_SECONDS,
        module_seconds=CPU_MODULE_SECONDS,
        call_seconds=CPU_CALL_SECONDS,
        overlapped=False,
        watts=0.0,
        low=MEASURED_BAND[0] if known else OTHER_CPU_BAND[0],
        high=MEASURED_BAND[1] if known else OTHER_CPU_BAND[1],
        source=f"{cores} cores of about {part * CPU_PRODUCTS / 1e9:,.0f} GFLOP/s each",
    )


def _part(cpu: CpuFacts, dtype: str) -> float:
    """The speed of a core's products in this format, as a part of bfloat16 on AVX512-BF16."""
    if dtype == "bf16" and cpu.amx_bf16:
        return CPU_AMX
    if dtype == "bf16" and cpu.avx512_bf16:
        return 1.0
    plain = CPU_FP32 if cpu.avx512_bf16 else CPU_AVX2 if cpu.avx2 else CPU_PLAIN
    return plain if dtype == "fp32" else plain * CPU_EMULATED
