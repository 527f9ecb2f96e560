"""What the modules of a model do, in two sentences, for those who meet their names for the first time."""

from core.plan.matrix import ModuleKind
from studio.words import tr


def meaning_of(kind: ModuleKind) -> str:
    """What modules of this kind do; empty for names that are not known."""
    known = {
        "q_proj": tr("Makes queries: what each token looks for in the tokens before it."),
        "k_proj": tr("Makes keys: what each token offers to those that look for something."),
        "v_proj": tr("Makes values: what a token passes on when it was found."),
        "o_proj": tr("Mixes what all attention heads have found back into the stream."),
        "out_proj": tr("Mixes what all attention heads have found back into the stream."),
        "gate_proj": tr("Decides how far each feature of the MLP opens. The MLP is where much of the knowledge lies."),
        "up_proj": tr("Widens the stream into the features of the MLP. The MLP is where much of the knowledge lies."),
        "down_proj": tr("Writes the features of the MLP back into the stream. It is the MLP’s output."),
        "c_attn": tr("Makes queries, keys and values in one matrix."),
        "qkv_proj": tr("Makes queries, keys and values in one matrix."),
        "query_key_value": tr("Makes queries, keys and values in one matrix."),
        "gate_up_proj": tr("The MLP’s gate and its widening in one matrix."),
        "c_fc": tr("Widens the stream into the features of the MLP. The MLP is where much of the knowledge lies."),
        "fc1": tr("Widens the stream into the features of the MLP. The MLP is where much of the knowledge lies."),
        "fc2": tr("Writes the features of the MLP back into the stream. It is the MLP’s output."),
    }
    if kind.title == "c_proj":
        return known["o_proj"] if kind.role == "attention" else known["down_proj"]
    return known.get(kind.title, "")
