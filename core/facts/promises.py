"""Compares what a model's config promises with what its weight files hold."""

from pathlib import Path

from core.errors import UserError, error
from core.facts.linears import Layout
from core.facts.model_config import ModelConfig
from core.facts.tensors import Tensor

_SAMPLES = 16
_SAMPLE_BYTES = 65_536


def is_tied(folder: Path, config: ModelConfig, layout: Layout, assumptions: list[str]) -> bool:
    """Whether head and embeddings are one matrix once loaded, by transformers' own rule.

    Raises:
        UserError: the head is missing and the config does not allow the embeddings to serve as one.
    """
    promised = config.family.tied if config.tied is None else config.tied
    if layout.head is None:
        if promised or layout.embedding is None or (config.tied is None and not config.family.architecture):
            return True
        raise UserError(
            error(
                str(folder),
                "The weights have no output head, and config.json says that the embeddings do not serve as one "
                "(tie_word_embeddings is false).",
                "Choose the complete language model; this may be a bare encoder, a classifier or an unfinished copy.",
            )
        )
    if layout.embedding is None:
        return True
    if not promised:
        return False
    if layout.head.shape == layout.embedding.shape and _same_bytes(folder, layout.head, layout.embedding):
        return True
    assumptions.append(
        "The config says that head and embeddings are one matrix, but the files hold two different ones; both are used."
    )
    return False


def _same_bytes(folder: Path, first: Tensor, second: Tensor) -> bool:
    """Whether two tensors agree in samples spread over their whole length."""
    if first.bytes != second.bytes:
        return False
    try:
        with (folder / first.file).open("rb") as one, (folder / second.file).open("rb") as other:
            for part in range(_SAMPLES):
                start = first.bytes * part // _SAMPLES
                count = min(_SAMPLE_BYTES, first.bytes - start)
                one.seek(first.offset + start)
                other.seek(second.offset + start)
                if one.read(count) != other.read(count):
                    return False
    except OSError as failure:
        raise UserError(
            error(str(folder), f"The weights cannot be read: {failure.strerror or failure}.", "Check the files.")
        ) from failure
    return True


def check_promises(path: Path, config: ModelConfig, layout: Layout, assumptions: list[str]) -> None:
    """Compares what the config promises with what the headers hold.

    Raises:
        UserError: they contradict each other, or there are no blocks or embeddings at all.
    """
    matrix = layout.embedding or layout.head
    if matrix is None or not layout.blocks:
        missing = "blocks of layers" if matrix else "embeddings"
        raise UserError(
            error(
                str(path),
                f"No {missing} were found among the model's {len(layout.tensors):,} tensors, so this is no language "
                "model of a known build.",
                "Choose a causal language model, such as Llama, Qwen, Mistral, Gemma or SmolLM.",
            )
        )
    blocks = len(layout.blocks)
    pairs = [
        ("layers", config.num_layers, blocks),
        ("tokens in its vocabulary", config.vocab_size, matrix.shape[0]),
        ("values a token (hidden size)", config.embedding_size, matrix.shape[1]),
    ]
    lies = [
        f"the config promises {promise:,} {what}, the weights hold {found:,}"
        for what, promise, found in pairs
        if promise and promise != found
    ]
    if max(layout.blocks) != blocks - 1:
        absent = next(number for number in range(blocks) if number not in layout.blocks)
        lies.append(f"the weights of layer {absent} are missing")
    if not lies:
        return
    if not config.family.architecture:
        assumptions.append(f"Config and weights disagree: {'; '.join(lies)}. The weights are believed.")
        return
    raise UserError(
        *(
            error(
                str(path),
                f"Config and weights contradict each other: {lie}.",
                "The files belong to different models or a download is unfinished; take the model from its source.",
            )
            for lie in lies
        )
    )
