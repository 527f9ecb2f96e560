"""Facts as plain records: all that the planner may know. No I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["attention", "mlp", "head", "other"]
DeviceKind = Literal["cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One NVIDIA GPU as the driver describes it now."""

    index: int
    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int
    driver: str = ""


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What a device does now; None where its driver does not say.

    Attributes:
        busy: share of the last moments in which a kernel of a GPU ran, in percent.
    """

    name: str
    used_bytes: int
    total_bytes: int
    busy: int | None = None
    celsius: int | None = None
    watts: float | None = None


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """The processor; the flags decide whether bfloat16 is fast (AVX512-BF16, AMX) and 4-bit kernels exist."""

    name: str
    physical_cores: int
    logical_cores: int
    avx2: bool = False
    avx512_bf16: bool = False
    amx_bf16: bool = False


@dataclass(frozen=True, slots=True)
class HardwareFacts:
    """This machine, now; `problems` says in sentences what could not be found out, such as a driver's bad answer."""

    cpu: CpuFacts
    gpus: tuple[GpuFacts, ...]
    ram_total_bytes: int
    ram_free_bytes: int
    disk_free_bytes: int
    system: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinearFacts:
    """One linear layer of the base model.

    Attributes:
        name: full module path, such as ``model.layers.0.self_attn.q_proj``.
        layer: number of the block it belongs to; None outside the blocks.
        fused: the parts of a fused projection, such as ("q", "k", "v"); empty for plain ones.
        conv1d: GPT-2's transposed weight, (in, out) instead of (out, in).
        adaptable: PEFT can put an adapter on it.
    """

    name: str
    layer: int | None
    role: Role
    in_features: int
    out_features: int
    bias: bool = False
    fused: tuple[str, ...] = ()
    conv1d: bool = False
    adaptable: bool = True

    @property
    def short_name(self) -> str:
        """The last part of the name, which is what people call it."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A base model as its files describe it; every count is exact, from headers.

    Attributes:
        path: the folder (or GGUF file) that holds it.
        family: ``model_type`` of config.json.
        architecture: the class that transformers will load.
        parameters: all parameters, tied ones counted once.
        embedding_parameters: those of the input embeddings (vocab x hidden, plus learned positions).
        linear_parameters: those of the weight matrices in `linears`, the head left out when tied.
        bytes_on_disk: size of the weight files.
        dtype: the format most weights are stored in, in safetensors' words: "BF16", "F16", "F32".
        prequantized: the name of a quantization the files already carry; empty for plain weights.
        experts, active_experts, expert_size: of a mixture of experts, how many there are in a layer, how many a token
            goes through, and the inner width of one; 0 for other models.
        residual_dropout, attention_dropout: shares that the model's own config drops while it is trained.
        state_leaks: the architecture carries state along a row (Mamba, linear attention), so rows must not be packed.
        template: the chat template's source text; empty where there is none.
        template_origin: where it came from: a file's name, or empty.
        remote_code: the folder wants its own Python files to run.
        fingerprint: hash of config and headers; the same model has the same one anywhere.
        assumptions: what had to be guessed, a sentence each; empty for the families that are known.
        notes: what else is worth knowing about it, a sentence each.
        here: its files are on this computer; false for facts from the catalogue, which are good for planning alone.
        embedding: full module path of the input embeddings.
        positions: the same of learned positions; empty where there are none.
    """

    path: str
    family: str
    architecture: str
    parameters: int
    embedding_parameters: int
    linear_parameters: int
    bytes_on_disk: int
    dtype: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    tied_embeddings: bool
    linears: tuple[LinearFacts, ...]
    weight_files: tuple[str, ...] = ()
    prequantized: str = ""
    sliding_window: int = 0
    experts: int = 0
    active_experts: int = 0
    expert_size: int = 0
    residual_dropout: float = 0.0
    attention_dropout: float = 0.0
    state_leaks: bool = False
    licence: str = ""
    template: str = ""
    template_origin: str = ""
    remote_code: bool = False
    fingerprint: str = ""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    here: bool = True
    embedding: str = "model.embed_tokens"
    positions: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One data file: where it is, what it holds, and the hash of its bytes.

    Attributes:
        weight: how often an epoch takes its rows.
        epoch_rows: how many rows of it an epoch trains, repeated ones counted as often; 0 for validation files.
    """

    path: str
    format: str
    rows: int
    bytes: int
    sha256: str
    weight: float = 1.0
    epoch_rows: int = 0


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """Token counts of one set of rows, after cutting at the longest allowed row.

    Attributes:
        histogram: upper edge of each length bin -> rows in it.
        longest_uncut: tokens of the longest row before it was cut, of a pair of answers those of the longer one with
            its prompt, for each is cut by itself; 0 where nobody counted.
        longest_document: the same after the cut.
    """

    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    median: int
    p95: int
    truncated_rows: int
    lost_tokens: int
    histogram: Mapping[str, int]
    longest_uncut: int = 0
    longest_document: int = 0


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The data as the engine will see it.

    Attributes:
        shape: the recognised row format, one of `core.spec.sections.RecordFormat` without "auto".
        shape_reason: why it was recognised as that.
        template_name: "model", "none", a built-in's name or a file's path.
        skipped_rows: broken or empty rows left out because the spec says so.
        fully_masked_rows: rows left out because none of their tokens would carry loss.
        repaired: how many rows each repair of ``data.repairs`` changed or left out.
        fingerprint: hash over files, shape, mapping, template, length limit and tokenizer: same value, same tokens.
    """

    files: tuple[FileFacts, ...]
    shape: str
    shape_reason: str
    template_name: str
    train: LengthFacts
    validation: LengthFacts
    skipped_rows: int = 0
    fully_masked_rows: int = 0
    fingerprint: str = ""
    repaired: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """What earlier runs measured on one device; newest values last.

    Attributes:
        device: the GPU's name as the driver says it, or the processor's.
        residuals: (measured - predicted) / predicted peak memory.
        outside_bytes: what the system showed for the process beyond the allocated peak (context, allocator's cache).
        speeds: measured over predicted seconds of a step, before any correction.
    """

    device: str
    residuals: tuple[float, ...] = ()
    outside_bytes: tuple[int, ...] = ()
    speeds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known when a plan is made; a part that is not known yet is None and the plan says so.

    Attributes:
        records: what earlier runs measured, by device; empty on a computer that has not trained yet.
    """

    hardware: HardwareFacts
    model: ModelFacts | None = None
    data: DataFacts | None = None
    records: tuple[DeviceRecord, ...] = ()
