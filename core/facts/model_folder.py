"""Tells a model folder from everything that people take for one."""

import difflib
from pathlib import Path

from core.errors import Problem, UserError, error
from core.facts.json_files import read_json_object
from core.facts.safetensors_header import INDEX_FILE, SINGLE_FILE

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def require_model(folder: Path) -> None:
    """Says what a folder without config.json is instead.

    Raises:
        UserError: always when there is no config.json.
    """
    if (folder / CONFIG_FILE).is_file():
        return
    if (folder / ADAPTER_FILE).is_file():
        base = read_json_object(folder / ADAPTER_FILE).get("base_model_name_or_path")
        raise UserError(
            error(
                str(folder),
                "The folder holds a LoRA adapter, not a base model"
                + (f"; it was trained on “{base}”." if isinstance(base, str) and base else "."),
                "Choose the base model, or merge the adapter into it first.",
            )
        )
    ggufs = sorted(file.name for file in folder.glob("*.gguf"))
    if ggufs:
        raise UserError(
            error(
                str(folder),
                f"The folder has no config.json but {'a GGUF file' if len(ggufs) == 1 else 'GGUF files'}: "
                f"{', '.join(ggufs[:3])}{' and others' if len(ggufs) > 3 else ''}.",
                f"Choose the file itself, such as {folder / ggufs[0]}.",
            )
        )
    inner = next((child for child in _children(folder) if (child / CONFIG_FILE).is_file()), None)
    raise UserError(
        error(
            str(folder),
            "The folder has no config.json, so it holds no model.",
            f"Did you mean {inner}?" if inner else "Choose a folder with config.json and safetensors files.",
        )
    )


def require_weights(folder: Path) -> None:
    """Says why there are no weights that can be read.

    Raises:
        UserError: there is neither model.safetensors nor its index.
    """
    if (folder / SINGLE_FILE).is_file() or (folder / INDEX_FILE).is_file():
        return
    others = sorted(file.name for file in folder.glob("*.safetensors"))
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if others:
        message = f"The weights are not in {SINGLE_FILE}, and there is no {INDEX_FILE} for {others[0]}."
        advice = f"Download the index file too, or rename a single complete file to {SINGLE_FILE}."
    elif pickles:
        message = (
            f"The weights are saved as pickle ({pickles[0]}), a format that can run any code hidden in it, so it is "
            "not opened."
        )
        advice = "Use a version of the model in safetensors format, or convert it where you trust the source."
    else:
        message, advice = "The folder has config.json but no weights.", f"Download {SINGLE_FILE} too."
    raise UserError(error(str(folder), message, advice))


def not_there(path: Path) -> Problem:
    """The problem that nothing lies at ``path``, with the neighbour that was probably meant."""
    names = [child.name for child in _children(path.parent)]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    if close:
        return error(str(path), "There is no such file or folder.", f"Did you mean {path.parent / close[0]}?")
    return error(str(path), "There is no such file or folder.", "Check the path of the base model.")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # only used for suggestions: a folder that cannot be listed suggests nothing
        return []
