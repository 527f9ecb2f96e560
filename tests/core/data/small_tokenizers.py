"""Small real tokenizers, trained in a moment, and texts that are hard on them."""

import json
from pathlib import Path

from core.facts.types import ModelFacts

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is a definition? An answer in one sentence.",
    "user assistant system tool Define “abatis”, n. Rubbish in front of a fort; naïve café, 東京, emoji 🎉!",
    '{"name": "get_weather", "arguments": {"city": "Paris"}}\n\n### User:\nHello there\n\n### Assistant:\n',
] * 3


def write_tokenizer(folder: Path, *, begin: bool = False, end: bool = False, **settings: object) -> Path:
    """A byte-level BPE tokenizer of 400 tokens.

    Args:
        folder: where it goes.
        begin: it puts <s> in front of running text.
        end: it puts <|im_end|> behind running text.
        settings: what goes into tokenizer_config.json.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    # trim_offsets is what many models have, and what must not move the labels.
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    specials = [AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    if begin or end:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{'<s> ' if begin else ''}$A{' <|im_end|>' if end else ''}",
            special_tokens=[("<s>", 3), ("<|im_end|>", 2)],
        )
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **settings}), encoding="utf-8")
    return folder


def write_metaspace(folder: Path) -> Path:
    """A tokenizer in SentencePiece's manner: spaces as part of words, one in front, bytes for what it does not know."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    specials = [AddedToken(name, special=number < 3, normalized=False) for number, name in enumerate(names)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    plain = json.loads(backend.to_str())
    begin = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*begin, {"Sequence": {"id": "B", "type_id": 1}}]
    names = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    plain["post_processor"] = {"type": "TemplateProcessing", "single": begin, "pair": pair, "special_tokens": names}
    plain["added_tokens"] = [item for item in plain["added_tokens"] if item["id"] < 3]
    (folder / "tokenizer.json").write_text(json.dumps(plain), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


NASTY = [
    "",
    " ",
    "\n\n  x",
    "hello",
    "  leading and trailing  ",
    "tabs\tand\r\nlines",
    "naïve café 東京 🎉👩‍👩‍👧 e\u0301",
    "a<|im_end|>b<|im_start|>user\n",
    "<s>hi</s>",
    "< |im_end| >",
    "\u202eright to left\u202c \ufeff \u00a0",
    "1234567890 3.14 0x1F",
    "\x00\x01\x7f",
    "word" * 50,
    "# Title\n\n- item\n\t- deeper\n```py\nprint('x')\n```",
]


def model_of(folder: Path, template: str = CHATML) -> ModelFacts:
    """A model of which only tokenizer and template matter."""
    return ModelFacts(
        path=str(folder), family="llama", architecture="LlamaForCausalLM", parameters=1, embedding_parameters=1,
        linear_parameters=0, bytes_on_disk=1, dtype="BF16", hidden_size=1, intermediate_size=1, num_layers=1,
        num_heads=1, num_kv_heads=1, head_dim=1, vocab_size=400, context_length=2048, tied_embeddings=True,
        linears=(), template=template, template_origin="chat_template.jinja",
    )  # fmt: skip
