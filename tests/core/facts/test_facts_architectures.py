"""The table of families and the words that all of them share."""

import pytest

from core.facts.architectures import FAMILIES, NATIVE, refusal, role_of


def test_the_table_is_well_formed():
    for name, family in FAMILIES.items():
        assert family.architecture, name
        assert family.root, name
        assert not refusal(name, family.architecture, encoder_decoder=False), name
    assert set(FAMILIES) <= NATIVE


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("self_attn.q_proj", "attention"),
        ("self_attention.dense", "attention"),
        ("attention.query_key_value", "attention"),
        ("linear_attn.in_proj_qkv", "attention"),
        ("attn.c_attn", "attention"),
        ("mlp.dense_h_to_4h", "mlp"),
        ("feed_forward.w1", "mlp"),
        ("mlp.shared_expert.up_proj", "mlp"),
        ("fc1", "mlp"),
        ("mixer.in_proj", "other"),
        ("per_layer_input_gate", "other"),
    ],
)
def test_roles_by_name(path, role):
    assert role_of(tuple(path.split("."))) == role
