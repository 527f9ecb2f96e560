"""Repairs: each mends what it is for, leaves sound rows alone, comes to rest, and never touches a file."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.dataset import Dataset, load_dataset
from core.data.flaws import all_texts
from core.data.labels import encode_sample
from core.data.mojibake import find_mojibake, mend_mojibake
from core.data.repairs import RowRepairs, drop_repeated
from core.data.splitting import Splitter, can_split
from core.data.templates import PLAIN, WEIGHT, ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.data.turn_order import BETWEEN, merge_turns, trim_turns
from core.data.types import Message, Sample
from core.facts.types import ModelFacts
from core.spec.repairs import REPAIRS, with_repairs
from core.spec.sections import DataSpec

NOTE = "TO" + "DO"  # in two parts, or it would be taken for one
ROLES = ("system", "user", "assistant", "tool")
CALL = Message("assistant", "", {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]})
WORDS = ["the", "cat", "Ã©tÃ©", "sat", "\ufffd", "{{name}}", f"{NOTE}:", "naïve", "“quoted”", "\n", "as an AI", "Ã"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
EXTRAS = st.sampled_from([{}, {}, {}, {WEIGHT: 0}, {WEIGHT: 1}, {"name": "x"}])
TURNS = st.lists(st.builds(Message, st.sampled_from(ROLES), TEXTS, EXTRAS), min_size=1, max_size=6).map(tuple)
SAMPLES = st.one_of(
    TURNS.map(lambda turns: Sample("a:1", turns)),
    st.builds(lambda one, other: Sample("a:1", prompt=one, completion=other), TEXTS, TEXTS),
)


def chat(*turns: str, system: str = "") -> Sample:
    """A conversation; “u …” is what the user says, “a …” an answer, “t …” a tool's result."""
    roles = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
    head = (Message("system", system),) if system else ()
    return Sample("a:1", (*head, *(Message(roles[turn[0]], turn[2:]) for turn in turns)))


def mend(sample: Sample, *names: str) -> Sample | None:
    return RowRepairs(names).mend(sample)


# --- single rows


def test_the_names_are_those_of_the_spec_in_their_order() -> None:
    assert with_repairs(("split_long",), "merge_turns") == ("merge_turns", "split_long")
    assert with_repairs(REPAIRS) == tuple(REPAIRS)
    assert with_repairs(("unknown", "merge_turns"), "merge_turns") == ("merge_turns", "unknown")


@given(SAMPLES, st.sets(st.sampled_from(sorted(REPAIRS))))
@settings(deadline=None, max_examples=300)
def test_repairs_come_to_rest(sample: Sample, names: set[str]) -> None:
    once = mend(sample, *names)
    if once is not None:
        repairs = RowRepairs(names)
        assert repairs.mend(once) is once
        assert not repairs.counts


@given(SAMPLES)
@settings(deadline=None)
def test_without_repairs_nothing_happens(sample: Sample) -> None:
    assert mend(sample) is sample


@given(TURNS)
@settings(deadline=None)
def test_merging_keeps_every_word_and_who_said_it(turns: tuple[Message, ...]) -> None:
    merged = merge_turns(Sample("a:1", turns)).messages
    for role in ROLES:
        before = BETWEEN.join(turn.content for turn in turns if turn.role == role)
        after = BETWEEN.join(turn.content for turn in merged if turn.role == role)
        assert before == after
    assert [turn.role for turn in merged if turn.role == "tool"] == [turn.role for turn in turns if turn.role == "tool"]


def test_turns_are_merged_where_they_belong_together() -> None:
    assert merge_turns(chat("u a", "u b", "a c", "a d")).messages == chat("u a\n\nb", "a c\n\nd").messages
    sound = chat("u a", "a b", "u c")
    assert merge_turns(sound) is sound
    weighted = Sample("a:1", (Message("assistant", "a", {WEIGHT: 0}), Message("assistant", "b")))
    assert merge_turns(weighted) is weighted, "one of the two is not to be learned"
    results = chat("t 1", "t 2")
    assert merge_turns(results) is results
    calls = Sample("a:1", (Message("assistant", "", {"tool_calls": [1]}), Message("assistant", "b")))
    assert merge_turns(calls) is calls


def test_what_stands_behind_the_last_answer_is_trimmed() -> None:
    assert trim_turns(chat("u a", "a b", "u c")).messages == chat("u a", "a b").messages
    for sound in (chat("u a", "a b"), chat("u a"), Sample("a:1", completion="text")):
        assert trim_turns(sound) is sound


@pytest.mark.parametrize(
    ("sample", "is_kept"),
    [
        (chat("u a", "a b"), True),
        (chat("a b", "u a", "a c"), False),
        (chat("u a", "a b", system="be kind"), True),
        (chat("a b", system="be kind"), False),
        (chat("u a", "s be kind", "a b"), False),
        (chat("u a", "t 42", "a b"), False),
        (Sample("a:1", (Message("user", "a"), CALL)), True),
        (Sample("a:1", (Message("user", "a"), CALL, Message("tool", "1"))), True),
        (Sample("a:1", (Message("user", "a"), CALL, Message("user", "b"))), False),
        (Sample("a:1", completion="text"), True),
    ],
)  # fmt: skip
def test_chats_in_wrong_order_are_left_out(sample: Sample, is_kept: bool) -> None:
    assert (mend(sample, "drop_wrong_order") is sample) is is_kept


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("Hello {{name}}!", False),
        ("Hello {{ user.first-name }}!", False),
        ("Dear <YOUR NAME>,", False),
        ("Sincerely, [Your Name]", False),
        ("Mit freundlichen Grüßen, [Ihr Name]", False),
        ("Cordialement, [Votre nom]", False),
        ("Un saludo, [tu nombre]", False),
        ("此致敬礼，[您的姓名]", False),
        ("请把[插入日期]写上", False),
        ("Siehe [Ihr könnt es nachlesen] und [Tu l'as vu]", True),
        ("[INSERT LINK HERE]", False),
        ("Lorem ipsum dolor", False),
        (f"{NOTE}: write this", False),
        ("TBD", False),
        (f"first line\n{NOTE}\nlast line", False),
        (f"My {NOTE} list is long.", True),
        ("Use it so:\n```jinja\nHello {{ name }}\n```\nThat is all.", True),
        ("url: ${{ github.repository }}", True),
        ("a [link](x) and [1] and <b>bold</b>", True),
        ("{{{}}} and {{}}", True),
        ("[Enter FATHER and MOTHER]", True),
    ],
)
def test_rows_with_places_to_fill_in_are_left_out(text: str, is_kept: bool) -> None:
    assert (mend(chat("u Hello", f"a {text}"), "drop_placeholders") is not None) is is_kept


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("na\ufffdve", False),
        ("a\x00b", False),
        ("a\x93quoted\x94 word", False),
        ("Ã©tÃ©", False),
        ("naïve “déjà vu” – 日本語 😀", True),
        ("plain", True),
    ],
)
def test_damaged_rows_are_left_out(text: str, is_kept: bool) -> None:
    assert (mend(Sample("a:1", completion=text), "drop_damaged") is not None) is is_kept


def test_what_can_be_put_right_is_not_left_out() -> None:
    mended = mend(chat("u Ã©tÃ©", "a Ã\x89poque"), "drop_damaged", "fix_encoding")
    assert mended is not None
    assert list(all_texts(mended)) == ["été", "Époque"]


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("ha " * 100, False),
        ("0" * 300, False),
        ("A beginning. " + "and so on and so on " * 20, False),
        ("A beginning. " + "again and again it went; " * 60 + "but then it ended well.", False),
        ("x " * 20, True),
        ("-" * 400, True),
        ("| --- | --- |\n" * 40, True),
        (" ".join(f"word{number}" for number in range(400)), True),
        ("".join(f"{number}. item\n" for number in range(200)), True),
    ],
)
def test_endless_rows_are_left_out(text: str, is_kept: bool) -> None:
    assert (mend(chat("u go on", f"a {text}"), "drop_loops") is not None) is is_kept


def test_only_answers_are_endless() -> None:
    assert mend(chat(f"u {'ha ' * 100}", "a enough"), "drop_loops") is not None


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("As an AI language model, I have no feelings.", False),
        ("Als KI habe ich keine Gefühle.", False),
        ("Es tut mir leid, aber ich kann dabei nicht helfen.", False),
        ("En tant que modèle de langage, je n’ai pas d’avis.", False),
        ("En tant qu’IA, je n’ai pas d’avis.", False),
        ("Lo siento, pero no puedo ayudarte con eso.", False),
        ("Como modelo de linguagem, não tenho opinião.", False),
        ("Mi dispiace, ma non posso farlo.", False),
        ("In quanto IA, non ho opinioni.", False),
        ("Как языковая модель, я не имею чувств.", False),
        ("作为一个人工智能语言模型，我没有感情。", False),
        ("很抱歉，我无法回答这个问题。", False),
        ("AIとして、感情はありません。", False),
        ("人工智能正在改变世界。", True),
        ("Die KI lernt, und das Sprachmodell auch.", True),
        ("I’m sorry, but I can’t help with that.", False),
        ("I cannot assist with that request.", False),
        ("I'm just an AI.", False),
        ("AI can be used in medicine.", True),
        ("I can help with that.", True),
        ("She said: I am sorry, it is late.", True),
    ],
)
def test_refusals_are_left_out(text: str, is_kept: bool) -> None:
    assert (mend(chat("u Are you there?", f"a {text}"), "drop_refusals") is not None) is is_kept


def test_repairs_count_what_they_change() -> None:
    repairs = RowRepairs(("merge_turns", "drop_refusals"))
    for sample in (chat("u a", "u b", "a c"), chat("u a", "a b"), chat("u a", "a As an AI, I refuse.")):
        repairs.mend(sample)
    assert repairs.counts == {"merge_turns": 1, "drop_refusals": 1}


# --- encodings


def spoilt(text: str, codec: str) -> str:
    """UTF-8 read as something else; bytes that Windows-1252 leaves open stay what they are."""
    pieces = (bytes([byte]) for byte in text.encode("utf-8"))
    return "".join(piece.decode(codec, "ignore") or piece.decode("latin-1") for piece in pieces)


SOUND = [
    "café", "naïve œuvre “x” — …", "Привет мир", "日本語のテキスト", "한국어 텍스트", "Ελληνικά", "Smile 😀 now",
    "5 € • §", "São Paulo", "l’été", "Škoda žije čtyři", "Grüße aus Köln", "ça va", "mañana por la mañana", "½ l",
]  # fmt: skip


@pytest.mark.parametrize("codec", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", SOUND)
def test_letters_are_put_right(text: str, codec: str) -> None:
    assert find_mojibake(text) is None
    assert mend_mojibake(text) is text
    once = spoilt(text, codec)
    assert find_mojibake(once) is not None
    assert mend_mojibake(once) == text


def test_letters_that_were_spoilt_again_and_again() -> None:
    text = "crème brûlée"
    for _ in range(3):
        text = spoilt(text, "cp1252")
    assert mend_mojibake(text) == "crème brûlée"


@pytest.mark.parametrize("text", ["„Ä“ und „Ö“", "AMANHÔ", "“café”…", "Â »", "SMÅ – og STORÅ…", "É…", "ÅÄÖ”", "Ã", "Â"])
def test_letters_that_only_look_like_it_stay(text: str) -> None:
    assert mend_mojibake(text) == text


@given(st.text(max_size=40))
@settings(max_examples=300)
def test_mending_comes_to_rest_and_keeps_plain_letters(text: str) -> None:
    mended = mend_mojibake(text)
    assert mend_mojibake(mended) == mended
    assert "".join(filter(str.isascii, text)) == "".join(filter(str.isascii, mended))
    if find_mojibake(text) is None:
        assert mended == text


def test_reasoning_and_calls_are_put_right_with_the_rest() -> None:
    extra = {"reasoning_content": "dÃ©jÃ\xa0", "tool_calls": [{"function": {"arguments": {"q": "cafÃ©"}}}]}
    sample = Sample("a:1", (Message("user", "Ã©"), Message("assistant", "ok", extra)))
    mended = mend(sample, "fix_encoding")
    assert mended is not None
    found = mended.messages[1].extra
    assert found["reasoning_content"] == "déjà"
    assert found["tool_calls"][0]["function"]["arguments"] == {"q": "café"}


# --- several rows


def test_the_first_of_equal_rows_is_kept_across_files() -> None:
    one, two, three = (chat("u a", f"a {word}") for word in ("x", "y", "z"))
    copy = replace(one, place="b:9")
    kept, counts = drop_repeated([[one, two, one], [copy, three]], {"drop_duplicates"})
    assert kept == [[one, two], [three]]
    assert counts == {"drop_duplicates": 2}


def test_the_first_of_similar_rows_is_kept() -> None:
    words = [f"word{number}" for number in range(40)]
    texts = [" ".join(words), " ".join([*words, "more"]), "something else entirely", " ".join(words).upper()]
    rows = [Sample(f"a:{number}", completion=text) for number, text in enumerate(texts)]
    kept, counts = drop_repeated([rows[:1], rows[1:]], {"drop_near_duplicates"})
    assert kept == [[rows[0]], [rows[2]]]
    assert counts == {"drop_near_duplicates": 2}
    again, counts = drop_repeated(kept, {"drop_duplicates", "drop_near_duplicates"})
    assert (again, counts) == (kept, {})


# --- splitting


@pytest.fixture(scope="session")
def template(model: ModelFacts, tokenizer: Tokenizer) -> ChatTemplate:
    return choose_template(PLAIN, model, tokenizer)


def _splitter(tokenizer: Tokenizer, template: ChatTemplate, limit: int) -> Splitter:
    return Splitter(tokenizer, template, DataSpec(max_length=limit))


def _length(sample: Sample, tokenizer: Tokenizer, template: ChatTemplate) -> int:
    return len(encode_sample(sample, tokenizer, template, "all", 10**6))


def _running_text(source: random.Random, words: int) -> str:
    pieces = []
    for _ in range(words):
        pieces.append(source.choice(["word", "a", "longer-word", "naïve", "日本", "42", "x" * source.randrange(1, 30)]))
        pieces.append(source.choice([" ", " ", " ", ". ", "\n", "\n\n", "", "  "]))
    return "".join(pieces) or "x"


@pytest.mark.parametrize("limit", [8, 20, 64, 500])
@pytest.mark.parametrize("seed", range(6))
def test_running_text_is_cut_without_losing_a_letter(
    tokenizer: Tokenizer, template: ChatTemplate, limit: int, seed: int
) -> None:
    text = _running_text(random.Random(seed), 300)
    splitter = _splitter(tokenizer, template, limit)
    parts = splitter.split(Sample("a:7", completion=text))
    assert "".join(part.completion for part in parts) == text
    assert all(_length(part, tokenizer, template) <= limit for part in parts)
    assert {part.place for part in parts} == {"a:7"}
    assert splitter.count == (len(parts) > 1)
    whole = _length(Sample("a:7", completion=text), tokenizer, template)
    assert len(parts) <= 3 * whole // limit + 1, "pieces are not much shorter than they may be"
    for part in parts:
        assert splitter.split(part) == (part,)


def test_text_is_cut_between_paragraphs_rather_than_within(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    paragraphs = [f"{'one two three ' * 6}end.\n\n" for _ in range(8)]
    whole = _length(Sample("a:1", completion=paragraphs[0]), tokenizer, template)
    parts = _splitter(tokenizer, template, 3 * whole).split(Sample("a:1", completion="".join(paragraphs)))
    assert all(part.completion.endswith("end.\n\n") for part in parts)


@pytest.mark.parametrize("limit", [30, 60, 120, 4000])
def test_chats_are_cut_before_questions(tokenizer: Tokenizer, template: ChatTemplate, limit: int) -> None:
    source = random.Random(limit)
    turns = [f"{role} {'word ' * source.randrange(1, 12)}{number}" for number in range(10) for role in "ua"]
    sample = chat(*turns, system="Be brief.")
    parts = _splitter(tokenizer, template, limit).split(sample)
    assert all(part.messages[0] == sample.messages[0] for part in parts), "each part has the system text"
    assert tuple(turn for part in parts for turn in part.messages[1:]) == sample.messages[1:]
    assert all(part.messages[1].role == "user" for part in parts)
    for part in parts:
        is_one_exchange = len(part.messages) == 3
        assert is_one_exchange or _length(part, tokenizer, template) <= limit


def test_what_cannot_be_cut_stays(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    splitter = _splitter(tokenizer, template, 16)
    for sample in (
        chat("u question", f"a {'word ' * 100}"),
        chat("u question", f"a {'word ' * 100}", system="Be brief."),
        Sample("a:1", prompt="question", completion="word " * 100),
    ):
        assert splitter.split(sample) == (sample,)
        assert not can_split(sample)
    assert splitter.count == 0


def test_a_row_that_is_there_twice_is_split_once(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    sample = Sample("a:1", completion="word " * 100)
    splitter = _splitter(tokenizer, template, 32)
    parts = splitter.split_all([sample, sample])
    assert splitter.count == 1
    half = len(parts) // 2
    assert all(one is other for one, other in zip(parts[:half], parts[half:], strict=True))


# --- a whole data set


def _write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _messages(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": message.role, "content": message.content} for message in chat(*turns).messages]}


MESSY = [
    _messages("u Wie spÃ¤t ist es?", "a Kurz nach drei."),
    _messages("u one", "u two", "a three"),
    _messages("u What is it?", "a A thing.", "u And then?"),
    _messages("a Hello!", "u Hello.", "a How are you?"),
    _messages("u Who are you?", "a I am {{name}}."),
    _messages("u Read this.", "a na\ufffdve"),
    _messages("u Laugh.", "a " + "ha " * 100),
    _messages("u Feel.", "a As an AI language model, I do not feel."),
    _messages("u Say it once.", "a Once."),
    _messages("u Say it once.", "a Once."),
    _messages("u " + " ".join(map(str, range(30))), "a Done and done."),
    _messages("u " + " ".join(map(str, range(31))), "a Done and done."),
    _messages(*(f"{role} some words to fill this turn {number}" for number in range(12) for role in "ua")),
    *(_messages(f"u What is {number}?", f"a A number: {number * 7}.") for number in range(20)),
]
CHANGED = {
    "fix_encoding": 1, "merge_turns": 1, "trim_turns": 1, "drop_wrong_order": 1, "drop_damaged": 2,
    "drop_placeholders": 1, "drop_loops": 1, "drop_refusals": 1, "drop_duplicates": 1, "drop_near_duplicates": 2,
    "split_long": 1,
}  # fmt: skip


def _load(path: Path, model: ModelFacts, *repairs: str) -> Dataset:
    spec = DataSpec(train=(str(path),), repairs=repairs, max_length=128, validation_share=0.0)
    return load_dataset(spec, 1, model)


@pytest.mark.parametrize("name", REPAIRS)
def test_each_repair_is_done_and_counted_and_leaves_the_file_alone(
    tmp_path: Path, model: ModelFacts, name: str
) -> None:
    path = _write(tmp_path / "rows.jsonl", MESSY)
    before = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    plain, mended = _load(path, model), _load(path, model, name)
    assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before
    assert mended.facts.repaired == {name: CHANGED[name]}
    assert plain.facts.repaired == {}
    assert mended.facts.fingerprint != plain.facts.fingerprint
    difference = mended.facts.train.rows - plain.facts.train.rows
    if name.startswith("drop"):
        assert difference == -CHANGED[name]
        assert mended.facts.files[0].rows == plain.facts.files[0].rows - CHANGED[name]
    else:
        assert difference > 0 if name == "split_long" else difference == 0
        assert [row.tokens for row in mended.train] != [row.tokens for row in plain.train]


def test_all_repairs_together(tmp_path: Path, model: ModelFacts) -> None:
    path = _write(tmp_path / "rows.jsonl", MESSY)
    mended = _load(path, model, *REPAIRS)
    assert set(mended.facts.repaired) == set(REPAIRS)
    again = _load(path, model, *reversed(tuple(REPAIRS)))
    assert again.facts.fingerprint == mended.facts.fingerprint, "the order in the spec does not matter"
    assert [row.tokens for row in again.train] == [row.tokens for row in mended.train]


def test_no_repairs_keep_the_fingerprint(tmp_path: Path, model: ModelFacts) -> None:
    path = _write(tmp_path / "rows.jsonl", MESSY[-20:])
    assert _load(path, model).facts.fingerprint == _load(path, model, *()).facts.fingerprint


def test_split_rows_stay_on_their_side(tmp_path: Path, model: ModelFacts) -> None:
    rows = [{"text": f"Text {number}. " + f"word{number} " * 80} for number in range(20)]
    spec = DataSpec(train=(str(_write(tmp_path / "rows.jsonl", rows)),), max_length=64, repairs=("split_long",))
    found = load_dataset(spec, 3, model)
    sides = [{row.place for row in side} for side in (found.train, found.validation)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 20
    assert found.facts.repaired == {"split_long": 20}
    assert found.facts.train.truncated_rows == found.facts.validation.truncated_rows == 0
