"""Every setting there is, by section. Nothing else in the project states a default, a bound or a help text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.spec.fields import Bounds, Choice, Kind, When, setting

Quantization = Literal["auto", "none", "nf4", "int8"]
ComputeDtype = Literal["auto", "bf16", "fp16", "fp32"]
RecordFormat = Literal[
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "question_answer", "preference", "feedback", "text"
]  # fmt: skip
TrainOn = Literal["completions", "last", "all", "preferences"]
Packing = Literal["auto", "on", "off"]
BadRows = Literal["stop", "skip"]
ValidationGroups = Literal["equal", "near", "file"]
TextRows = Literal["auto", "paragraphs", "lines", "file", "separator"]
Encoding = Literal[
    "auto", "utf_16", "windows_1252", "windows_1250", "windows_1251", "koi8_r", "gb18030", "big5", "shift_jis",
    "euc_jp", "euc_kr",
]  # fmt: skip
Method = Literal["lora", "rslora", "dora", "full"]
Start = Literal["default", "gaussian", "pissa", "olora"]
Schedule = Literal["cosine", "linear", "constant", "cosine_restarts", "warmup_stable_decay"]
Optimizer = Literal[
    "auto", "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "lion", "lion_8bit", "muon"
]
PreferenceLoss = Literal["dpo", "orpo"]
Result = Literal["auto", "last", "best"]
Device = Literal["auto", "cuda", "cpu"]
Attention = Literal["auto", "flash", "sdpa", "eager"]
ActivationCheckpointing = Literal["auto", "off", "layers", "all"]
Sharding = Literal["auto", "off", "base"]
Kernels = Literal["auto", "plain", "compiled", "liger"]

_ADAPTER_METHODS = ("lora", "rslora", "dora")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which base model is tuned and how its weights are held."""

    base: str = setting(
        "",
        Kind.MODEL,
        "Base model",
        "The model to start from: a folder with config.json and safetensors files, a GGUF file, or the name of a "
        "model that this application has imported (such as “starter”).",
        affects=("memory", "speed", "quality"),
    )
    quantization: Quantization = setting(
        "auto",
        Kind.CHOICE,
        "Load weights in",
        "How the frozen base weights are held in memory. Fewer bits need less memory and cost some speed.",
        choices=(
            Choice("auto", "Automatic", "16 bits where they fit, 4 bits where only those fit."),
            Choice("none", "Full precision", "The weights as they are: 16 or 32 bits each."),
            Choice("nf4", "4-bit (NF4)", "QLoRA's 4-bit NormalFloat in blocks of 64: about a quarter of the memory."),
            Choice("int8", "8-bit", "LLM.int8: about half of the memory."),
        ),
        affects=("memory", "speed"),
    )
    double_quant: bool = setting(
        True,
        Kind.FLAG,
        "Double quantization",
        "Quantizes the 4-bit scale factors as well: saves about 0.4 bits a weight at no measurable loss.",
        advanced=True,
        visible_when=When("model.quantization", ("auto", "nf4")),
        affects=("memory",),
    )
    compute_dtype: ComputeDtype = setting(
        "auto",
        Kind.CHOICE,
        "Compute in",
        "The number format of activations and matrix products.",
        choices=(
            Choice("auto", "Automatic", "bfloat16 where the hardware is fast at it, else what it is fast at."),
            Choice("bf16", "bfloat16", "16 bits with the range of 32; needs Ampere or newer, or AVX512-BF16."),
            Choice("fp16", "float16", "16 bits for older GPUs; the loss is scaled to keep small gradients alive."),
            Choice("fp32", "float32", "Exact and slow; needs twice the memory."),
        ),
        advanced=True,
        affects=("memory", "speed"),
    )
    revision: str = setting(
        "",
        Kind.TEXT,
        "Revision",
        "Commit, branch or tag of a hub model; empty takes the newest one in the cache.",
        advanced=True,
    )
    trust_remote_code: bool = setting(
        False,
        Kind.FLAG,
        "Run the model's own code",
        "Lets Python files inside the model folder run on this computer. Turn it on only for a source you trust as "
        "much as a program you would install.",
        advanced=True,
    )


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What the model learns from."""

    train: tuple[str, ...] = setting(
        (),
        Kind.FILES,
        "Training files",
        "One or more JSONL, JSON, CSV, TSV, Parquet, Arrow or text files, also packed with gzip or Zstandard, or "
        "folders of them; their rows are trained together.",
    )
    weights: Mapping[str, float] = setting(
        {},
        Kind.WEIGHTS,
        "Weights of files",
        "How often an epoch takes the rows of a file, by its path or name: 2 takes each row twice, 0.5 takes a half of "
        "them, chosen by the seed. Files without a weight count once.",
        advanced=True,
        affects=("speed", "quality"),
    )
    validation: tuple[str, ...] = setting(
        (),
        Kind.FILES,
        "Validation files",
        "Rows that are never trained, only measured. Without files a share of the training rows is held back.",
    )
    validation_share: float = setting(
        0.05,
        Kind.NUMBER,
        "Held back for validation",
        "The share of training rows that is measured instead of trained when no validation files are given.",
        bounds=Bounds(0.0, 0.5),
        usual=Bounds(0, 0.5),
        step=0.01,
        zero_means="no validation",
        affects=("speed",),
    )
    validation_groups: ValidationGroups = setting(
        "equal",
        Kind.CHOICE,
        "Kept on one side",
        "Which rows are either all trained or all measured, so that the validation loss is not flattered by rows that "
        "the model has as good as seen.",
        choices=(
            Choice("equal", "Equal rows", "Rows that say exactly the same."),
            Choice(
                "near", "Nearly equal rows", "Also rows that share four fifths of their words; takes a little longer."
            ),
            Choice("file", "Rows of one file", "Whole files are trained or measured, such as the chapters of a book."),
        ),
        advanced=True,
        affects=("speed",),
    )
    format: RecordFormat = setting(
        "auto",
        Kind.CHOICE,
        "Row format",
        "How a row becomes a conversation or a text.",
        choices=(
            Choice("auto", "Recognise", "Looks at the first rows and decides."),
            Choice("messages", "Messages", "A list of messages with role and content, as in the OpenAI format."),
            Choice("sharegpt", "ShareGPT", "A list of turns with “from” and “value”."),
            Choice("alpaca", "Alpaca", "Columns instruction, input and output."),
            Choice("prompt_completion", "Prompt and completion", "Columns prompt and completion."),
            Choice("question_answer", "Question and answer", "Columns question and answer."),
            Choice("preference", "Preference pairs", "Two answers to the same, a better and a worse one."),
            Choice("feedback", "Labelled answers", "Answers with true or false; the approved ones are trained."),
            Choice("text", "Plain text", "One column of running text; every token is trained."),
        ),
        advanced=True,
    )
    mapping: Mapping[str, str] = setting(
        {},
        Kind.MAPPING,
        "Column mapping",
        "Which column plays which part, for files with unusual names: the part (prompt, completion, chosen, "
        "rejected, system, messages or text) and the column that holds it, or a text with columns in braces, such as "
        "“{question}\\n{context}”.",
        advanced=True,
    )
    template: str = setting(
        "auto",
        Kind.TEMPLATE,
        "Chat template",
        "“auto” takes the model's own; “none” joins prompt and completion as they are; a name takes a built-in one; "
        "a path reads a Jinja file; and the text of a template is taken as it is. “+tools” behind any but the last "
        "writes calls and descriptions of tools as text.",
        advanced=True,
        affects=("quality",),
    )
    max_length: int = setting(
        2048,
        Kind.INTEGER,
        "Longest row",
        "Rows with more tokens than this are cut at the end. Longer rows need more memory.",
        unit="tokens",
        bounds=Bounds(8, 1_048_576),
        usual=Bounds(128, 8192),
        step=128,
        log=True,
        affects=("memory", "speed", "quality"),
    )
    train_on: TrainOn = setting(
        "completions",
        Kind.CHOICE,
        "Train on",
        "Which tokens carry loss.",
        choices=(
            Choice("completions", "Answers only", "The assistant's words and the end of its turn."),
            Choice("last", "Last answer", "Of a conversation only the last answer; those before it are read."),
            Choice("all", "Everything", "Prompts as well; right for running text."),
            Choice("preferences", "Preferences", "Of two answers to one prompt, to prefer the chosen to the rejected."),
        ),
        affects=("quality",),
    )
    packing: Packing = setting(
        "auto",
        Kind.CHOICE,
        "Packing",
        "Puts several rows into one pass without letting them see each other; no time goes to padding.",
        choices=(
            Choice("auto", "Automatic", "On, unless the architecture would mix rows."),
            Choice("on", "On", "Several rows a pass."),
            Choice("off", "Off", "One row a pass."),
        ),
        advanced=True,
        affects=("speed", "memory"),
    )
    text_rows: TextRows = setting(
        "auto",
        Kind.CHOICE,
        "Rows of text files",
        "What one row of a text or Markdown file is.",
        choices=(
            Choice("auto", "Automatic", "Paragraphs of a file, whole files of a folder."),
            Choice("paragraphs", "Paragraphs", "What stands between blank lines."),
            Choice("lines", "Lines", "Every line that is not blank."),
            Choice("file", "Whole files", "A file is one row."),
            Choice("separator", "Between separators", "What stands between two separators."),
        ),
        advanced=True,
    )
    text_separator: str = setting(
        "\\n---\\n",
        Kind.TEXT,
        "Separator",
        "What stands between two rows of a text file, such as <|endoftext|>; \\n is a line break and \\t a tab.",
        advanced=True,
        visible_when=When("data.text_rows", ("separator",)),
    )
    encoding: Encoding = setting(
        "auto",
        Kind.CHOICE,
        "Encoding of old files",
        "How files that are not UTF-8 are written. Tables and texts in Windows-1252 and Latin-1, and UTF-16, are "
        "recognised without it.",
        choices=(
            Choice("auto", "Recognise", "UTF-8, UTF-16, and Windows-1252 where a table or text reads well in it."),
            Choice("utf_16", "UTF-16", "Little endian, without a byte order mark."),
            Choice("windows_1252", "Western European", "Windows-1252, of which Latin-1 is all but a part."),
            Choice("windows_1250", "Central European", "Windows-1250: Polish, Czech, Hungarian and others."),
            Choice("windows_1251", "Cyrillic (Windows)", "Windows-1251: Russian, Ukrainian, Bulgarian and others."),
            Choice("koi8_r", "Cyrillic (KOI8-R)", "KOI8-R: older Russian mail and news."),
            Choice("gb18030", "Simplified Chinese", "GB 18030, with GBK and GB 2312 inside it."),
            Choice("big5", "Traditional Chinese", "Big5 with the Hong Kong characters."),
            Choice("shift_jis", "Japanese (Shift JIS)", "Windows code page 932."),
            Choice("euc_jp", "Japanese (EUC)", "EUC-JP: older Unix files."),
            Choice("euc_kr", "Korean", "Windows code page 949, with EUC-KR inside it."),
        ),
        advanced=True,
    )
    bad_rows: BadRows = setting(
        "stop",
        Kind.CHOICE,
        "Rows that cannot be read",
        "What happens when a row is broken or does not fit the format.",
        choices=(
            Choice("stop", "Name them and stop", "Nothing is trained until the file is mended."),
            Choice("skip", "Skip them", "The other rows are trained; the skipped ones are listed."),
        ),
        advanced=True,
    )
    repairs: tuple[str, ...] = setting(
        (),
        Kind.NAMES,
        "Repairs",
        "What is mended in the rows while they are read, such as merge_turns, drop_duplicates or split_long; the files "
        "stay as they are.",
        zero_means="the rows as they are",
        advanced=True,
        affects=("quality",),
    )
    max_rows: int = setting(
        0,
        Kind.INTEGER,
        "Use at most",
        "Trains only this many rows, chosen by the seed; for a quick try on a large set.",
        unit="rows",
        bounds=Bounds(0, None),
        zero_means="all rows",
        advanced=True,
        affects=("speed",),
    )


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """What is trained: low-rank adapters on chosen modules, or everything."""

    method: Method = setting(
        "lora",
        Kind.CHOICE,
        "Method",
        "How the model is changed.",
        choices=(
            Choice("lora", "LoRA", "Adds (alpha/rank)·B·A to chosen weights; the base stays frozen."),
            Choice("rslora", "rsLoRA", "LoRA scaled by alpha/√rank: steadier at high ranks."),
            Choice("dora", "DoRA", "LoRA that learns length and direction apart: a little better, slower."),
            Choice("full", "Full fine-tuning", "Trains every weight; needs about ten times the memory."),
        ),
        affects=("memory", "speed", "quality"),
    )
    rank: int = setting(
        16,
        Kind.INTEGER,
        "Rank",
        "The width of the adapters. More rank learns more and needs more memory; 8 to 64 serves most tasks.",
        bounds=Bounds(1, 1024),
        usual=Bounds(1, 256),
        step=1,
        log=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "quality", "disk"),
    )
    alpha: float = setting(
        32.0,
        Kind.NUMBER,
        "Alpha",
        "The strength of the adapters: their output is multiplied by alpha/rank. Twice the rank is a good start.",
        bounds=Bounds(0.001, 8192.0),
        usual=Bounds(1, 512),
        step=1,
        log=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("quality",),
    )
    dropout: float = setting(
        0.0,
        Kind.NUMBER,
        "Dropout",
        "The share of adapter inputs that is zeroed at random. 0 is fastest; small sets may gain from 0.05.",
        bounds=Bounds(0.0, 0.9),
        usual=Bounds(0, 0.5),
        step=0.05,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "speed", "quality"),
    )
    targets: tuple[str, ...] = setting(
        ("all-linear",),
        Kind.NAMES,
        "Target modules",
        "Which linear layers get adapters: “all-linear” (all but the head), “attention”, “mlp”, or module names such "
        "as q_proj. With layers before it, such as 0-11.q_proj, a name means only those.",
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "speed", "quality", "disk"),
    )
    layers: str = setting(
        "all",
        Kind.TEXT,
        "Layers",
        "Which blocks get adapters: “all”, “last 8”, “first 4”, or numbers such as “0-11, 20”.",
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "quality", "disk"),
    )
    rank_pattern: Mapping[str, int] = setting(
        {},
        Kind.RANKS,
        "Ranks by module",
        "Other ranks for some modules: a module name (down_proj), or layers and a name (11.down_proj, 0-7.down_proj) "
        "and its rank.",
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "quality", "disk"),
    )
    modules_to_save: tuple[str, ...] = setting(
        (),
        Kind.NAMES,
        "Modules trained in full",
        "Modules that are trained as they are beside the adapters, such as embed_tokens and lm_head for new tokens.",
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("memory", "disk"),
    )
    start: Start = setting(
        "default",
        Kind.CHOICE,
        "Adapters begin as",
        "What A and B are before the first step. PiSSA and OLoRA take them out of the weights, which are trained the "
        "less for it; the finished adapter fits the unchanged base model all the same, at twice the rank.",
        choices=(
            Choice("default", "Nothing", "A is random and B zero, so that the model answers as before."),
            Choice("gaussian", "Nothing, from a bell curve", "The same with another distribution of A."),
            Choice("pissa", "Principal parts", "PiSSA: the largest singular vectors of each weight; often faster."),
            Choice("olora", "Orthonormal parts", "OLoRA: a part of each weight's QR decomposition."),
        ),
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("quality", "disk"),
    )
    start_from: str = setting(
        "",
        Kind.TEXT,
        "Go on from",
        "A finished run, or the folder of a PEFT adapter, whose weights the training begins with; optimizer and "
        "schedule begin anew. Base model, rank and target modules must be those of the adapter.",
        zero_means="adapters begin anew",
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("quality",),
    )
    b_rate_ratio: float = setting(
        1.0,
        Kind.NUMBER,
        "Rate of B",
        "How many times faster B learns than A (LoRA+); 1 is usual, and 16 goes with a lower learning rate.",
        bounds=Bounds(0.01, 1000.0),
        usual=Bounds(1, 64),
        log=True,
        advanced=True,
        visible_when=When("adapter.method", _ADAPTER_METHODS),
        affects=("quality",),
    )


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """How long, how fast and how carefully."""

    epochs: float = setting(
        2.0,
        Kind.NUMBER,
        "Epochs",
        "How often every row is seen. One to three are usual; small sets overfit soon after.",
        bounds=Bounds(0.01, 1000.0),
        step=0.5,
        visible_when=When("training.max_steps", (0,)),
        affects=("speed", "quality"),
    )
    max_steps: int = setting(
        0,
        Kind.INTEGER,
        "Steps",
        "Trains exactly this many optimizer steps, whatever the number of epochs.",
        unit="steps",
        bounds=Bounds(0, 10_000_000),
        zero_means="as many as the epochs need",
        advanced=True,
        affects=("speed",),
    )
    effective_batch: int = setting(
        16,
        Kind.INTEGER,
        "Rows a step",
        "How many rows one optimizer step learns from. It does not change memory: rows are worked off in parts.",
        unit="rows",
        bounds=Bounds(1, 65_536),
        log=True,
        affects=("speed", "quality"),
    )
    micro_batch_tokens: int = setting(
        0,
        Kind.INTEGER,
        "Tokens a pass",
        "How many tokens go through the model at once. More is faster until the hardware is busy, and needs memory.",
        unit="tokens",
        bounds=Bounds(0, 1_048_576),
        step=512,
        zero_means="automatic",
        advanced=True,
        affects=("memory", "speed"),
    )
    learning_rate: float = setting(
        2e-4,
        Kind.NUMBER,
        "Learning rate",
        "The size of each step. 2e-4 suits LoRA, 2e-5 full fine-tuning; halve it when the loss jumps.",
        bounds=Bounds(1e-8, 1.0),
        usual=Bounds(1e-6, 1e-2),
        log=True,
        affects=("quality",),
    )
    schedule: Schedule = setting(
        "cosine",
        Kind.CHOICE,
        "Schedule",
        "How the learning rate moves after the warm-up.",
        choices=(
            Choice("cosine", "Cosine", "Falls to zero along half a cosine."),
            Choice("linear", "Linear", "Falls to zero along a line."),
            Choice("constant", "Constant", "Stays where it is."),
            Choice(
                "cosine_restarts", "Cosine with restarts", "Falls along half a cosine, jumps back, and falls again."
            ),
            Choice("warmup_stable_decay", "Stable, then decay", "Stays, and falls to zero at the end of the run."),
        ),
        affects=("quality",),
    )
    cycles: int = setting(
        2,
        Kind.INTEGER,
        "Cycles",
        "How often the learning rate falls; each fall but the first begins with a jump back to the full rate.",
        bounds=Bounds(1, 1000),
        usual=Bounds(1, 10),
        step=1,
        advanced=True,
        visible_when=When("training.schedule", ("cosine_restarts",)),
        affects=("quality",),
    )
    decay: float = setting(
        0.2,
        Kind.NUMBER,
        "Decay",
        "The share of steps, at the end, in which the learning rate falls to zero. A tenth to a fifth is usual.",
        bounds=Bounds(0.0, 1.0),
        step=0.05,
        advanced=True,
        visible_when=When("training.schedule", ("warmup_stable_decay",)),
        affects=("quality",),
    )
    warmup: float = setting(
        0.05,
        Kind.NUMBER,
        "Warm-up",
        "The share of steps in which the learning rate rises from zero.",
        bounds=Bounds(0.0, 0.5),
        step=0.01,
        affects=("quality",),
    )
    extensions: tuple[str, ...] = setting(
        (),
        Kind.NAMES,
        "Extensions",
        "Where the run was extended: the step after which warm-up and schedule begin anew, and the learning rate that "
        "they begin at, such as “120: 0.0001”, and a schedule if it is another one. Extending a run writes it.",
        zero_means="the run is trained in one go",
        advanced=True,
        affects=("quality",),
    )
    weight_decay: float = setting(
        0.0,
        Kind.NUMBER,
        "Weight decay",
        "Pulls weights towards zero (AdamW's decoupled decay). Adapters rarely need it.",
        bounds=Bounds(0.0, 1.0),
        step=0.01,
        advanced=True,
        affects=("quality",),
    )
    optimizer: Optimizer = setting(
        "auto",
        Kind.CHOICE,
        "Optimizer",
        "The rule that turns gradients into steps and the memory it keeps.",
        choices=(
            Choice("auto", "Automatic", "AdamW for adapters; paged 8-bit AdamW where full fine-tuning would not fit."),
            Choice("adamw", "AdamW", "Fused AdamW with 32-bit states."),
            Choice("adamw_8bit", "8-bit AdamW", "States in 8 bits: a quarter of the memory."),
            Choice("paged_adamw", "Paged AdamW", "32-bit states that move to RAM when the GPU is full."),
            Choice("paged_adamw_8bit", "Paged 8-bit AdamW", "8-bit states that move to RAM when the GPU is full."),
            Choice("adafactor", "Adafactor", "Keeps sums of rows and columns only: next to no memory."),
            Choice("lion", "Lion", "Keeps one 32-bit state; wants a fifth of AdamW's learning rate."),
            Choice("lion_8bit", "8-bit Lion", "Keeps one 8-bit state; wants a fifth of AdamW's learning rate."),
            Choice("muon", "Muon", "Turns the steps of whole matrices; made for full fine-tuning, AdamW for the rest."),
        ),
        advanced=True,
        affects=("memory", "speed"),
    )
    preference_loss: PreferenceLoss = setting(
        "dpo",
        Kind.CHOICE,
        "Preference loss",
        "How a pair of answers is learned from.",
        choices=(
            Choice("dpo", "DPO", "Prefers the chosen answer more than the model did when the run began."),
            Choice("orpo", "ORPO", "Learns the chosen answer and prefers it in one go; made for untuned base models."),
        ),
        visible_when=When("data.train_on", ("preferences",)),
        affects=("quality", "speed"),
    )
    preference_beta: float = setting(
        0.1,
        Kind.NUMBER,
        "Preference beta",
        "With DPO how closely the model stays to what it was: more keeps it closer. With ORPO how much the preference "
        "counts beside learning the chosen answer (lambda in its paper).",
        bounds=Bounds(1e-4, 100.0),
        usual=Bounds(0.01, 1.0),
        log=True,
        visible_when=When("data.train_on", ("preferences",)),
        affects=("quality",),
    )
    chosen_weight: float = setting(
        0.0,
        Kind.NUMBER,
        "Weight of the chosen answer",
        "With DPO how much learning the chosen answer itself counts beside the preference. More keeps it from becoming "
        "less likely together with the rejected one; 0.2 to 1 are usual.",
        bounds=Bounds(0.0, 100.0),
        usual=Bounds(0.0, 2.0),
        step=0.1,
        zero_means="the preference alone",
        advanced=True,
        visible_when=When("data.train_on", ("preferences",)),
        affects=("quality",),
    )
    max_grad_norm: float = setting(
        1.0,
        Kind.NUMBER,
        "Gradient clipping",
        "Gradients longer than this are shortened to it before the step.",
        bounds=Bounds(0.0, 1000.0),
        step=0.1,
        zero_means="no clipping",
        advanced=True,
        affects=("quality",),
    )
    embedding_noise: float = setting(
        0.0,
        Kind.NUMBER,
        "Noise on embeddings",
        "Random noise on the tokens' embeddings while the model learns (NEFTune), which can make answers to short "
        "sets of instructions fuller; 5 to 15 are usual.",
        bounds=Bounds(0.0, 100.0),
        usual=Bounds(0, 20),
        step=1,
        zero_means="none",
        advanced=True,
        affects=("quality",),
    )
    seed: int = setting(
        42,
        Kind.INTEGER,
        "Seed",
        "Fixes the order of rows, the adapters' start and all other chance. The same seed gives the same run.",
        bounds=Bounds(0, 2**32 - 1),
        advanced=True,
    )
    evaluate_every: int = setting(
        0,
        Kind.INTEGER,
        "Evaluate every",
        "How often the validation loss is measured. It is always measured at the start and at the end.",
        unit="steps",
        bounds=Bounds(0, 10_000_000),
        zero_means="about ten times a run",
        advanced=True,
        affects=("speed",),
    )
    early_stopping: int = setting(
        0,
        Kind.INTEGER,
        "Stop early after",
        "Ends the run when the validation loss has not improved in this many evaluations.",
        unit="evaluations",
        bounds=Bounds(0, 1000),
        zero_means="never",
        advanced=True,
        affects=("quality",),
    )
    checkpoint_minutes: float = setting(
        10.0,
        Kind.NUMBER,
        "Save every",
        "How often the whole state of the run is saved, so that a crash or power cut costs at most this much.",
        unit="minutes",
        bounds=Bounds(0.0, 1440.0),
        step=1,
        zero_means="only at the end and on Stop",
        advanced=True,
        affects=("disk",),
    )
    keep_checkpoints: int = setting(
        2,
        Kind.INTEGER,
        "Keep saved states",
        "How many of the newest checkpoints stay on disk.",
        bounds=Bounds(1, 1000),
        advanced=True,
        affects=("disk",),
    )
    keep_best: bool = setting(
        True,
        Kind.FLAG,
        "Keep the best state",
        "Saves the state whenever the validation loss is lower than before, and keeps the best one beside the newest.",
        advanced=True,
        affects=("disk",),
    )
    result: Result = setting(
        "auto",
        Kind.CHOICE,
        "Finished model",
        "Which state the finished model is made of.",
        choices=(
            Choice("auto", "Automatic", "The best state of a run that may stop early, else the last one."),
            Choice("last", "Last state", "What has learned from all steps."),
            Choice("best", "Best state", "The one with the lowest validation loss; it has to be kept."),
        ),
        advanced=True,
        affects=("quality",),
    )
    max_bad_steps: int = setting(
        5,
        Kind.INTEGER,
        "Give up after",
        "Ends the run when the loss or the gradients were not finite in this many steps in a row. Such steps change "
        "nothing.",
        unit="steps",
        bounds=Bounds(1, 1000),
        advanced=True,
    )
    sample_prompts: tuple[str, ...] = setting(
        (),
        Kind.PARAGRAPHS,
        "Sample prompts",
        "Prompts that the model answers before, during and after the training, so that the change can be read.",
    )
    sample_every: int = setting(
        0,
        Kind.INTEGER,
        "Sample every",
        "How often the prompts are answered during the training.",
        unit="steps",
        bounds=Bounds(0, 10_000_000),
        zero_means="only before and after",
        advanced=True,
        affects=("speed",),
    )
    sample_tokens: int = setting(
        80,
        Kind.INTEGER,
        "Sample length",
        "The longest answer to a sample prompt.",
        unit="tokens",
        bounds=Bounds(1, 4096),
        advanced=True,
        affects=("speed",),
    )


@dataclass(frozen=True, slots=True)
class HardwareSpec:
    """Where and how the work is done; none of it changes what is learned."""

    device: Device = setting(
        "auto",
        Kind.CHOICE,
        "Device",
        "What computes.",
        choices=(
            Choice("auto", "Automatic", "The GPU with the most free memory, else the processor."),
            Choice("cuda", "NVIDIA GPU", "Refuses to start without one."),
            Choice("cpu", "Processor", "Slow but everywhere; fit for models up to about 2 B parameters."),
        ),
        affects=("speed", "memory"),
    )
    attention: Attention = setting(
        "auto",
        Kind.CHOICE,
        "Attention",
        "The kernel that computes attention. The one that really ran is shown in the run.",
        choices=(
            Choice("auto", "Automatic", "Flash attention wherever the hardware and the model allow it."),
            Choice("flash", "Flash", "Flash attention or a refusal with the reason."),
            Choice("sdpa", "PyTorch SDPA", "PyTorch chooses the kernel; rows are separated by a mask."),
            Choice("eager", "Plain", "The definition, written out: slow, for comparison."),
        ),
        advanced=True,
        affects=("speed", "memory"),
    )
    activation_checkpointing: ActivationCheckpointing = setting(
        "auto",
        Kind.CHOICE,
        "Activation checkpointing",
        "Forgets activations and computes them again in the backward pass: less memory, up to half more time.",
        choices=(
            Choice("auto", "Automatic", "Only as many layers as memory demands."),
            Choice("off", "Off", "Fastest, needs the most memory."),
            Choice("layers", "Some layers", "The first so many layers."),
            Choice("all", "All layers", "Needs the least memory."),
        ),
        advanced=True,
        affects=("memory", "speed"),
    )
    checkpointed_layers: int = setting(
        0,
        Kind.INTEGER,
        "Checkpointed layers",
        "How many layers are computed again in the backward pass.",
        unit="layers",
        bounds=Bounds(0, 10_000),
        advanced=True,
        visible_when=When("hardware.activation_checkpointing", ("layers",)),
        affects=("memory", "speed"),
    )
    processes: int = setting(
        1,
        Kind.INTEGER,
        "Processes",
        "How many engine processes share the work, one for each GPU.",
        bounds=Bounds(1, 1024),
        advanced=True,
        affects=("speed",),
    )
    threads: int = setting(
        0,
        Kind.INTEGER,
        "Processor threads",
        "How many threads the engine computes with.",
        unit="threads",
        bounds=Bounds(0, 1024),
        zero_means="all physical cores",
        advanced=True,
        affects=("speed",),
    )
    deterministic: bool = setting(
        False,
        Kind.FLAG,
        "Deterministic kernels",
        "Uses only kernels that give the same bits every time; slower on a GPU, always so on the processor.",
        advanced=True,
        affects=("speed",),
    )
    sharding: Sharding = setting(
        "auto",
        Kind.CHOICE,
        "Spread the base model",
        "Whether several processes share one base model in 16 or 32 bits instead of holding one each: less memory for "
        "each, and more to send between them in every pass.",
        choices=(
            Choice("auto", "Automatic", "Only where a whole base model in each process does not fit."),
            Choice("off", "A whole one for each", "Every process holds all weights, in 4 bits if need be."),
            Choice("base", "Shared", "Each holds its share of every layer, which is whole only while it computes."),
        ),
        advanced=True,
        affects=("memory", "speed"),
    )
    kernels: Kernels = setting(
        "auto",
        Kind.CHOICE,
        "Layer kernels",
        "How the layers compute what lies between their matrix products. Other forms than the plain one are tried on "
        "the run's first rows and used only where losses and gradients agree.",
        choices=(
            Choice("auto", "Automatic", "On a GPU, in a run that lasts, what turns out to be the fastest; else plain."),
            Choice("plain", "Plain", "PyTorch's own kernels, one after another."),
            Choice("compiled", "Compiled", "Each layer compiled by PyTorch, which takes some minutes at the start."),
            Choice("liger", "Liger", "Fused kernels of the package liger-kernel, on NVIDIA GPUs."),
        ),
        advanced=True,
        affects=("speed", "memory"),
    )


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Where the run goes and what it is called."""

    name: str = setting(
        "",
        Kind.TEXT,
        "Run name",
        "What the run is called in lists; empty makes one from the model, the data and the time.",
    )
    folder: str = setting(
        "",
        Kind.FOLDER,
        "Runs folder",
        "The folder in which the run's own folder is made.",
        zero_means="the application's runs folder",
        advanced=True,
        affects=("disk",),
    )
