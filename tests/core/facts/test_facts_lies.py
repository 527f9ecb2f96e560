"""Real configs and headers, made wrong in every way: a sentence that names the place, or facts that weights bear out.

Never another exception, never a silent guess, and whatever is believed can be planned with.
"""

import dataclasses
import json
import math
import random
import statistics
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.facts.blueprints import BLUEPRINTS
from core.facts.catalogue import entries
from core.facts.model_config import parse_config
from core.facts.model_files import read_model
from core.facts.safetensors_header import read_header
from core.facts.tensors import Tensor
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from tests.core.facts.real_folders import config_of, tensors_for, write_config, write_folder, write_shard
from tests.core.plan.invented_facts import MACHINES

# One model of every family, the first of the catalogue.
MODELS = {entry.family: entry.name for entry in reversed(entries())}
NONSENSE = [0, -1, -(2**63), 2**62, 10**30, 1.5, math.nan, math.inf, -math.inf, "abc", "", True, [], [1], {}, {"a": 1}]
# Settings that say how large something is, under all the names that configs of the catalogue use.
SIZES = (
    *("hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head", "vocab_size"),
    *("num_key_value_heads", "num_kv_heads", "intermediate_size", "ffn_dim", "head_dim", "word_embed_proj_dim"),
    *("max_position_embeddings", "n_positions", "moe_intermediate_size"),
)
OTHERS = ("num_experts", "num_local_experts", "num_experts_per_tok", "sliding_window", "num_nextn_predict_layers")
FLAGS = ("tie_word_embeddings",)
TABLES = ("rope_scaling", "rope_parameters")
MEASURES = ("rope_theta", "rms_norm_eps", "layer_norm_eps", "partial_rotary_factor", "attention_dropout")
LOOSE = (
    "text_config",
    "architectures",
    "layer_types",
    "quantization_config",
    "auto_map",
    "use_sliding_window",
    "dtype",
)

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def said(folder: Path) -> str:
    """The refusal of a folder, which says in sentences what is wrong and names the folder or a file in it."""
    with pytest.raises(UserError) as failure:
        read_model(folder)
    return complaint(failure.value, folder)


def complaint(failure: UserError, folder: Path) -> str:
    for problem in failure.problems:
        assert problem.path.startswith(str(folder))
        assert problem.message.endswith(".")
        assert problem.advice.endswith((".", "?"))
    return str(failure)


def outcome(folder: Path) -> ModelFacts | str:
    try:
        return read_model(folder)
    except UserError as failure:
        return complaint(failure, folder)


def can_be_planned(facts: ModelFacts) -> None:
    """A plan with finite, sensible numbers comes of whatever was believed; the same facts are planned with once."""
    _planned(dataclasses.replace(facts, path="", fingerprint="", bytes_on_disk=0))


@cache
def _planned(facts: ModelFacts) -> None:
    for machine in ("rtx4090", "cpu24"):
        planned = plan(RunSpec(), Facts(MACHINES[machine], facts))
        if planned.memory is not None:
            assert 0 <= planned.memory.low_bytes <= planned.memory.peak_bytes <= planned.memory.high_bytes < 2**70
        if planned.parameters is not None:
            assert 0 < planned.parameters.trainable <= planned.parameters.total < 2**60


class Model:
    """A published model with two layers, and room for wrong copies of it."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.config = config_of(MODELS[family], layers=2)
        self.tensors = tensors_for(self.config)
        write_folder(folder, self.config, self.tensors)
        self.facts = read_model(folder)

    @property
    def text(self) -> dict[str, Any]:
        """The settings of the text part."""
        found: dict[str, Any] = self.config.get("text_config", self.config)
        return found

    def with_setting(self, name: str, value: object) -> ModelFacts | str:
        """What is said of it when its config has another value."""
        if "text_config" in self.config and name not in self.config:
            changed = {**self.config, "text_config": {**self.text, name: value}}
        else:
            changed = {**self.config, name: value}
        write_config(self.folder, changed)
        try:
            return outcome(self.folder)
        finally:
            write_config(self.folder, self.config)

    def with_tensors(self, tensors: list[Tensor], shards: int = 1) -> Path:
        """Another folder with the same config and other weights."""
        return write_folder(self.folder.parent / "wrong", self.config, tensors, shards)


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(request.param, tmp_path_factory.mktemp(request.param) / "true")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("llama", tmp_path_factory.mktemp("llama") / "true")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of a family that nobody has heard of."""
    found = Model("llama", tmp_path_factory.mktemp("stranger") / "true")
    found.config |= {"model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    write_config(found.folder, found.config)
    found.facts = read_model(found.folder)
    return found


def test_the_truth_is_believed(model: Model) -> None:
    assert model.facts.parameters == sum(math.prod(tensor.shape) for tensor in model.tensors)
    assert model.facts.notes == () or "experts" in model.facts.notes[0]
    assert not model.facts.assumptions
    can_be_planned(model.facts)


# --- values in the config -------------------------------------------------------------------------------------------


def test_impossible_sizes_are_refused_by_name(model: Model) -> None:
    for name in (name for name in SIZES if name in model.text):
        for value in NONSENSE:
            if isinstance(value, list | dict):
                continue
            found = model.with_setting(name, value)
            assert isinstance(found, str), (name, value)
            assert f"{name} = {str(value)[:40]}" in found, (name, value)


def test_possible_but_wrong_sizes_are_told_from_the_headers(model: Model) -> None:
    """Twice and half of each, and one more: numbers that make sense and are not true of these weights."""
    for name in (name for name in SIZES if name in model.text):
        if name in ("num_attention_heads", "n_head") and model.facts.num_kv_heads == model.facts.num_heads:
            continue  # one matrix of the same size whatever the number of heads in it
        if name == "intermediate_size" and model.facts.expert_size != model.text[name] and model.facts.experts:
            continue  # only layers without experts would have it, and there are none
        true = model.text[name]
        if name in ("max_position_embeddings", "n_positions") and not model.facts.positions:
            continue  # positions that are computed have no weights
        for wrong in (2 * true, true // 2, true + 1):
            found = model.with_setting(name, wrong)
            assert isinstance(found, str), (name, wrong)
            assert name in found or "By the config “" in found or "experts with" in found, (name, wrong, found)


def test_a_left_out_size_is_never_guessed_in_silence(model: Model) -> None:
    """Without a value, the facts are those of the weights, or there is a refusal or an assumption."""
    for name in (name for name in SIZES if name in model.text):
        found = model.with_setting(name, None)
        if isinstance(found, str):
            continue
        assert found.parameters == model.facts.parameters
        assert found.linears == model.facts.linears
        assert found.vocab_size == model.facts.vocab_size
        assert found.num_layers == model.facts.num_layers
        can_be_planned(found)


def test_other_settings_with_any_value(model: Model) -> None:
    rng = random.Random(model.family)
    for name in (*OTHERS, *FLAGS, *TABLES, *MEASURES, *LOOSE):
        for value in (*rng.sample(NONSENSE, 4), None):
            found = model.with_setting(name, value)
            if isinstance(found, ModelFacts):
                can_be_planned(found)


@pytest.mark.parametrize("name", [*MEASURES, *FLAGS, *(f"{table}.factor" for table in TABLES)])
def test_impossible_settings_are_refused_by_name(llama: Model, name: str) -> None:
    for value in (-1, 10**30, math.nan, math.inf, -math.inf, "abc", ["x"], {"a": 1}):
        if name in FLAGS or not isinstance(value, list | dict) or name not in MEASURES[-1:]:
            table, _, inner = name.rpartition(".")
            found = llama.with_setting(table or inner, {inner: value} if table else value)
            assert isinstance(found, str), value
            assert f"{name} = {str(value)[:40]}" in found


def test_more_experts_a_token_than_there_are(tmp_path: Path) -> None:
    moe = Model("qwen3_moe", tmp_path / "m")
    found = moe.with_setting("num_experts_per_tok", 129)
    assert isinstance(found, str)
    assert "num_experts_per_tok = 129, but there are num_experts = 128" in found
    found = moe.with_setting("num_experts", 64)
    assert isinstance(found, str)
    assert "num_experts = 64" in found
    assert "there are 128 experts" in found


def test_a_kind_for_every_layer(llama: Model) -> None:
    found = llama.with_setting("layer_types", ["full_attention"] * 3)
    assert isinstance(found, str)
    assert "num_hidden_layers = 2, but its layer_types lists 3" in found


value = st.sampled_from([*NONSENSE, None]) | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
table = st.dictionaries(
    st.sampled_from(["factor", "rope_theta", "rope_type", "type", "original_max_position_embeddings"]), value
)


@quick
@given(data=st.data())
def test_many_settings_at_once(llama: Model, data: st.DataObject) -> None:
    names = st.sampled_from([*SIZES, *OTHERS, *FLAGS, *TABLES, *MEASURES, *LOOSE, "model_type"])
    changes = data.draw(st.dictionaries(names, value | table, min_size=1, max_size=5))
    write_config(llama.folder, {**llama.config, **changes})
    try:
        found = outcome(llama.folder)
    finally:
        write_config(llama.folder, llama.config)
    if isinstance(found, ModelFacts):
        can_be_planned(found)


# --- headers --------------------------------------------------------------------------------------------------------


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


# --- unknown families -----------------------------------------------------------------------------------------------


def test_an_unknown_family_gets_a_wider_band_and_says_what_was_assumed(tmp_path: Path) -> None:
    config = config_of("meta-llama/Meta-Llama-3-8B")
    known = read_model(write_folder(tmp_path / "known", config, tensors_for(config)))
    renamed = {**config, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    unknown = read_model(write_folder(tmp_path / "unknown", renamed, tensors_for(config)))
    assert unknown.linears == known.linears
    assert unknown.parameters == known.parameters
    bands = []
    for facts in (known, unknown):
        planned = plan(RunSpec().replace("model.base", facts.path), Facts(MACHINES["h100"], facts))
        assert planned.memory is not None
        moving = sum(part.bytes for part in planned.memory.parts if part.name in ("activations", "workspace"))
        bands.append((planned.memory.high_bytes - planned.memory.low_bytes, moving))
    assert bands[1][0] > bands[0][0] + 0.25 * bands[0][1]
    (told,) = [problem for problem in planned.problems if "had to be guessed" in problem.message]
    assert "“llamoid” is not in the table of known ones" in told.message
    assert "wider band" in told.message


def test_every_contradiction_in_an_unknown_family_is_told(stranger: Model) -> None:
    for name in ("num_hidden_layers", "vocab_size", "hidden_size"):
        found = stranger.with_setting(name, stranger.config[name] + 64)
        assert isinstance(found, ModelFacts)
        assert found.linears == stranger.facts.linears
        assert any(f"{name} = " in text and "are believed" in text for text in found.assumptions), name
        can_be_planned(found)


def test_impossible_sizes_of_an_unknown_family_are_refused_too(stranger: Model) -> None:
    for name in (name for name in SIZES if name in stranger.config):
        for value in NONSENSE:
            found = stranger.with_setting(name, value)
            if isinstance(found, ModelFacts):
                assert isinstance(value, list | dict), (name, value)
                can_be_planned(found)
            else:
                assert name in found


@quick
@given(data=st.data())
def test_an_unknown_family_with_any_tensors(stranger: Model, data: st.DataObject) -> None:
    tensors = list(stranger.tensors)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(tensors) - 1))
        shape = tuple(data.draw(st.lists(st.integers(0, 70), max_size=3)))
        name = data.draw(
            st.sampled_from([tensors[at].name, "weight", "model.layers.7.x.weight", "experts.weight", "h.0.a.weight"])
            | st.text("model.layers.0123456789experts.gate.weight", min_size=1, max_size=30)
        )
        dtype, size = data.draw(st.sampled_from([("BF16", 2), ("F32", 4), ("U8", 1), ("BOOL", 1)]))
        tensors[at] = Tensor(name, shape, dtype, size * math.prod(shape))
        if data.draw(st.booleans()) and len(tensors) > 2:
            tensors.pop(data.draw(st.integers(0, len(tensors) - 1)))
    unique = list({tensor.name: tensor for tensor in tensors}.values())
    changes = data.draw(st.dictionaries(st.sampled_from([*SIZES, *OTHERS]), value, max_size=2))
    config = {**stranger.config, **changes}
    found = outcome(write_folder(stranger.folder.parent / "any", config, unique))
    if isinstance(found, ModelFacts):
        assert found.assumptions
        can_be_planned(found)


# --- speed ----------------------------------------------------------------------------------------------------------


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


def test_every_family_is_tried() -> None:
    assert set(MODELS) == set(BLUEPRINTS) - {"ministral3"}  # of which the catalogue has no model
    for name in MODELS.values():
        assert parse_config(config_of(name, 2), name).num_layers == 2
