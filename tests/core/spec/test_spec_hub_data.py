"""How a spec names data sets of the hub, and that nothing else is taken for one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spec.codec import resolve_paths
from core.spec.hub_data import HubData, could_be_hub_data, is_hub_data, read_hub_data, typed_hub_data
from core.spec.run_spec import RunSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAGE = "https://huggingface.co/datasets/a/b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:a/b", HubData("a/b")),
        ("HF:a/b ", HubData("a/b")),
        ("hf:squad", HubData("squad")),
        ("hf:a/b/en-US:train@refs/convert/parquet", HubData("a/b", "en-US", "train", "refs/convert/parquet")),
        ("hf:a/b:train.clean", HubData("a/b", "", "train.clean")),
        ("hf:a/b@v1.0", HubData("a/b", revision="v1.0")),
        (PAGE, HubData("a/b")),
        (f"{PAGE}/viewer/20231101.en/train?row=3", HubData("a/b", "20231101.en", "train")),
        (f"{PAGE}/tree/refs%2Fconvert%2Fparquet/x", HubData("a/b", revision="refs/convert/parquet")),
        (f"{PAGE}/tree/main", HubData("a/b")),
        ("https://hf.co/datasets/squad/viewer/plain_text", HubData("squad")),
    ],
)
def test_names_and_addresses(text: str, expected: HubData) -> None:
    assert is_hub_data(text)
    assert read_hub_data(text) == expected


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a/b/c/d", "hf:a/b:", "hf:a/b@", "hf:a/b@../x", "hf:a--b/c", "hf:../x", "hf:a/b/x\ny", "hf: a/b"]
)
def test_what_begins_like_a_name_and_is_none(text: str) -> None:
    assert is_hub_data(text)
    assert read_hub_data(text) is None


@pytest.mark.parametrize(
    "text", ["a/b", "./hf:a/b", "rows.jsonl", "C:\\rows", "https://huggingface.co/a/b", "https://evil.org/datasets/a/b"]
)
def test_what_is_no_name(text: str) -> None:
    assert not is_hub_data(text)
    assert read_hub_data(text) is None


def test_where_only_the_hub_can_be_meant() -> None:
    assert typed_hub_data(" a/b:train ") == HubData("a/b", "", "train")
    assert typed_hub_data(PAGE) == HubData("a/b")
    assert typed_hub_data("no name at all") is None
    assert could_be_hub_data("tatsu-lab/alpaca")
    assert not could_be_hub_data("data/more/rows.jsonl")


WORD = st.from_regex(r"[a-z0-9]\w{0,8}", fullmatch=True).filter(str.isascii)


@given(
    name=st.builds("{}/{}".format, WORD, WORD),
    config=st.just("") | WORD,
    split=st.just("") | WORD,
    revision=st.just("") | st.just(COMMIT) | st.builds("{}/{}".format, WORD, WORD),
)
def test_what_is_written_reads_back(name: str, config: str, split: str, revision: str) -> None:
    found = HubData(name, config, split, revision)
    assert read_hub_data(str(found)) == found
    assert found.is_pinned == bool(config and split and revision == COMMIT)


def test_short_names() -> None:
    assert HubData("a/b", "default", "train", COMMIT).short == "a/b:train@0123456"
    assert HubData("a/b", "en", revision="main").short == "a/b/en@main"


def test_names_stay_where_paths_become_absolute(tmp_path: Path) -> None:
    spec = RunSpec().replace("data.train", (PAGE, "rows.jsonl", "HF:a/b")).replace("data.validation", ("hf:a/b:test",))
    spec = spec.replace("data.weights", {PAGE: 2.0, "rows.jsonl": 3.0})
    found = resolve_paths(spec, tmp_path).data
    assert found.train == ("hf:a/b", str(tmp_path / "rows.jsonl"), "hf:a/b")
    assert found.validation == ("hf:a/b:test",)
    assert found.weights == {"hf:a/b": 2.0, str(tmp_path / "rows.jsonl"): 3.0}
