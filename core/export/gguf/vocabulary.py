"""A model's tokens as GGUF files hold them: texts, kinds, merges or scores, special ids, and the chat template.

Read from the tokenizer's own files and never through ``AutoTokenizer``, which takes another class, and with it other
ids, for the same files beside another ``config.json``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.export.gguf.preparing import composes, space_prefix, strips_behind
from core.export.gguf.sentencepiece import read_pieces
from core.export.gguf.splitting import pre_tokenizer_name
from core.facts.json_files import read_json_object

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""ggml's kinds of tokens (llama.h, ``llama_token_type``)."""

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_SETTINGS, _TOKENIZER, _PIECES, _TEMPLATE = (
    "tokenizer_config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL)
_UNLIKELY = -1000.0


@dataclass(slots=True)
class Vocabulary:
    """All that a GGUF file says of a tokenizer.

    Attributes:
        model: "gpt2" for byte-level tokens with merges, "llama" for SentencePiece with scores.
        pre: name of the way to split text.
        tokens, kinds: by id.
        scores: by id; of SentencePiece only.
        merges: "left right", the first to be done first; of byte-level tokens only.
        special: "bos", "eos" … -> id.
        add_bos, add_eos: whether the tokenizer puts them around a text by itself.
        space_prefix: whether a text begins as if a space stood before it; None where that means nothing.
        template: the chat template; empty for none.
        composes: whether the tokenizer composes characters (NFC), which llama.cpp does not.
        strips: whether control tokens take the white space behind them away.
    """

    model: str
    pre: str
    tokens: list[str]
    kinds: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    space_prefix: bool | None = None
    template: str = ""
    composes: bool = False
    strips: bool = False

    def write(self, writer: Any) -> None:
        """Says it all to a ``gguf.GGUFWriter``."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.kinds)
        if self.merges:
            writer.add_token_merges(self.merges)
        for name, number in self.special.items():
            getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.space_prefix is not None:
            writer.add_add_space_prefix(self.space_prefix)
        if self.template:
            writer.add_chat_template(self.template)


def read_vocabulary(files: Mapping[str, Path], config: Mapping[str, object], rows: int, base: Path) -> Vocabulary:
    """The tokens of a model.

    Args:
        files: name -> path of the tokenizer's files, as `core.export.companions.companion_files` finds them.
        config: the model's config.json.
        rows: rows of its embeddings: so many tokens a GGUF file has to name.
        base: the model's folder, for messages.

    Raises:
        UserError: there is no tokenizer, or one that llama.cpp cannot be told of.
    """
    if _TOKENIZER not in files:
        message = "There is no tokenizer.json, from which the tokens of a GGUF file are read."
        raise UserError(error(str(base), message, "Save the tokenizer once with transformers; it writes that file."))
    path = files[_TOKENIZER]
    settings = read_json_object(path)
    model = settings.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        kind = model.get("type") if isinstance(model, dict) else "unknown"
        message = f"The tokenizer is of the kind {kind}; GGUF files are written for byte-pair tokenizers."
        advice = "Export the merged model and convert it with llama.cpp's own converter."
        raise UserError(error(str(path), message, advice))
    added = [token for token in settings.get("added_tokens") or [] if isinstance(token, dict)]
    told = read_json_object(files[_SETTINGS]) if _SETTINGS in files else {}
    template = _template(files, told)
    if model.get("byte_fallback"):
        found = _with_scores(model, added, rows, files.get(_PIECES))
        found.space_prefix = space_prefix(settings, str(path), has_template=bool(template))
    else:
        found = _with_merges(settings, model, added, rows, path)
        found.composes = composes(settings, str(path))
    found.special = _special_ids(told, config, {text: number for number, text in enumerate(found.tokens)})
    found.add_bos, found.add_eos = _added_around(settings, told, found.special)
    found.template, found.strips = template, strips_behind(added)
    return found


def _with_merges(
    settings: Mapping[str, Any], model: Mapping[str, Any], added: list[dict[str, Any]], rows: int, path: Path
) -> Vocabulary:
    tokens, kinds = _named(model["vocab"], added, rows)
    merges = [_merge(pair) for pair in model.get("merges") or []]
    return Vocabulary("gpt2", pre_tokenizer_name(settings, str(path)), tokens, kinds, merges=merges)


def _merge(pair: str | list[str]) -> str:
    """A merge as "left right"; a space inside a part is written as the byte-level alphabet has it."""
    if isinstance(pair, str):
        return pair
    return " ".join(part.replace(" ", "Ġ") for part in pair)


def _with_scores(model: Mapping[str, Any], added: list[dict[str, Any]], rows: int, pieces: Path | None) -> Vocabulary:
    tokens, kinds = _named(model["vocab"], added, rows)
    if pieces is not None:
        scores = [_UNLIKELY * 10] * rows
        for number, piece in enumerate(read_pieces(pieces)[:rows]):
            scores[number] = piece.score
            if piece.kind != NORMAL and kinds[number] in (NORMAL, UNUSED):
                kinds[number] = piece.kind
    else:
        scores = _ranks(model, tokens)
    for token in added:
        if isinstance(token.get("id"), int) and token["id"] < rows:
            scores[token["id"]] = _UNLIKELY
    unknown = model.get("unk_token")
    for number, text in enumerate(tokens):
        if kinds[number] == NORMAL and _BYTE.fullmatch(text):
            kinds[number] = BYTE
        elif text == unknown:
            kinds[number] = UNKNOWN
    return Vocabulary("llama", "default", tokens, kinds, scores)


def _ranks(model: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """Scores that make llama.cpp merge in the order of the merges: minus the number of the first that makes a token.

    SentencePiece merges the pair with the highest score, and the merges of a tokenizer.json were made from those
    scores, so their order is all that is left of them and all that matters.
    """
    first: dict[str, float] = {}
    for rank, pair in enumerate(model.get("merges") or []):
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        first.setdefault(left + right, -float(rank))
    last = -float(len(first)) - 1
    return [first.get(text, last) for text in tokens]


def _named(vocab: Mapping[str, int], added: Iterable[Mapping[str, Any]], rows: int) -> tuple[list[str], list[int]]:
    """Texts and kinds of all tokens by id; rows without a token get a name that no text contains."""
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [UNUSED] * rows
    for text, number in vocab.items():
        if number < rows:
            tokens[number], kinds[number] = text, NORMAL
    for token in added:
        place, text = token.get("id"), str(token.get("content"))
        if not isinstance(place, int) or place >= rows:
            continue
        is_control = bool(token.get("special")) or _LOOKS_SPECIAL.fullmatch(text) is not None
        # what is searched for in the text before it is split is written as the text has it
        tokens[place] = text if is_control else text.replace("▁", " ")
        kinds[place] = CONTROL if is_control else USER
    return tokens, kinds


def _special_ids(told: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    """The tokenizer's own word first, then the model's."""
    found: dict[str, int] = {}
    for name in SPECIAL:
        token = told.get(f"{name}_token")
        text = token.get("content") if isinstance(token, Mapping) else token
        number = ids.get(text) if isinstance(text, str) else None
        if number is None:
            told_id = config.get(f"{name}_token_id")
            told_id = told_id[0] if isinstance(told_id, list) and told_id else told_id
            number = told_id if isinstance(told_id, int) and 0 <= told_id < len(ids) else None
        if number is not None:
            found[name] = number
    return found


def _added_around(
    settings: Mapping[str, Any], told: Mapping[str, Any], special: Mapping[str, int]
) -> tuple[bool, bool]:
    """Whether a text gets a first and a last token of its own: as the fast tokenizer does it, which trains."""
    found = settings.get("post_processor")
    steps = found.get("processors", [found]) if isinstance(found, Mapping) else []
    for step in steps:
        if isinstance(step, Mapping) and step.get("type") == "TemplateProcessing":
            single = [part for part in step.get("single", []) if isinstance(part, Mapping)]
            first, last = (
                part.get("SpecialToken", {}).get("id") if part else None
                for part in (single[:1] or [{}])[:1] + (single[-1:] or [{}])[:1]
            )
            return first is not None and "bos" in special, last is not None and "eos" in special
    return bool(told.get("add_bos_token")) and "bos" in special, bool(told.get("add_eos_token")) and "eos" in special


def _template(files: Mapping[str, Path], told: Mapping[str, Any]) -> str:
    if _TEMPLATE in files:
        return files[_TEMPLATE].read_text(encoding="utf-8")
    held = told.get("chat_template")
    if isinstance(held, list):
        named = {item.get("name"): item.get("template") for item in held if isinstance(item, Mapping)}
        held = named.get("default")
    return held if isinstance(held, str) else ""
