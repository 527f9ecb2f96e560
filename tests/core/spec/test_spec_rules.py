"""What the rules say about a spec: every rule fires where it should, stays silent elsewhere, and its fixes mend it."""

import math

import pytest

from core.errors import Problem, Severity
from core.spec.rules import check
from core.spec.run_spec import RunSpec, fields

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
INF, NAN = math.inf, math.nan


def good() -> RunSpec:
    return RunSpec().replace("model.base", "starter").replace("data.train", ("rows.jsonl",))


def with_settings(settings: dict[str, object]) -> RunSpec:
    spec = good()
    for path, value in settings.items():
        spec = spec.replace(path, value)
    return spec


def mended(spec: RunSpec, problem: Problem) -> list[RunSpec]:
    """The spec after each of a problem's fixes."""
    results = []
    for fix in problem.fixes:
        after = spec
        for edit in fix.edits:
            after = after.replace(edit.path, edit.value)
        results.append(after)
    return results


CASES: list[tuple[dict[str, object], Severity, str, str]] = [
    (
        {"data.train_on": "preferences", "training.preference_loss": "orpo", "training.chosen_weight": 0.5},
        WARNING,
        "training.chosen_weight",
        "ORPO learns the chosen answer anyway",
    ),
    ({"hardware.sharding": "base"}, ERROR, "hardware.sharding", "there is one process"),
    (
        {"hardware.sharding": "base", "hardware.processes": 2, "model.quantization": "nf4"},
        ERROR,
        "hardware.sharding",
        "4-bit ones are chosen",
    ),
    (
        {"hardware.sharding": "base", "hardware.processes": 2, "adapter.method": "full"},
        ERROR,
        "hardware.sharding",
        "only weights that stay as they are can be shared",
    ),
    ({"model.base": " "}, ERROR, "model.base", "No base model is chosen."),
    ({"adapter.start": "pissa", "adapter.start_from": "last"}, ERROR, "adapter.start", "cannot both go on"),
    ({"training.extensions": ("soon",)}, ERROR, "training.extensions", "is not a step, a colon"),
    ({"training.extensions": ("9: 2",)}, ERROR, "training.extensions", "not above 0 and at most 1"),
    ({"training.extensions": ("9: 0.1 wavy",)}, ERROR, "training.extensions", "names no schedule"),
    ({"training.extensions": ("0: 0.1",)}, ERROR, "training.extensions", "before the first step"),
    ({"training.extensions": ("9: 0.1", "9: 0.2")}, ERROR, "training.extensions", "comes after one at step 9"),
    ({"training.result": "best", "data.validation_share": 0.0}, WARNING, "training.result", "no validation rows"),
    ({"training.result": "best", "training.keep_best": False}, WARNING, "training.result", "that is not kept"),
    ({"adapter.start": "pissa", "model.quantization": "nf4"}, ERROR, "adapter.start", "rounded anew in 4 bits"),
    ({"adapter.start": "olora", "model.quantization": "int8"}, ERROR, "adapter.start", "rounded anew in 8 bits"),
    ({"adapter.start": "pissa", "adapter.method": "dora"}, ERROR, "adapter.start", "cannot be combined"),
    ({"model.base": "~/model"}, ERROR, "model.base", "begins with “~”"),
    ({"data.weights": {"rows.json": 2.0}}, ERROR, "data.weights", "is not among the training files"),
    ({"data.weights": {"zzz": 2.0}}, ERROR, "data.weights", "Name a training file"),
    ({"data.train": ("a.jsonl",), "data.weights": {"a.jsonl": 0.0}}, ERROR, "data.weights", "weights lie above 0"),
    ({"data.train": ("a.jsonl",), "data.weights": {"a.jsonl": 1e9}}, ERROR, "data.weights", "up to 1,000"),
    (
        {"data.train_on": "preferences", "data.repairs": ("split_long",)},
        ERROR,
        "data.repairs",
        "pairs cannot be split",
    ),
    ({"data.train_on": "preferences", "data.format": "messages"}, ERROR, "data.format", "needs preference pairs"),
    ({"data.train_on": "preferences", "data.mapping": {"text": "t"}}, ERROR, "data.mapping", "no part “text”"),
    ({"data.repairs": ("merge_turn",)}, ERROR, "data.repairs", "Did you mean “merge_turns”?"),
    ({"data.repairs": ("zzz", "split_long")}, ERROR, "data.repairs", "The repairs are"),
    ({"data.repairs": ("\n", "\ufada")}, ERROR, "data.repairs", "is not a repair"),  # both are shown as “�”
    ({"model.base": "~nobody-here/model"}, ERROR, "model.base", "There is no such user here."),
    ({"model.base": "https://huggingface.co/a/b"}, ERROR, "model.base", "is a web address"),
    ({"model.base": "a\nb"}, ERROR, "model.base", "holds a line break"),
    ({"model.quantization": "nf5"}, ERROR, "model.quantization", "Did you mean “nf4”?"),
    ({"model.quantization": 4}, ERROR, "model.quantization", "holds the number 4"),
    ({"model.trust_remote_code": True}, WARNING, "model.trust_remote_code", "will run on this computer"),
    ({"model.double_quant": "yes"}, ERROR, "model.double_quant", "should be true or false"),
    ({"data.train": ()}, ERROR, "data.train", "No training files are chosen."),
    ({"data.train": ("a", "")}, ERROR, "data.train", "has an empty entry"),
    ({"data.train": ("a", "b\0")}, ERROR, "data.train", "holds a line break or another control character"),
    ({"data.train": ("a", "~/b")}, ERROR, "data.train", "begins with “~”"),
    ({"data.train": ("a", "b", "./a")}, WARNING, "data.train", "“./a” is listed more than once"),
    ({"data.train": ("hf:a/b/c/d",)}, ERROR, "data.train", "is not the name of a data set of the Hugging Face Hub"),
    ({"data.validation": ("hf:",)}, ERROR, "data.validation", "is not the name of a data set"),
    ({"data.train": ["a"]}, ERROR, "data.train", "should be a list of files, but holds a list"),
    ({"data.validation": ("v", "x/../rows.jsonl")}, WARNING, "data.validation", "both trained and used for validation"),
    ({"data.validation": ("v", "v")}, WARNING, "data.validation", "is listed more than once"),
    ({"data.validation_share": 0.6}, ERROR, "data.validation_share", "must be between 0 and 0.5"),
    ({"data.validation_share": NAN}, ERROR, "data.validation_share", "is nan"),
    ({"data.max_rows": -1}, ERROR, "data.max_rows", "is -1 rows; it must be at least 0"),
    ({"data.max_length": 10**5000}, ERROR, "data.max_length", "must be between 8 and 1,048,576"),
    ({"data.template": ""}, ERROR, "data.template", "No chat template is named."),
    ({"data.template": "~/a.jinja"}, ERROR, "data.template", "begins with “~”"),
    ({"data.format": "text"}, INFO, "data.train_on", "Plain text has no prompts"),
    ({"data.mapping": {"promt": "q"}}, ERROR, "data.mapping", "Did you mean “prompt”?"),
    ({"data.mapping": {"question": "prompt"}}, ERROR, "data.mapping", "Write the part first: “prompt: question”."),
    ({"data.mapping": {"zzz": "q"}}, ERROR, "data.mapping", "The parts are prompt, completion"),
    ({"data.mapping": {"prompt": " "}}, ERROR, "data.mapping", "No column is named for the part “prompt”."),
    ({"data.mapping": {"prompt": 3}}, ERROR, "data.mapping", "holds a mapping"),
    ({"adapter.rank": 0}, ERROR, "adapter.rank", "“Rank” is 0; it must be between 1 and 1,024."),
    ({"adapter.rank": 2000, "adapter.alpha": 4000.0}, ERROR, "adapter.rank", "“Rank” is 2,000"),
    ({"adapter.rank": True}, ERROR, "adapter.rank", "holds true"),
    ({"adapter.rank": 16.0}, ERROR, "adapter.rank", "should be a whole number"),
    ({"adapter.alpha": 1.0}, WARNING, "adapter.alpha", "far from rank 16"),
    ({"adapter.alpha": 256}, WARNING, "adapter.alpha", "Set alpha to about 32."),
    ({"adapter.alpha": INF}, ERROR, "adapter.alpha", "is inf"),
    ({"adapter.method": "rslora", "adapter.alpha": 0.5}, WARNING, "adapter.alpha", "square root of the rank"),
    ({"adapter.targets": ()}, ERROR, "adapter.targets", "No target modules are named"),
    ({"adapter.targets": (" ",)}, ERROR, "adapter.targets", "No target modules are named"),
    ({"adapter.targets": ("q_proj", "")}, ERROR, "adapter.targets", "has an empty entry"),
    ({"adapter.targets": ("q_proj", "q_proj")}, WARNING, "adapter.targets", "“q_proj” is listed more than once."),
    ({"adapter.targets": ("q_proj v_proj",)}, ERROR, "adapter.targets", "Write each name as an entry of its own."),
    ({"adapter.targets": ("q_proj*",)}, ERROR, "adapter.targets", "is not a module's name"),
    ({"adapter.targets": ("all",)}, ERROR, "adapter.targets", "Did you mean “all-linear”?"),
    ({"adapter.targets": ("all_linear", "all-linear")}, ERROR, "adapter.targets", "Did you mean “all-linear”?"),
    ({"adapter.layers": "last"}, ERROR, "adapter.layers", "“last” names no layers"),
    ({"adapter.layers": "5-3"}, ERROR, "adapter.layers", "names no layers"),
    ({"adapter.layers": "9" * 5000}, ERROR, "adapter.layers", "names no layers"),
    ({"adapter.layers": "0-999999999"}, ERROR, "adapter.layers", "names no layers"),
    ({"adapter.rank_pattern": {"down_proj": 0}}, ERROR, "adapter.rank_pattern", "“down_proj” is 0"),
    ({"adapter.rank_pattern": {"a b": 8}}, ERROR, "adapter.rank_pattern", "“a b” is not a module's name."),
    ({"adapter.rank_pattern": {"11": 8}}, ERROR, "adapter.rank_pattern", "“11” is not a module's name."),
    ({"adapter.rank_pattern": {"a": 8.0}}, ERROR, "adapter.rank_pattern", "mapping of module names to whole numbers"),
    ({"adapter.modules_to_save": ("lm_head", "lm_head")}, WARNING, "adapter.modules_to_save", "more than once"),
    (
        {"adapter.modules_to_save": ("lm_head",), "adapter.targets": ("lm_head", "q_proj")},
        ERROR,
        "adapter.modules_to_save",
        "both a target of adapters and trained in full",
    ),
    (
        {"adapter.method": "full", "model.quantization": "nf4", "training.learning_rate": 2e-5},
        ERROR,
        "model.quantization",
        "weights in 4 bits cannot be trained",
    ),
    (
        {"adapter.method": "full", "model.quantization": "int8", "training.learning_rate": 2e-5},
        ERROR,
        "model.quantization",
        "weights in 8 bits cannot be trained",
    ),
    ({"training.learning_rate": 0.0}, ERROR, "training.learning_rate", "must be between 1e-08 and 1"),
    ({"training.learning_rate": 2}, ERROR, "training.learning_rate", "must be between"),
    ({"training.warmup": 0.9}, ERROR, "training.warmup", "must be between 0 and 0.5"),
    ({"training.epochs": 0}, ERROR, "training.epochs", "must be between 0.01 and 1,000"),
    ({"training.schedule": "sine"}, ERROR, "training.schedule", "should be one of “cosine”"),
    ({"training.early_stopping": 3, "data.validation_share": 0.0}, WARNING, "training.early_stopping", "no validation"),
    ({"training.evaluate_every": 3, "data.validation_share": 0.0}, WARNING, "training.evaluate_every", "no validation"),
    ({"training.evaluate_every": 50, "training.max_steps": 20}, INFO, "training.evaluate_every", "after 20 steps"),
    ({"training.sample_every": 5}, WARNING, "training.sample_every", "no prompts to answer"),
    ({"training.sample_prompts": ("a", " ")}, ERROR, "training.sample_prompts", "has an empty entry"),
    (
        {"training.sample_prompts": ("a",), "training.sample_every": 50, "training.max_steps": 20},
        INFO,
        "training.sample_every",
        "before the first sample at step 50",
    ),
    ({"training.optimizer": "paged_adamw", "hardware.device": "cpu"}, ERROR, "training.optimizer", "Paged optimizers"),
    (
        {"hardware.attention": "flash", "hardware.device": "cuda", "model.compute_dtype": "fp32"},
        WARNING,
        "hardware.attention",
        "works in 16 bits only",
    ),
    ({"hardware.device": "cpu", "model.compute_dtype": "fp16"}, WARNING, "model.compute_dtype", "a format for GPUs"),
    ({"hardware.activation_checkpointing": "layers"}, WARNING, "hardware.checkpointed_layers", "their number is 0"),
    (
        {"hardware.processes": 4, "training.effective_batch": 2},
        ERROR,
        "hardware.processes",
        "and there are only 2 of them",
    ),
    ({"output.folder": "~/runs"}, ERROR, "output.folder", "begins with “~”"),
    ({"output.name": "a\tb"}, ERROR, "output.name", "control character"),
]


@pytest.mark.parametrize(
    ("settings", "severity", "path", "words"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_rule_says_its_sentence_and_its_fixes_mend_it(
    settings: dict[str, object], severity: Severity, path: str, words: str
) -> None:
    spec = with_settings(settings)
    found = check(spec)
    matching = [problem for problem in found if problem.path == path and words in str(problem)]
    assert matching, [str(problem) for problem in found]
    problem = matching[0]
    assert problem.severity is severity
    assert problem.message.endswith(".")
    assert problem.advice.endswith((".", "?"))
    for after in mended(spec, problem):
        assert problem.message not in [other.message for other in check(after)]
        assert len(check(after)) < len(found) + 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"adapter.rank": 1, "adapter.alpha": 2.0},
        {"adapter.rank": 256, "adapter.alpha": 256},
        {"adapter.method": "rslora"},
        {"adapter.method": "rslora", "adapter.rank": 256, "adapter.alpha": 32.0},
        {"adapter.method": "dora", "model.quantization": "nf4"},
        {"adapter.method": "full", "training.learning_rate": 2e-5},
        {"adapter.targets": ("self_attn.q_proj", "c_attn", "model.layers.3.mlp.up_proj", "lm_head")},
        {"adapter.targets": ("attention", "mlp")},
        {"adapter.rank_pattern": {"down_proj": 8, "11.down_proj": 4, "3.self_attn.q_proj": 2}},
        {"adapter.layers": ""},
        {"adapter.layers": "0-11, 20"},
        {"adapter.modules_to_save": ("embed_tokens", "lm_head")},
        {"data.mapping": {"prompt": "question", "completion": "answer"}},
        {"data.validation": ("held.jsonl",), "data.validation_share": 0.0, "training.early_stopping": 2},
        {"data.format": "text", "data.train_on": "all"},
        {"training.max_steps": 50, "training.evaluate_every": 50},
        {"training.sample_prompts": ("Two\nlines",), "training.sample_every": 10},
        {"training.optimizer": "paged_adamw_8bit"},
        {"training.optimizer": "adamw_8bit", "hardware.device": "cpu"},
        {"hardware.device": "cpu", "hardware.attention": "flash", "model.compute_dtype": "fp32"},
        {"hardware.activation_checkpointing": "layers", "hardware.checkpointed_layers": 4},
        {"hardware.processes": 4},
    ],
    ids=str,
)
def test_sensible_specs_have_no_problems(settings: dict[str, object]) -> None:
    assert check(with_settings(settings)) == ()


def test_a_new_spec_lacks_a_model_and_data_and_nothing_else() -> None:
    found = check(RunSpec())
    assert [problem.path for problem in found] == ["model.base", "data.train"]


def test_problems_come_in_the_order_of_the_form() -> None:
    spec = with_settings({"hardware.processes": 200, "training.warmup": 3.0, "model.base": "", "adapter.rank": 0})
    assert [problem.path for problem in check(spec)] == [
        "model.base", "adapter.rank", "training.warmup", "hardware.processes",
    ]  # fmt: skip


def test_what_was_sound_once_is_asked_again_when_its_section_changes() -> None:
    sound = with_settings({})
    assert check(sound) == check(sound) == ()
    for path, value in (("adapter.rank", 0), ("adapter.rank", "many"), ("training.seed", -1), ("output.name", "a\nb")):
        wrong = sound.replace(path, value)
        assert [problem.path for problem in check(wrong)] == [path]
        assert check(wrong) == check(wrong)
        assert check(wrong.replace(path, sound.get(path))) == ()
    hidden = sound.replace("adapter.rank", 0).replace("adapter.method", "full").replace("model.quantization", "none")
    assert check(hidden) == ()  # a rank has no meaning there, and has one again with the next method
    assert "adapter.rank" in [problem.path for problem in check(hidden.replace("adapter.method", "lora"))]


@pytest.mark.parametrize(
    "settings",
    [
        {
            "adapter.rank": 0,
            "adapter.alpha": -1.0,
            "adapter.targets": (),
            "adapter.layers": "x",
            "adapter.dropout": 7.0,
        },
        {"adapter.rank_pattern": {"": 0}, "adapter.modules_to_save": ("a", "a", " ")},
    ],
    ids=["numbers", "names"],
)
def test_settings_of_adapters_are_ignored_in_full_fine_tuning(settings: dict[str, object]) -> None:
    full = {"adapter.method": "full", "training.learning_rate": 2e-5}
    assert check(with_settings(settings | full)) == ()
    assert check(with_settings(settings)) != ()


def test_epochs_are_ignored_when_the_steps_are_given() -> None:
    assert check(with_settings({"training.epochs": 0.0, "training.max_steps": 10})) == ()


def test_all_entries_of_a_list_of_files_can_be_mended_one_after_the_other() -> None:
    spec = with_settings({"data.train": ("", "a", "~/b", "a", "~/b")})
    for _ in range(10):
        problems = [problem for problem in check(spec) if problem.fixes]
        if not problems:
            break
        spec = mended(spec, problems[0])[0]
    assert check(spec) == ()
    assert len(spec.data.train) == 2


def test_a_wrong_type_anywhere_is_reported_and_never_crashes() -> None:
    for info in fields():
        for value in (None, object(), b"x", {1: 2}, [1], (1,), -1, "\0", NAN, "~"):
            problems = check(good().replace(info.path, value))
            assert all(str(problem) for problem in problems)
            if value is None or isinstance(value, bytes):
                assert [problem.path for problem in problems] == [info.path]
                (after,) = mended(good().replace(info.path, value), problems[0])
                assert after.get(info.path) == info.default
