"""The lines of Python that load an export, with the very paths of this computer; shown to be copied."""

import json
from pathlib import Path

_FENCE = "```"


def usage_code(target: Path, base: Path | None) -> str:
    """Code that loads what lies in ``target`` and asks it something; empty where its card does not say how.

    Args:
        target: the folder of an exported adapter or model, with its card.
        base: the base model of an adapter; None for a whole model.

    Raises:
        OSError: the card cannot be read.
    """
    from core.export.usage import adapter_usage, model_usage

    card = (target / "README.md").read_text("utf-8")
    chat = "apply_chat_template" in card
    if base is None:
        text, name = model_usage(chat=chat), "folder"
    else:
        text = adapter_usage(base.as_posix(), chat=chat, own_template="tokenizer.chat_template = " in card)
        name = "adapter"
    _, _, code = text.partition(f"{_FENCE}python\n")
    code, _, _ = code.partition(f"\n{_FENCE}")
    # as_posix: Python takes such paths on every system, and no backslash in them means anything
    return code.replace(f'{name} = "."  # this folder', f"{name} = {json.dumps(target.as_posix(), ensure_ascii=False)}")
