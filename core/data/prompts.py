"""A prompt as the tuned model will meet it: with the generation prompt, ready to be answered."""

from collections.abc import Sequence

from core.data.templates import NONE, ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Message
from core.errors import UserError, error


def encode_prompt(prompt: str | Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate) -> list[int]:
    """Token ids that end where the model's answer begins.

    Args:
        prompt: what a user says, or a whole conversation so far.
        tokenizer: the model's tokenizer.
        template: the template that the model is trained with; with the one called “none” the text stands as it is.

    Raises:
        UserError: the prompt is empty, or the template refuses it.
    """
    if not prompt:
        raise UserError(error("prompt", "The prompt is empty.", "Write what the model should answer."))
    if isinstance(prompt, str) and template.name == NONE:
        start = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
        ids = tokenizer.encode(prompt)
        return ids if ids[:1] == start else [*start, *ids]
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    return tokenizer.encode(template.render(messages, add_generation_prompt=True))


def encode_conversation(messages: Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate) -> list[int]:
    """Token ids of a conversation that the model is to go on with; one question alone is read as `encode_prompt` does.

    Raises:
        UserError: there is nothing to answer, or the template refuses the conversation.
    """
    alone = len(messages) == 1 and messages[0].role == "user" and not messages[0].extra
    return encode_prompt(messages[0].content if alone else messages, tokenizer, template)
