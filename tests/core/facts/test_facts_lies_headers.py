"""True configs beside headers that are wrong in every way: each is caught, and the tensor or file is named."""

import dataclasses
import json
import math
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.facts.model_files import read_model
from core.facts.safetensors_header import read_header
from core.facts.tensors import Tensor
from core.facts.types import ModelFacts
from tests.core.facts.real_folders import config_of, tensors_for, write_config, write_folder, write_shard
from tests.core.facts.wrong_models import MODELS, Model, said


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(request.param, tmp_path_factory.mktemp(request.param) / "true")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("llama", tmp_path_factory.mktemp("llama") / "true")


def other_shapes(tensor: Tensor) -> Iterator[Tensor]:
    for axis in range(len(tensor.shape)):
        for size in (tensor.shape[axis] + 1, tensor.shape[axis] // 2, 0):
            shape = (*tensor.shape[:axis], size, *tensor.shape[axis + 1 :])
            yield resized(tensor, shape)
    yield resized(tensor, (*tensor.shape, 2))
    yield resized(tensor, (math.prod(tensor.shape),) if len(tensor.shape) > 1 else (1, *tensor.shape))


def resized(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return dataclasses.replace(tensor, shape=shape, bytes=2 * math.prod(shape))


def stored_apart(tensor: Tensor) -> bool:
    """Experts lie in files otherwise than they are loaded, so their own shapes are not compared."""
    return ".experts." in tensor.name


def test_other_shapes_are_caught(model: Model) -> None:
    rng = random.Random(model.family)
    kinds = {tensor.name.replace(".1.", ".0."): index for index, tensor in enumerate(model.tensors)}
    for index in kinds.values():
        tensor = model.tensors[index]
        if stored_apart(tensor):
            continue
        wrong = rng.choice([found for found in other_shapes(tensor) if found.shape != tensor.shape])
        folder = model.with_tensors([*model.tensors[:index], wrong, *model.tensors[index + 1 :]])
        assert refers_to(said(folder), tensor, model), wrong


def test_missing_tensors_are_caught(model: Model) -> None:
    for index, tensor in enumerate(model.tensors):
        if not stored_apart(tensor):
            folder = model.with_tensors([*model.tensors[:index], *model.tensors[index + 1 :]])
            assert refers_to(said(folder), tensor, model), tensor.name


def refers_to(text: str, tensor: Tensor, model: Model) -> bool:
    """Whether a refusal means this tensor: by its name, or as the head, the embeddings or a router."""
    if tensor.name.startswith("lm_head") or model.facts.embedding in tensor.name:
        return tensor.name in text or any(
            words in text for words in ("no output head", "no input emb", "No embeddings")
        )
    return tensor.name in text or (".gate." in tensor.name and "no such router" in text)


def test_foreign_tensors_are_left_out_and_named(model: Model) -> None:
    root = model.facts.linears[0].name.rpartition(".layers.")[0] or "transformer"
    block = model.facts.linears[1].name.rpartition(".")[0]
    for name in ("v_head.summary.weight", f"{root}.extra_proj.weight", f"{block}.extra_proj.weight"):
        if model.facts.experts and ".mlp." in name:
            continue
        found = read_model(model.with_tensors([*model.tensors, Tensor(name, (4, 4), "BF16", 32)]))
        assert found.parameters == model.facts.parameters
        assert found.linears == model.facts.linears
        assert any("no place for 1 of the stored tensors" in text and name in text for text in found.notes)


def test_biases_that_the_config_denies(model: Model) -> None:
    for linear in model.facts.linears:
        if not linear.bias and not stored_apart(Tensor(linear.name, (), "", 0)):
            bias = Tensor(f"{linear.name}.bias", (linear.out_features,), "BF16", 2 * linear.out_features)
            text = said(model.with_tensors([*model.tensors, bias]))
            assert bias.name in text
            assert "no bias" in text


def test_tensors_that_are_loaded_as_one(model: Model) -> None:
    for tensor in model.tensors[:1] + model.tensors[-1:]:
        second = dataclasses.replace(tensor, name=f"model.model.{tensor.name}")
        text = said(model.with_tensors([*model.tensors, second]))
        assert "loaded as one tensor" in text or "no place" in text
        assert second.name in text


def test_weights_that_are_no_plain_numbers(model: Model) -> None:
    for dtype, size in (("I8", 1), ("U8", 1), ("I32", 4), ("F8_E4M3", 1), ("I64", 8)):
        packed = [
            dataclasses.replace(tensor, dtype=dtype, bytes=size * math.prod(tensor.shape)) for tensor in model.tensors
        ]
        assert f"stored as {dtype}" in said(model.with_tensors(packed))


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16"])
def test_other_plain_numbers_are_believed(llama: Model, dtype: str) -> None:
    size = {"F64": 8, "F32": 4, "F16": 2}[dtype]
    tensors = [dataclasses.replace(one, dtype=dtype, bytes=size * math.prod(one.shape)) for one in llama.tensors]
    found = read_model(llama.with_tensors(tensors))
    assert found.dtype == dtype
    assert found.parameters == llama.facts.parameters


def test_cut_files(model: Model) -> None:
    folder = model.with_tensors(model.tensors)
    file = folder / "model.safetensors"
    size = file.stat().st_size
    with file.open("rb") as stream:
        header = 8 + int.from_bytes(stream.read(8), "little")
    for length in (0, 4, 8, header // 2, header - 1, header, header + 1, size - 1):
        write_shard(file, model.tensors)
        with file.open("r+b") as stream:
            stream.truncate(length)
        text = said(folder)
        assert ("ends inside its header" if length < header else "cut off") in text, length


def test_missing_doubled_and_misplaced_shards(model: Model) -> None:
    folder = model.with_tensors(model.tensors, shards=3)
    (folder / "model.safetensors").unlink(missing_ok=True)
    files = sorted(folder.glob("*-of-*.safetensors"))
    assert read_model(folder).linears == model.facts.linears
    files[1].rename(folder / "gone")
    assert f"1 of the model's 3 weight files is missing: {files[1].name}" in said(folder)
    write_shard(files[1], model.tensors[::3])
    text = said(folder)
    assert model.tensors[0].name in text
    assert "as well" in text
    write_shard(files[1], [dataclasses.replace(one, name=f"other.{one.name}") for one in model.tensors[1::3]])
    text = said(folder)
    assert "not where it says" in text
    assert model.tensors[1].name in text
    for file in (*files, folder / "gone", folder / "model.safetensors.index.json"):
        file.unlink()


@pytest.mark.parametrize("name", ["../true/model.safetensors", "/etc/passwd", "..", "a/b.safetensors", "a\\b", "a\0b"])
def test_an_index_that_leaves_the_folder(llama: Model, tmp_path: Path, name: str) -> None:
    write_config(tmp_path, llama.config)
    places = {tensor.name: name for tensor in llama.tensors}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert "does not lie in the model's own folder" in said(tmp_path)


# --- head and embeddings --------------------------------------------------------------------------------------------


def test_ties_that_do_not_hold(tmp_path: Path) -> None:
    apart = Model("mistral", tmp_path / "apart")
    assert not apart.facts.tied_embeddings
    found = apart.with_setting("tie_word_embeddings", True)
    assert isinstance(found, ModelFacts)  # zeros are equal to zeros: one matrix, as transformers finds too
    assert found.tied_embeddings
    (stored,) = [one for one in read_header(apart.folder / "model.safetensors") if one.name == "lm_head.weight"]
    with (apart.folder / "model.safetensors").open("r+b") as file:
        file.seek(stored.offset)
        file.write(b"\1\1")
    found = apart.with_setting("tie_word_embeddings", True)
    assert isinstance(found, ModelFacts)
    assert not found.tied_embeddings
    assert found.parameters == apart.facts.parameters
    assert "differs from" in found.assumptions[0]
    head = next(one for one in apart.tensors if one.name == "lm_head.weight")
    rest = [one for one in apart.tensors if one is not head]
    assert "no output head" in said(apart.with_tensors(rest))
    embedding = next(one for one in apart.tensors if "embed" in one.name)
    assert "no input embeddings" in said(apart.with_tensors([one for one in apart.tensors if one is not embedding]))
    tied = {**apart.config, "tie_word_embeddings": True}
    smaller = resized(head, (head.shape[0] - 8, head.shape[1]))
    text = said(write_folder(tmp_path / "other", tied, [*rest, smaller]))
    assert "By the config “lm_head.weight”" in text
    assert read_model(write_folder(tmp_path / "one", tied, rest)).tied_embeddings


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-72B"])
def test_the_largest_models_are_read_in_a_moment(tmp_path: Path, name: str) -> None:
    """Thirty files of headers, as they are published: processor time, so that a busy computer does not count."""
    config = config_of(name)
    folder = write_folder(tmp_path / "m", config, tensors_for(config), shards=30)
    spans = []
    for _ in range(5):
        start = time.process_time()
        facts = read_model(folder)
        spans.append(time.process_time() - start)
    assert facts.parameters > 70e9
    assert statistics.median(spans) < 0.05
