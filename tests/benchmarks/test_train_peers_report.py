"""The pure parts of the comparison with other trainers: speeds, ratios, floors, the picture and the conversations."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks.peers import products, report
from benchmarks.peers.rows import turns
from benchmarks.peers.settings import Result, StepRecord


def result(name: str, peak: int, *ends: float) -> Result:
    return Result(name, peak, [StepRecord(2.0 - end / 10, 100, 60, 200, end) for end in ends])


def test_the_first_step_is_not_timed() -> None:
    found = report.speed(result("ours", 5, 50.0, 51.0, 54.0), layer_weights=10, head_weights=3)
    assert (found.tokens, found.supervised, found.full) == (50.0, 30.0, 0.5)
    assert found.flops == 4 * (10 * 50.0 + 3 * 30.0)
    with pytest.raises(ValueError, match="too few to time"):
        report.speed(result("ours", 5, 50.0), 10, 3)


def test_ratios_and_floors_are_ours_over_theirs() -> None:
    results = [
        result("ours", 60, 0, 1, 2),
        result("TRL padded", 200, 0, 5, 10),
        result("TRL packed", 100, 0, 2, 4),
        result("LLaMA-Factory packed", 70, 0, 1.5, 3),
    ]
    speeds = [report.speed(found, 10, 3) for found in results]
    text = report.table(speeds, peak=4 * (10 * 100 + 3 * 60))
    assert "| ours | 100 | 60 | 0.50 | 0 | 100% | 1.00× | 1.00× |" in text
    assert text.splitlines()[3].endswith("| 5.00× | 0.30× |")
    assert report.floors(speeds) == [
        "supervised tokens/s over the better packed one: 1.50 (at least 1.8: missed)",
        "supervised tokens/s over TRL padded: 5.00 (at least 6: missed)",
        "peak memory over the least of them: 0.86 (at most 0.8: missed)",
    ]
    assert report.floors(speeds[:2])[-1].endswith("0.30 (at most 0.8: reached)")


def test_the_picture_has_a_line_for_each_trainer_inside_its_frame() -> None:
    picture = report.curves([result("ours", 1, 0, 1, 2), result("A & B", 1, 0, 5)])
    root = ET.fromstring(picture)
    lines = [found.attrib["points"] for found in root.iter() if found.tag.endswith("polyline")]
    assert [len(line.split()) for line in lines] == [3, 2]
    spots = [tuple(map(float, spot.split(","))) for line in lines for spot in line.split()]
    assert all(0 <= x <= 720 and 0 <= y <= 400 for x, y in spots)
    assert "A & B" in "".join(root.itertext())


def test_the_weights_of_a_llama() -> None:
    config = {
        "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
        "num_hidden_layers": 30, "vocab_size": 49152, "head_dim": 64,
    }  # fmt: skip
    weights = sum(inside * outside * times for (inside, outside), times in products.shapes(config).items())
    assert weights == 134_515_008 - 61 * 576  # all of SmolLM2 but its norms; the head is the embedding


def test_turns_of_chatml() -> None:
    text = "<|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nHi\nyou<|im_end|>\n"
    text += "<|im_start|>assistant\n\nYo<|im_end|>\n"
    assert turns(text) == [
        {"role": "system", "content": "Be."},
        {"role": "user", "content": "Hi\nyou"},
        {"role": "assistant", "content": "\nYo"},
    ]
