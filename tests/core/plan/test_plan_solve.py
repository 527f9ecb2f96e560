"""The fit solver: whatever it offers is planned again and does what it says."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Edit, Severity
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.plan.solve import Offer, Solution, is_unsolved, largest, solve, with_fixes
from core.plan.solve.largest import PATHS
from core.plan.solve.rows import cut_at
from core.plan.types import Memory
from core.spec.rules import check
from core.spec.run_spec import RunSpec, field_at
from core.units import GIB, format_bytes
from tests.core.plan.invented_facts import MACHINES, MODELS, data, facts, gpt2, gpu, lengths, llama, machine, spec

TINY = llama(64, 160, 4, 4, 2, 300)
THREE_B = llama(3072, 8192, 28, 24, 8, 128256, tied=True, context=131072)
BASES = (*MODELS.values(), THREE_B)


def memory_of(asked: RunSpec, known: Facts) -> Memory:
    memory = plan(asked, known).memory
    assert memory is not None
    return memory


def changed(asked: RunSpec, edits: tuple[Edit, ...]) -> RunSpec:
    for edit in edits:
        asked = asked.replace(edit.path, edit.value)
    return asked


def facts_for(asked: RunSpec, known: Facts, bases: tuple[ModelFacts, ...]) -> Facts:
    """The facts of a changed spec: those of another model where it names another."""
    model = next((model for model in bases if model.path == asked.model.base), known.model)
    return dataclasses.replace(known, model=model)


def errors_of(asked: RunSpec, known: Facts) -> set[str]:
    return {problem.path for problem in plan(asked, known).problems if problem.severity is Severity.ERROR}


def with_free(known: Facts, free: float) -> Facts:
    """The same machine with another amount of free memory on its first GPU and in RAM."""
    hardware = known.hardware
    cards = tuple(
        dataclasses.replace(card, free_bytes=int(free), total_bytes=max(card.total_bytes, int(free)))
        for card in hardware.gpus
    )
    ram = hardware.ram_free_bytes if cards else int(free)
    return dataclasses.replace(known, hardware=dataclasses.replace(hardware, gpus=cards, ram_free_bytes=ram))


def by_kind(asked: RunSpec, known: Facts, kind: str, bases: tuple[ModelFacts, ...] = ()) -> Offer:
    return next(offer for offer in solve(asked, known, bases).offers if offer.kind == kind)


# ---------------------------------------------------------------------------------------------------- what is promised


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    method = draw(st.sampled_from(["lora", "lora", "rslora", "dora", "full"]))
    quantizations = ["auto", "none"] if method == "full" else ["auto", "none", "nf4", "int8"]
    rank = draw(st.sampled_from([1, 4, 6, 16, 64, 256]))
    return spec(
        adapter__method=method,
        adapter__rank=rank,
        adapter__alpha=2.0 * rank,
        adapter__dropout=draw(st.sampled_from([0.0, 0.1])),
        adapter__targets=draw(st.sampled_from([("all-linear",), ("attention",), ("mlp", "attention")])),
        adapter__layers=draw(st.sampled_from(["all", "last 1"])),
        adapter__modules_to_save=draw(st.sampled_from([(), (), ("lm_head",)])),
        adapter__rank_pattern=draw(st.sampled_from([{}, {}, {"0.down_proj": 32}])) if method != "full" else {},
        model__quantization=draw(st.sampled_from(quantizations)),
        model__double_quant=draw(st.booleans()),
        model__compute_dtype=draw(st.sampled_from(["auto", "auto", "fp32", "bf16"])),
        data__max_length=draw(st.sampled_from([64, 512, 2048, 8192, 100_000])),
        data__packing=draw(st.sampled_from(["auto", "off"])),
        training__micro_batch_tokens=draw(st.sampled_from([0, 0, 512, 4096, 30_000])),
        training__effective_batch=draw(st.sampled_from([1, 16, 256])),
        training__optimizer=draw(st.sampled_from(["auto", "auto", "adamw", "adamw_8bit", "paged_adamw"])),
        training__learning_rate=draw(st.sampled_from([2e-5, 2e-4])),
        hardware__device=draw(st.sampled_from(["auto", "auto", "cpu"])),
        hardware__attention=draw(st.sampled_from(["auto", "auto", "eager", "sdpa"])),
        hardware__activation_checkpointing=draw(st.sampled_from(["auto", "off", "layers", "all"])),
        hardware__checkpointed_layers=draw(st.sampled_from([1, 10])),
    )


ROWS = (
    None,
    data(lengths(rows=20, mean=40, longest=90)),
    data(),
    data(lengths(rows=5000, mean=900, longest=7900)),
    data(lengths(rows=300, mean=500, longest=2048, truncated=30, lost=9000)),
)


@st.composite
def short_of_memory(draw: st.DrawFn) -> tuple[RunSpec, Facts]:
    """A spec on a machine that has less memory free than the run needs, often only a little less."""
    asked = draw(specs())
    model = draw(st.sampled_from([MODELS["135m"], MODELS["1b"], TINY, gpt2()]))
    known = Facts(draw(st.sampled_from(list(MACHINES.values()))), model, draw(st.sampled_from(ROWS)))
    share = draw(st.floats(0.05, 1.05))
    return asked, with_free(known, memory_of(asked, known).peak_bytes * share)


@settings(deadline=None, max_examples=150)
@given(short_of_memory())
def test_every_offer_does_what_it_says(drawn: tuple[RunSpec, Facts]) -> None:
    check_offers(*drawn)


def check_offers(asked: RunSpec, known: Facts) -> Solution:
    """Plans every offer again."""
    before = memory_of(asked, known)
    solution = solve(asked, known, BASES)
    assert solution.fits == (before.verdict == "fits")
    if before.verdict in ("fits", "unknown"):
        assert (solution.offers, solution.best) == ((), None)
        return solution
    offers = [*solution.offers, *([solution.best] if solution.best else [])]
    for offer in offers:
        again = changed(asked, offer.edits)
        there = facts_for(again, known, BASES)
        after = memory_of(again, there)
        assert after.peak_bytes == offer.peak_bytes, offer
        assert (after.verdict == "fits") == offer.fits, offer
        assert offer.fits or after.peak_bytes < before.peak_bytes, offer
        assert not errors_of(again, there) - errors_of(asked, known), offer
        assert offer.slower > 0, offer
        assert offer.title, offer
        assert offer.quality, offer
        assert (offer.quality == "nothing") == (offer.loss == 0), offer
    assert [offer.fits for offer in solution.offers] == sorted((offer.fits for offer in solution.offers), reverse=True)
    assert (solution.best is not None) >= any(offer.fits for offer in solution.offers)
    assert solution.best is None or solution.best.fits
    return solution


ASKED: tuple[dict[str, object], ...] = (
    {},
    {"model__quantization": "none"},
    {"model__quantization": "int8"},
    {"adapter__method": "full"},
    {"adapter__method": "full", "training__optimizer": "adamw", "training__learning_rate": 2e-5},
    {"adapter__method": "dora", "adapter__rank": 256, "adapter__alpha": 512.0, "adapter__dropout": 0.1},
    {"model__quantization": "none", "hardware__activation_checkpointing": "off", "training__micro_batch_tokens": 16384},
    {"model__compute_dtype": "fp32", "hardware__attention": "eager"},
    {"adapter__modules_to_save": ("embed_tokens", "lm_head")},
    {"training__micro_batch_tokens": 32768, "training__effective_batch": 128},
)


@pytest.mark.parametrize("machine_name", MACHINES)
def test_common_wishes_on_common_machines(machine_name: str) -> None:
    solutions = [check_offers(spec(**asked), facts(machine_name, model)) for asked in ASKED for model in MODELS]
    short = [solution for solution in solutions if not solution.fits]
    assert 0.1 < len(short) / len(solutions) < 0.9
    assert sum(solution.best is not None for solution in short) > len(short) / 2


@settings(deadline=None, max_examples=60)
@given(short_of_memory())
def test_no_change_of_the_best_set_can_be_left_out(drawn: tuple[RunSpec, Facts]) -> None:
    asked, known = drawn
    best = solve(asked, known).best
    if best is None or best.kind != "set":
        return
    whole = {edit.path for edit in best.edits}
    for path in whole - {"adapter.alpha", "training.learning_rate", "adapter.rank_pattern"}:
        fewer = changed(asked, tuple(edit for edit in best.edits if edit.path != path))
        if not errors_of(fewer, known):
            assert memory_of(fewer, known).verdict != "fits", (best, path)


@settings(deadline=None, max_examples=60)
@given(short_of_memory())
def test_fixes_of_the_plan_do_what_they_say(drawn: tuple[RunSpec, Facts]) -> None:
    asked, known = drawn
    before = memory_of(asked, known)
    said = plan(asked, known).problems
    assert is_unsolved(said) == (before.verdict in ("tight", "does_not_fit"))
    solution = solve(asked, known)
    solved = with_fixes(said, solution)
    assert not is_unsolved(solved)
    assert [problem.message for problem in solved] == [problem.message for problem in said]
    found = [problem for problem in solved if problem not in said]
    assert len(found) == is_unsolved(said)
    assert not found or bool(found[0].fixes) == (solution.best is not None)
    for fix in found[0].fixes if found else ():
        again = changed(asked, fix.edits)
        after = memory_of(again, known)
        assert ("fits with" in fix.title or fix.title.startswith("Make it fit")) == (after.verdict == "fits"), fix
        assert after.verdict == "fits" or after.peak_bytes < before.peak_bytes, fix
        assert not errors_of(again, known) - errors_of(asked, known), fix
    assert not found or len(found[0].fixes) <= 4


# ------------------------------------------------------------------------------------------------------------ examples


def test_the_order_of_preference() -> None:
    """What costs only time comes before what costs quality."""
    asked = spec(
        model__quantization="none", hardware__activation_checkpointing="off", training__micro_batch_tokens=16384
    )
    solution = solve(asked, facts("rtx3060", "1b"), BASES)
    fitting = [offer for offer in solution.offers if offer.fits]
    assert [offer.kind for offer in fitting[:2]] == ["passes", "checkpointing"]
    assert all(offer.quality == "nothing" for offer in fitting[:2])
    assert [offer.loss for offer in fitting] == sorted(offer.loss for offer in fitting)
    assert solution.best == fitting[0]
    assert fitting[0].slower < fitting[1].slower


def test_fewest_checkpointed_layers() -> None:
    asked = spec(
        hardware__activation_checkpointing="off", training__micro_batch_tokens=8192, model__quantization="none"
    )
    known = facts("rtx3060", "1b")
    known = with_free(known, memory_of(asked, known).peak_bytes * 0.8)
    offer = by_kind(asked, known, "checkpointing")
    count = plan(changed(asked, offer.edits), known).choices.checkpointed_layers.value
    assert 0 < count < 16
    assert offer.title == f"Checkpoint {count} of 16 layers"
    by_hand = asked.replace("hardware.activation_checkpointing", "layers")
    assert memory_of(by_hand.replace("hardware.checkpointed_layers", count), known).verdict == "fits"
    assert memory_of(by_hand.replace("hardware.checkpointed_layers", count - 1), known).verdict != "fits"


def test_smaller_passes_keep_the_rows_of_a_step() -> None:
    asked = spec(training__micro_batch_tokens=32768, training__effective_batch=128)
    offer = by_kind(asked, facts("rtx3060", "8b"), "passes")
    (edit,) = offer.edits
    assert edit.path == "training.micro_batch_tokens"
    assert offer.fits
    assert isinstance(edit.value, int)
    larger = asked.replace(edit.path, edit.value + 512)
    assert memory_of(larger, facts("rtx3060", "8b")).verdict != "fits"
    assert "128 rows" in offer.reason
    assert offer.quality == "nothing"


def test_shorter_rows_name_what_is_cut() -> None:
    rows = data(dataclasses.replace(lengths(rows=1000, mean=300, longest=2000), histogram={"1000": 960, "2000": 40}))
    known = facts("rtx3060", "1b", rows)
    asked = spec(data__packing="off", hardware__activation_checkpointing="off", model__quantization="none")
    short = with_free(known, memory_of(asked, known).peak_bytes)
    offer = by_kind(asked, short, "rows")
    limit = offer.edits[0].value
    assert isinstance(limit, int)
    assert 1000 <= limit < 2000
    cut = cut_at(rows.train, limit)
    assert f"About {cut.rows:,} of 1,000 rows lose about {cut.tokens:,} tokens" in offer.reason
    assert offer.slower < 1
    unknown = by_kind(asked, dataclasses.replace(short, data=None), "rows")
    assert unknown.quality == "longer rows lose their ends"


def test_lower_rank_keeps_alpha_beside_it() -> None:
    asked = spec(
        adapter__rank=256,
        adapter__alpha=512.0,
        adapter__rank_pattern={"down_proj": 512},
        hardware__activation_checkpointing="all",
        model__quantization="nf4",
        training__micro_batch_tokens=1100,
    )
    known = facts("rtx3060", "1b")
    known = with_free(known, memory_of(asked, known).peak_bytes * 0.9)
    offer = by_kind(asked, known, "rank")
    values = {edit.path: edit.value for edit in offer.edits}
    rank = values["adapter.rank"]
    assert isinstance(rank, int)
    assert values["adapter.alpha"] == 2.0 * rank
    assert values["adapter.rank_pattern"] == {"down_proj": rank}
    assert rank % 4 == 0


def test_full_fine_tuning_turns_into_an_adapter_with_its_learning_rate() -> None:
    asked = spec(adapter__method="full", training__learning_rate=2e-5)
    solution = solve(asked, facts("rtx3060", "8b"))
    assert solution.best is not None
    assert solution.best.kind == "adapter"
    again = changed(asked, solution.best.edits)
    assert (again.adapter.method, again.training.learning_rate) == ("lora", 2e-4)
    assert not check(again)


@pytest.mark.parametrize("model", ["1b", "8b", "70b"])
def test_a_few_changes_are_taken_before_many(model: str) -> None:
    """A set is not made of everything that is dearer than what would have been enough."""
    asked = spec(model__quantization="none", data__max_length=16384, hardware__activation_checkpointing="off")
    known = dataclasses.replace(facts("rtx4090", model), data=None)
    smallest_run = solve(asked, with_free(known, 1 << 20)).needed_bytes
    best = solve(asked, with_free(known, 1.4 * smallest_run)).best
    assert best is not None
    assert best.loss <= 4  # 4-bit weights, optimizer states in 8 bits, and shorter rows
    assert not {"adapter.rank", "adapter.targets"} & {edit.path for edit in best.edits}


def test_several_changes_together() -> None:
    small = machine(gpu("Small", (8, 6), 4.0, 0.3), ram_gib=8, free_gib=1)
    asked = spec(
        model__quantization="none",
        hardware__activation_checkpointing="off",
        training__micro_batch_tokens=8192,
        training__effective_batch=64,
    )
    known = Facts(small, MODELS["1b"], data(lengths(longest=400, mean=200)))
    solution = solve(asked, known)
    assert not any(offer.fits for offer in solution.offers)
    assert solution.best is not None
    assert solution.best.kind == "set"
    assert len(solution.best.edits) >= 2
    assert memory_of(changed(asked, solution.best.edits), known).verdict == "fits"
    problem = next(p for p in with_fixes(plan(asked, known).problems, solution) if p.path == "hardware.device")
    assert problem.fixes[0].title.startswith(f"Make it fit: {solution.best.title} (about ")
    assert problem.fixes[0].edits == solution.best.edits


def test_nothing_helps_and_what_would() -> None:
    known = facts("rtx3060", "70b")
    solution = solve(spec(), known)
    assert solution.best is None
    (problem,) = (p for p in with_fixes(plan(spec(), known).problems, solution) if p.path == "hardware.device")
    assert problem.fixes == ()
    assert f"{format_bytes(solution.needed_bytes)} would have to be free" in problem.advice
    assert not any(offer.fits for offer in solution.offers)
    assert "smaller base model" in solution.sentence
    enough = with_free(known, solution.needed_bytes)
    found = solve(spec(), enough)
    assert found.fits or found.best is not None
    assert solve(spec(), with_free(known, solution.needed_bytes * 0.98)).best is None


def test_a_smaller_base_of_the_same_family_comes_first() -> None:
    other = dataclasses.replace(THREE_B, path="/models/other-3b", family="qwen2", parameters=THREE_B.parameters + 1)
    solution = solve(spec(), facts("rtx3060", "70b"), (other, *BASES))
    assert solution.best is not None
    assert solution.best.kind == "base"
    assert solution.best.edits[0].value == MODELS["8b"].path
    (problem,) = (p for p in with_fixes(plan(spec(), facts("rtx3060", "70b")).problems, solution) if p.fixes)
    assert problem.fixes[0].edits == solution.best.edits
    assert not [fix for fix in problem.fixes[1:] if fix.edits[0].path == "model.base"]
    named = [offer.edits[0].value for offer in solution.offers if offer.kind == "base"]
    assert named == [MODELS["8b"].path, THREE_B.path, MODELS["1b"].path]
    twins = [
        dataclasses.replace(MODELS["8b"], path=f"/models/llama-8030m{end}") for end in ("-x", "-instruct", "-chat")
    ]
    asked = dataclasses.replace(
        facts("rtx3060"), model=dataclasses.replace(MODELS["70b"], path="/models/llama-70b-chat")
    )
    (offer,) = [offer for offer in solve(spec(), asked, twins).offers if offer.kind == "base"]
    assert offer.edits[0].value == "/models/llama-8030m-chat"
    short = dataclasses.replace(MODELS["8b"], context_length=1024)
    (offer,) = [offer for offer in solve(spec(), facts("rtx3060", "70b"), (short,)).offers if offer.kind == "base"]
    assert Edit("data.max_length", 1024) in offer.edits


def test_models_that_cannot_be_tuned_are_no_way_out() -> None:
    wrong = (
        dataclasses.replace(MODELS["8b"], prequantized="awq"),
        dataclasses.replace(MODELS["8b"], remote_code=True),
        dataclasses.replace(MODELS["8b"], path="/models/8b.gguf"),
    )
    assert solve(spec(), facts("rtx3060", "70b"), wrong).best is None


def test_another_device() -> None:
    tiny = machine(gpu("Tiny", (8, 6), 1.0, 0.1))
    offer = by_kind(spec(), Facts(tiny, MODELS["1b"], data()), "processor")
    assert offer.fits
    assert offer.slower > 2
    both = machine(gpu("Large", (8, 9), 24.0), ram_gib=4, free_gib=2)
    offer = by_kind(spec(hardware__device="cpu"), Facts(both, MODELS["1b"], data()), "gpu")
    assert offer.edits == (Edit("hardware.device", "auto"),)
    assert offer.slower < 1


def test_a_tight_run_is_offered_changes_too() -> None:
    asked = spec(
        training__micro_batch_tokens=2048, hardware__activation_checkpointing="off", model__quantization="none"
    )
    known = facts("rtx4090", "1b")
    tight = with_free(known, memory_of(asked, known).peak_bytes / 0.95)
    assert memory_of(asked, tight).verdict == "tight"
    solution = solve(asked, tight)
    assert not solution.fits
    assert solution.best is not None
    assert plan(asked, tight).can_start


def test_nothing_to_say() -> None:
    assert solve(spec(), facts("h100", "1b")).fits
    for known in (Facts(MACHINES["rtx3060"]), Facts(MACHINES["rtx3060"], None, data())):
        solution = solve(spec(), known)
        assert (solution.fits, solution.offers, solution.best) == (False, (), None)
    wrong = solve(spec(adapter__targets=("nonsense",)), facts("rtx3060", "8b"))
    assert (wrong.offers, wrong.best) == ((), None)


def test_paged_states_need_ram() -> None:
    known = facts("rtx4090", "1b")
    starved = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, ram_free_bytes=GIB))
    asked = spec(adapter__method="full", training__optimizer="paged_adamw_8bit", training__learning_rate=2e-5)
    assert not [problem for problem in plan(asked, known).problems if "RAM" in problem.message]
    (problem,) = [problem for problem in plan(asked, starved).problems if "RAM" in problem.message]
    assert problem.path == "training.optimizer"
    assert not [
        problem
        for problem in plan(changed(asked, problem.fixes[0].edits), starved).problems
        if "RAM" in problem.message
    ]
    # States that RAM has no room for are never offered to be paged.
    unpaged = asked.replace("training.optimizer", "adamw")
    short = with_free(starved, memory_of(unpaged, starved).peak_bytes * 0.9)
    assert not [offer for offer in solve(unpaged, short).offers if "paged" in str(offer.edits)]


@pytest.mark.parametrize("path", ["adapter.rank", "adapter.targets", "data.max_length", "training.micro_batch_tokens"])
@pytest.mark.parametrize("value", [None, "nonsense", -5, ["x"], 10**9, float("nan")])
def test_nonsense_never_raises(path: str, value: object) -> None:
    asked = spec(model__quantization="none").replace(path, value)
    solution = solve(asked, facts("rtx3060", "8b"), BASES)
    assert all(offer.edits for offer in solution.offers)
    for what in PATHS:
        found = largest(asked, facts("rtx3060", "1b"), what)
        assert found is None or found > 0


# ------------------------------------------------------------------------------------------------------- the largest


@settings(deadline=None, max_examples=60)
@given(short_of_memory(), st.sampled_from(sorted(PATHS)))
def test_the_largest_fits_and_the_next_does_not(drawn: tuple[RunSpec, Facts], what: str) -> None:
    asked, known = drawn
    known = with_free(known, memory_of(asked, known).free_bytes * 1.5)
    path = PATHS[what]  # type: ignore[index]
    found = largest(asked, known, what)  # type: ignore[arg-type]
    bounds = field_at(path).setting.bounds
    assert bounds is not None
    if found is None:
        hidden = what == "rank" and asked.adapter.method == "full"
        targets = plan(asked, known).parameters
        smallest = int(bounds.low or 1) or 1
        assert hidden or targets is None or memory_of(asked.replace(path, smallest), known).verdict != "fits"
        return
    assert bounds.contains(found)
    assert memory_of(asked.replace(path, found), known).verdict == "fits"
    beyond = memory_of(asked.replace(path, found + 1), known)
    model = known.model
    assert model is not None
    capped = {
        "max_length": found == (model.context_length or bounds.high),
        "rank": found >= 64,
        "effective_batch": found == (known.data.train.rows if known.data else bounds.high),
        # A step takes no larger passes than it has tokens; only validation would.
        "micro_batch_tokens": beyond.moment == "evaluation"
        or beyond.peak_bytes == memory_of(asked.replace(path, found), known).peak_bytes,
    }
    assert beyond.verdict != "fits" or capped[what] or found == bounds.high


def test_the_largest_by_example() -> None:
    known = Facts(MACHINES["rtx3060"], MODELS["8b"])
    length = largest(spec(), known, "max_length")
    assert length is not None
    assert 2048 < length < 131072
    rank = largest(spec(), known, "rank")
    assert rank is not None
    assert 16 < rank <= 4096
    assert largest(spec(), facts("rtx3060", "70b"), "max_length") is None
    assert largest(spec(adapter__method="full"), facts("h100", "1b"), "rank") is None
    assert largest(spec(), Facts(MACHINES["h100"]), "rank") is None
    # Rows that are known and short need no more memory, however much is allowed.
    assert largest(spec(), facts("h100", "1b"), "max_length") == 131072
    assert largest(spec(), facts("h100", "1b"), "effective_batch") == 2000
