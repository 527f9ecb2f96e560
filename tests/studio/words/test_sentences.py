"""Sentences as the core really makes them, in Chinese: no English sentence is left among names, paths and numbers."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from core.data.dataset import load_dataset
from core.errors import Edit, Problem, UserError
from core.events.run_state import RunState
from core.facts.gguf_header import read_gguf_header
from core.facts.model_files import read_model
from core.plan.planner import plan
from core.plan.solve import solve, with_fixes
from core.plan.suggest import suggest
from core.runs.crash import Exit, crashed, forced, lost, silent
from core.runs.history import find_run
from core.runs.layout import RunFolder
from core.spec.codec import apply_assignments, read_spec
from core.spec.rules import check
from core.spec.run_spec import RunSpec
from core.spec.sections import DataSpec
from studio.sentences import Sentences
from studio.words import LANGUAGES, language, say, set_language, tr, tr_count
from tests.core.plan.invented_facts import MACHINES, MODELS, data, facts, lengths

pytestmark = pytest.mark.usefixtures("chinese")

NAMES = re.compile(
    r"“[^”]*”|‘[^’]*’|\"[^\"]*\"|\([^()]*\)|\S*[/_.=\\:][A-Za-z]\S*"
    r"|[Ff]lash attention|Git LFS|Lowrank Studio|NVIDIA GeForce [A-Z0-9 ]+"
)


def english_in(text: str) -> list[str]:
    """Runs of English words in a text, without what is a name, a path, quoted or in brackets."""
    return re.findall(r"\b[A-Za-z]?[a-z']{2,} [a-z']{2,}\b", NAMES.sub("#", text, count=0))


def words_of(problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        yield problem.message
        yield problem.advice
        yield from (fix.title for fix in problem.fixes)


def all_chinese(texts: Iterable[str]) -> None:
    texts = [text for text in texts if text]
    assert texts
    left = [(text, say(text)) for text in texts if english_in(say(text)) or not re.search("[\u4e00-\u9fff]", say(text))]
    assert not left


def refused(action: Callable[[], object]) -> list[str]:
    with pytest.raises(UserError) as caught:
        action()
    return list(words_of(caught.value.problems))


RUN = RunSpec().replace("model.base", "base").replace("data.train", ("rows.jsonl",))


@pytest.mark.parametrize("machine", list(MACHINES))
@pytest.mark.parametrize(
    "edits",
    [
        {},
        {"adapter.method": "full", "model.quantization": "none"},
        {"data.packing": "on", "hardware.attention": "flash", "hardware.threads": 3},
        {"adapter.targets": ("foo", "0-99.q_proj"), "adapter.modules_to_save": ("lm_head", "nonsense")},
        {"training.optimizer": "paged_adamw", "model.compute_dtype": "bf16", "hardware.device": "cpu"},
        {"adapter.layers": "last 99", "adapter.rank_pattern": {"x.q": 3, "down_projj": 2}},
        {"data.max_length": 999_999, "training.effective_batch": 5000, "training.early_stopping": 3},
        {"data.train_on": "preferences", "training.learning_rate": 1e-2},
        {"data.train_on": "preferences", "training.preference_loss": "orpo", "adapter.method": "full"},
    ],
    ids=["defaults", "full", "chosen", "targets", "paged", "layers", "lengths", "dpo", "orpo"],
)
def test_plans_and_suggestions(machine: str, edits: dict[str, object]) -> None:
    run = RUN
    for path, value in edits.items():
        run = run.replace(path, value)
    few = data(train=lengths(rows=20, truncated=3, lost=500), validation=lengths(rows=0))
    texts: list[str] = []
    for known in (facts(machine, model, rows) for model in MODELS for rows in (None, few)):
        found = plan(run, known)
        choices = found.choices
        texts += words_of(with_fixes(found.problems, solve(run, known)))
        texts += (getattr(choices, name).reason for name in choices.__dataclass_fields__)
        texts += (item.reason for item in suggest(run, known))
        texts += (text for part in found.memory.parts for text in (part.title, part.detail)) if found.memory else ()
        texts += [found.duration.basis] if found.duration else []
    all_chinese(texts)


def test_a_run_that_does_not_fit() -> None:
    found = plan(RUN.replace("model.quantization", "none"), facts("rtx3060", "70b"))
    assert found.memory is not None
    assert found.memory.verdict == "does_not_fit"
    said = [say(text) for text in words_of(found.problems)]
    assert any(text.startswith("运行约需 ") and "约缺 " in text for text in said)


def test_bad_specs() -> None:
    bad = RunSpec()
    for path, value in {
        "adapter.rank": 5000,
        "adapter.alpha": 9000.0,
        "adapter.targets": ("q proj", ""),
        "adapter.layers": "the first two",
        "adapter.rank_pattern": {"?": 0},
        "training.learning_rate": 0.9,
        "training.max_steps": 5,
        "training.evaluate_every": 100,
        "data.validation_share": 0.0,
        "training.sample_every": 3,
        "hardware.processes": 4,
        "output.name": "a\nb",
        "model.trust_remote_code": True,
        "data.mapping": {"nonsense": ""},
        "model.base": "https://example.org/model",
    }.items():
        bad = bad.replace(path, value)
    all_chinese(words_of(check(bad)))
    all_chinese(words_of(check(RunSpec())))
    all_chinese(words_of(check(bad.replace("adapter.rank", "many").replace("data.train", 5))))
    pairs = RUN.replace("data.train_on", "preferences")
    for path, value in {
        "training.preference_loss": "orpo",
        "training.chosen_weight": 0.5,
        "data.format": "alpaca",
        "data.mapping": {"prompt": "a", "completion": "b"},
        "data.repairs": ("split_long",),
    }.items():
        pairs = pairs.replace(path, value)
    found = tuple(check(pairs))
    assert len(found) >= 4
    all_chinese(words_of(found))


@pytest.mark.parametrize(
    "text",
    [
        "model: [",
        "",
        "a: 1\nb: 2",
        "model:\n  base: x\n  quantization: 3\n  base_model: y",
        "adapter:\n\trank: 1",
        "training:\n  epochs: many\n  max_steps: 1.5\n  lr: 3\nadaptr:\n  rank: 2",
        "data: 5\nversion: 99",
        "- one\n- two",
    ],
)
def test_bad_spec_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text, "utf-8")
    # The last words of a broken YAML file are those of PyYAML.
    all_chinese(
        re.sub(r"valid YAML: .* \(line", "valid YAML: # (line", part) for part in refused(lambda: read_spec(file))
    )


def test_bad_assignments(tmp_path: Path) -> None:
    all_chinese(refused(lambda: apply_assignments(RunSpec(), ["rank", "adapter.rnk=3", "adapter.rank=x", "seed=1"])))
    all_chinese(refused(lambda: read_spec(tmp_path / "none.yaml")))
    all_chinese(refused(lambda: read_spec(tmp_path)))


def test_missing_and_broken_models(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    all_chinese(refused(lambda: read_model(empty)))
    all_chinese(refused(lambda: read_model(tmp_path / "nowhere")))
    (empty / "config.json").write_text("{", "utf-8")
    texts = refused(lambda: read_model(empty))
    all_chinese(re.sub(r"JSON: .* in line", "JSON: # in line", text) for text in texts)  # the words of Python's json
    (empty / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    all_chinese(refused(lambda: read_model(empty)))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\x00")
    all_chinese(refused(lambda: read_gguf_header(broken)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", b'{"prompt": "a"\n'),
        ("rows.jsonl", b'[1, 2]\n"x"\n'),
        ("rows.jsonl", b'{"one": 1, "two": 2}\n{"one": 3, "two": 4}\n'),
        ("rows.jsonl", b'{"messages": [{"role": "nobody", "content": "x"}]}\n'),
        ("rows.jsonl", b'{"messages": []}\n{"messages": [{"role": "user", "content": 5}]}\n'),
        ("rows.json", b'{"a": {"b": 1}}'),
        ("rows.csv", b"prompt,completion\na\n"),
        ("rows.csv", b"\xff\xfe\xfa\xfb"),
        ("rows.parquet", b"nothing like it"),
        ("rows.jsonl", b""),
        ("rows.txt", b"PK\x03\x04rest"),
    ],
)
def test_broken_data(tmp_path: Path, starter: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    model = read_model(starter)
    all_chinese(refused(lambda: load_dataset(DataSpec(train=(str(file),)), 1, model)))


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "a", "completion": "b"}',
        '{"one": 1, "two": 2}',
        '{"prompt": "a", "chosen": "b", "rejected": "b"}',
        (
            '{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], '
            '"rejected": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}'
        ),
        '{"prompt": "a", "chosen": "b", "rejected": ""}',
        '{"prompt": "a", "chosen": "", "rejected": "b"}',
        '{"prompt": "", "chosen": "a", "rejected": "b"}',
    ],
    ids=["none", "unknown", "same", "unlike", "no-rejected", "no-chosen", "no-prompt"],
)
def test_broken_pairs(tmp_path: Path, starter: Path, content: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{content}\n", "utf-8")
    wanted = DataSpec(train=(str(file),), train_on="preferences")
    all_chinese(refused(lambda: load_dataset(wanted, 1, read_model(starter))))


def test_outcomes(tmp_path: Path) -> None:
    folder, state = RunFolder(tmp_path), RunState(step=40, steps=100)
    outcomes = [
        crashed(folder, state, Exit.from_status(status), log_start=0, memory_ran_out=ran_out)
        for status in (-9, -11, -15, -4, 1, 0)
        for ran_out in (True, False)
    ]
    outcomes += [lost(folder, state, log_start=0, rebooted=rebooted) for rebooted in (True, False)]
    outcomes += [forced(state, None, asked=asked) for asked in (True, False)]
    outcomes.append(silent(folder, state, log_start=0, seconds=130))
    all_chinese(text for outcome in outcomes for text in (outcome.title, outcome.message, outcome.hint))
    assert say(outcomes[0].message).endswith("它已完成第 40 步（共 100 步）。")


def test_runs_that_are_not_there(lowrank_home: Path) -> None:
    all_chinese(refused(lambda: find_run("yesterday")))


def test_names_in_quotation_marks_stay() -> None:
    assert say("/data/a.jsonl has no column “text”.") == "/data/a.jsonl 没有列“text”。"
    assert say("“Rank” has an empty entry.") == "“秩”有空条目。"


def test_the_words_of_others_stay() -> None:
    for text in ("Segmentation fault", "No such file or directory", "/data/a/b c.txt", "12.5 GiB", "", "  "):
        assert say(text) == text
    assert say("The file cannot be read: No such file or directory.") == "无法读取文件：No such file or directory。"


def test_sentences_are_said_one_by_one() -> None:
    assert say("The folder is odd. Check the path.") == "The folder is odd. 检查路径。"
    assert say("Check the path.\nChoose another folder.") == "检查路径。\n请选择另一个文件夹。"


def test_a_general_sentence_takes_no_special_one() -> None:
    sentences = Sentences({"{0} after {1}.": "{1}之后{0}。", "Stopped": "已停止", "step {0}": "第 {0} 步"})
    assert sentences.say("Stopped after step 3.") == "第 3 步之后已停止。"
    assert sentences.say("The cat sat down after the dog.") == "The cat sat down after the dog."


def test_languages_there_and_back() -> None:
    text = "Choose another folder."
    assert language() == "zh_CN"
    assert say(text) != text
    assert tr("Start") == "开始"
    assert tr_count(1, "one row", "{n} rows") == "一个样本"
    assert tr_count(1200, "one row", "{n} rows") == "1,200 个样本"
    set_language("en")
    assert say(text) == text
    assert tr("Start") == "Start"
    assert tr_count(1200, "one row", "{n} rows") == "1,200 rows"
    set_language("zh_CN")
    assert say(text) != text
    set_language("unknown")
    assert language() == "en"
    assert set(LANGUAGES) == {"en", "zh_CN"}


def test_unknown_sentences_cost_little(record_property: Callable[[str, object], None]) -> None:
    """The time is measured and told, not asserted: it is a fact about the machine."""
    text = "Nobody has ever said this, with 12 numbers and a name “abc” in it. It has a second sentence, after all."
    say.__wrapped__(text)
    begin = time.perf_counter()
    for _ in range(50):
        say.__wrapped__(text)
    milliseconds = (time.perf_counter() - begin) * 1000 / 50
    record_property("milliseconds", milliseconds)
    assert milliseconds > 0


def test_edits_are_not_touched() -> None:
    """Only titles of fixes are said; what they do stays as it is."""
    found = plan(RUN.replace("data.max_length", 999_999), facts("h100", "8b"))
    assert any(isinstance(edit, Edit) for problem in found.problems for fix in problem.fixes for edit in fix.edits)
