"""``--set path=value``: one text becomes one setting, and what is wrong is said for every assignment at once."""

import pytest

from core.errors import ExitCode, UserError
from core.spec.codec import apply_assignments
from core.spec.run_spec import RunSpec


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("adapter.rank=8", 8),
        (" adapter.rank = 8 ", 8),
        ("training.learning_rate=2e-4", 2e-4),
        ("model.double_quant=off", False),
        ("data.packing=off", "off"),
        ("model.quantization=NF4", "nf4"),
        ("output.name=a=b", "a=b"),
        ("output.name=", ""),
        ("output.name=null", "null"),
        ("data.train=a,b.jsonl", ("a,b.jsonl",)),
        ("data.train=[a.jsonl, 'b c.jsonl']", ("a.jsonl", "b c.jsonl")),
        ('data.train=["a.jsonl"]', ("a.jsonl",)),
        ("data.train=[a].jsonl", ("[a].jsonl",)),
        ("data.train=[a[1]", ("[a[1]",)),
        ("data.train=", ()),
        ("data.train=[]", ()),
        ("adapter.targets=q_proj,v_proj", ("q_proj", "v_proj")),
        ("adapter.targets=[q_proj, v_proj]", ("q_proj", "v_proj")),
        ("training.sample_prompts=Hello, who are you?", ("Hello, who are you?",)),
        ("training.sample_prompts=[one, 'two, three']", ("one", "two, three")),
        ("adapter.rank_pattern={down_proj: 8, 11.q_proj: 4}", {"down_proj": 8, "11.q_proj": 4}),
        ("adapter.rank_pattern=down_proj: 8, q_proj: 4", {"down_proj": 8, "q_proj": 4}),
        ("adapter.rank_pattern=down_proj=8,11.q_proj=4", {"down_proj": 8, "11.q_proj": 4}),
        ("adapter.rank_pattern=", {}),
        ('data.mapping={"prompt": "question"}', {"prompt": "question"}),
    ],
)
def test_values_are_read_by_their_kind(assignment: str, value: object) -> None:
    path = assignment.partition("=")[0].strip()
    found = apply_assignments(RunSpec(), [assignment]).get(path)
    assert found == value
    assert type(found) is type(value)


def test_the_last_assignment_wins_and_nothing_else_changes() -> None:
    spec = RunSpec().replace("adapter.rank", 64)
    assert apply_assignments(spec, []) == spec
    changed = apply_assignments(spec, ["adapter.alpha=8", "adapter.alpha=16"])
    assert changed == spec.replace("adapter.alpha", 16.0)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("adapter.rank", "Write it as path=value, for example adapter.rank=8."),
        ("=8", "Write it as path=value"),
        ("", "Write it as path=value"),
        ("rank=8", "“rank” lives in the section “adapter”: write “adapter.rank”."),
        ("rnk=8", "Did you mean “adapter.rank”?"),
        ("lr=1", "It is called “training.learning_rate” here."),
        ("adapter.lora_r=1", "It is called “adapter.rank” here."),
        ("adapter=1", "name a setting in it, such as “adapter.method”."),
        ("adaptr.rank=1", "Did you mean “adapter.rank”?"),
        ("adapter.rank_pattern.down_proj=8", "Did you mean “adapter.rank_pattern”?"),
        ("adapter.rank.x.y.z=8", "Did you mean “adapter.rank”?"),
        (".rank=8", "lives in the section “adapter”"),
        ("adapter.=8", "“adapter” has “method”"),
        ("foo.bar=8", "A spec has the sections"),
        ("version=1", "There is no setting “version”."),
        ("adapter.rank=x", "“Rank” should be a whole number, but found “x”."),
        ("adapter.rank=", "found an empty text"),
        ("adapter.rank_pattern=down_proj", "a mapping of module names to whole numbers, but found"),
        ("adapter.rank_pattern=down_proj:8", "found nothing for “down_proj:8”"),
        ("adapter.rank_pattern={a: 1", "but found “{a: 1”"),
        ("data.train=[a, [b]]", "found a list as item 2"),
        ("data.packing=sometimes", "should be one of “auto”, “on”, “off”"),
    ],
)
def test_what_cannot_be_applied(assignment: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_assignments(RunSpec(), [assignment])
    assert caught.value.exit_code is ExitCode.BAD_SPEC
    assert words in str(caught.value)
    assert len(caught.value.problems) == 1


def test_every_wrong_assignment_is_named() -> None:
    with pytest.raises(UserError) as caught:
        apply_assignments(RunSpec(), ["rank=8", "adapter.rank=8", "adapter.alpha=x", "oops"])
    assert [problem.path for problem in caught.value.problems] == ["rank", "adapter.alpha", ""]
