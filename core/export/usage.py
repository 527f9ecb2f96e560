"""The part of a model card that shows how to load what was exported; the code in it is run by the tests."""

from core.export.adapter import TEMPLATE_FILE

_CHAT = """\
messages = [{"role": "user", "content": "Hello! Who are you?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""
_TEXT = """\
inputs = tokenizer("Once upon a time", return_tensors="pt")"""
_ANSWER = """\
output = model.generate(**inputs, max_new_tokens=100)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""


def adapter_usage(base: str, *, chat: bool, own_template: bool) -> str:
    """How to load and how to merge an adapter.

    Args:
        base: what the base model is called.
        chat: it was trained with a chat template.
        own_template: that template lies beside the adapter, because the base has another one or none.
    """
    needed, template = "", ""
    if own_template:
        needed = "from pathlib import Path\n\n"
        template = f'tokenizer.chat_template = Path(adapter, "{TEMPLATE_FILE}").read_text(encoding="utf-8")\n'
    load = f"""\
{needed}from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "{base}"  # the base model's folder or hub name
adapter = "."  # this folder

tokenizer = AutoTokenizer.from_pretrained(base)
{template}model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
model = PeftModel.from_pretrained(model, adapter)
"""
    merge = 'model.merge_and_unload().save_pretrained("merged")\ntokenizer.save_pretrained("merged")'
    return (
        f"## Use it\n\nWith transformers and peft:\n\n{_code(load + _ask(chat=chat))}\n\n"
        f"{_served(base, adapter=True)}\n\n"
        "## Merge it\n\nLowrank Studio's page “Export” and its command `lowrank export` write one plain model in the "
        "base's own precision. With peft, load the base as above, in 16 or 32 bits and never in 4, then:\n\n"
        f"{_code(merge)}"
    )


def model_usage(*, chat: bool) -> str:
    """How to load a whole model: a merged or a fully tuned one."""
    load = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
"""
    return f"## Use it\n\nWith transformers:\n\n{_code(load + _ask(chat=chat))}\n\n{_served('.', adapter=False)}"


def _served(base: str, *, adapter: bool) -> str:
    """How to use it in vLLM, llama.cpp and Ollama, whose formats the export page and ``lowrank export`` write."""
    if adapter:
        serve = f'vllm serve "{base}" --enable-lora --lora-modules tuned=.'
        llama = 'llama-cli -m base.gguf --lora adapter.gguf -cnv -p ""'
        made = (
            "the base and this adapter as two GGUF files (`lowrank export RUN --kind gguf_adapter` writes the second)"
        )
    else:
        serve = "vllm serve ."
        llama = "llama-cli -m model.gguf -cnv"
        made = "the model as one GGUF file (`lowrank export RUN --kind gguf` writes it)"
    return (
        f"With vLLM, in this folder:\n\n{_shell(serve)}\n\n"
        f"With llama.cpp, {made}:\n\n{_shell(llama)}\n\n"
        "With Ollama, in the folder that `lowrank export RUN --kind ollama` writes:\n\n"
        f"{_shell('ollama create tuned -f Modelfile' + chr(10) + 'ollama run tuned')}"
    )


def _shell(text: str) -> str:
    return f"```bash\n{text}\n```"


def _ask(*, chat: bool) -> str:
    return f"\n{_CHAT if chat else _TEXT}\n{_ANSWER}"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"
