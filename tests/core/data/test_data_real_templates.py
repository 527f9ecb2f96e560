"""The chat templates of seventy published models: what they write is what transformers writes, and answers are trained.

The templates come from the source of llama.cpp as the npm package node-llama-cpp carries it; each belongs to the makers
of its model, so none is committed.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.data.drafts import Draft, make_drafts
from core.data.labels import Written, write_sample
from core.data.templates import ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Sample
from core.errors import UserError
from tests.core.data.real_chats import COUNT, Chat, chats, marked_chats, real_templates
from tests.core.data.small_tokenizers import model_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Sources by name."""
    found = real_templates(tmp_path_factory.mktemp("templates"))
    assert len(found) == 70
    return found


@pytest.fixture(scope="module")
def reference(tokenizer_folder: Path) -> Any:
    """The small tokenizer as transformers loads it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)


def theirs(reference: Any, source: str, chat: Chat, prompt: bool, **more: Any) -> Any:
    """What transformers makes of a conversation; None where the template refuses it."""
    from jinja2 import TemplateError

    plain = [{"role": turn.role, "content": turn.content, **turn.extra} for turn in chat.messages]
    tools = [dict(tool) for tool in chat.tools] or None
    try:
        return reference.apply_chat_template(
            plain, tools=tools, chat_template=source, add_generation_prompt=prompt, **more
        )
    except (TemplateError, TypeError):
        return None


def ours(template: ChatTemplate, chat: Chat, prompt: bool) -> str | None:
    try:
        return template.render(chat.messages, tools=chat.tools, add_generation_prompt=prompt)
    except UserError:
        return None


def test_seventy_real_templates_write_what_transformers_writes(
    templates: dict[str, str], tokenizer_folder: Path, tokenizer: Tokenizer, reference: Any
) -> None:
    written: Counter[str] = Counter()
    for name, source in templates.items():
        template = choose_template("auto", model_of(tokenizer_folder, source), tokenizer)
        for number, chat in enumerate(chats()):
            prompt = number % 2 == 0
            text = ours(template, chat, prompt)
            assert text == theirs(reference, source, chat, prompt, tokenize=False), f"{name}, chat {number}"
            written[name] += text is not None
            if text is not None and number % 20 == 0:
                ids = theirs(reference, source, chat, prompt, tokenize=True, return_dict=False)
                assert tokenizer.encode(text) == ids, f"{name}, chat {number}"
    whole = [name for name in templates if written[name] == COUNT]
    assert len(whole) >= 20, "so many write all conversations; the others refuse some, in transformers too"
    assert sum(written.values()) > 0.85 * COUNT * len(templates)


def test_answers_alone_are_trained_by_real_templates(
    templates: dict[str, str], tokenizer_folder: Path, tokenizer: Tokenizer
) -> None:
    found: Counter[str] = Counter()
    for name, source in templates.items():
        template = choose_template("auto", model_of(tokenizer_folder, source), tokenizer)
        for chat in marked_chats():
            sample = Sample("f:1", chat.messages, tools=chat.tools)
            try:
                written = write_sample(sample, tokenizer, template, "completions", 10**6)
            except UserError:  # the template cannot write it, or hides its answers; then nothing is trained at all
                found["refused"] += 1
                continue
            found["written"] += 1
            found[name] += 1
            for turn in chat.messages:
                said = turn.content or turn.extra["tool_calls"][0]["function"]["arguments"]["place"]
                if turn.role != "assistant":
                    assert said not in trained_text(written), f"{name} trains {said}"
                elif said in written.text:  # a few leave out what was said in earlier turns
                    assert said in trained_text(written), f"{name} does not train {said}"
    assert sum(1 for name in templates if found[name]) >= 60
    assert found["written"] > 3 * found["refused"]


def test_every_row_with_tools_is_written_or_has_a_way_out(
    templates: dict[str, str], tokenizer_folder: Path, tokenizer: Tokenizer
) -> None:
    written: set[str] = set()
    for name, source in templates.items():
        model = model_of(tokenizer_folder, source)
        template = choose_template("auto", model, tokenizer)
        for chat in [chat for chat in marked_chats() if chat.tools][:2]:
            sample = Sample("f:1", chat.messages, tools=chat.tools)
            (found,) = make_drafts([sample], template, "completions")
            if isinstance(found, Draft):
                written.add(name)
                continue
            assert found.fixes, f"{name}: {found.message}"
            for fix in found.fixes:
                (edit,) = fix.edits
                choice = edit.value if edit.path == "data.template" else "auto"
                train_on = edit.value if edit.path == "data.train_on" else "completions"
                mended = write_sample(sample, tokenizer, choose_template(choice, model, tokenizer), train_on, 10**6)
                assert chat.messages[-1].content in trained_text(mended), f"{name}: {fix.title}"
    assert len(written) >= 49, "most templates write rows with tools as they are"


def trained_text(written: Written) -> str:
    """The trained characters, with a gap wherever something is not trained."""
    marks = zip(written.offsets, written.encoded.trained, strict=True)
    return "".join(written.text[start:stop] if trained else "\0" for (start, stop), trained in marks)


@pytest.mark.torch
def test_the_engines_batches_carry_the_loss_that_is_shown(
    templates: dict[str, str], tokenizer_folder: Path, tokenizer: Tokenizer
) -> None:
    import torch

    from core.engine.passes import make_passes

    for name, source in templates.items():
        template = choose_template("auto", model_of(tokenizer_folder, source), tokenizer)
        rows = []
        for chat in marked_chats()[:12]:
            sample = Sample("f:1", chat.messages, tools=chat.tools)
            try:
                rows.append(write_sample(sample, tokenizer, template, "completions", 300).encoded)
            except UserError:
                continue
        learnt = [row for row in rows if row.supervised]
        for packing in (False, True):
            lessons: Counter[tuple[int, ...]] = Counter()
            for batch in make_passes(learnt, 2048, packing, torch.device("cpu")):
                tokens, positions = batch.tokens[0].tolist(), batch.positions[0].tolist()
                for place, target in zip(batch.keep.tolist(), batch.targets.tolist(), strict=True):
                    start = place - positions[place]
                    assert target == tokens[place + 1], name
                    lessons[tuple(tokens[start : place + 2])] += 1
            shown = Counter(
                row.tokens[: place + 1] for row in learnt for place, trained in enumerate(row.trained) if trained
            )
            assert lessons == shown, f"{name}: what carries loss in the batches is not what the token view shows"
