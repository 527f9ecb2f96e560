"""What is written of a run that learned from pairs of answers: a card that says so, and no script that would not."""

import pytest

from core.errors import UserError
from core.events.run_state import fold
from core.events.types import Evaluated, Event
from core.export.card import _summary
from core.export.script import training_script
from core.facts.types import Facts
from core.plan.planner import plan
from tests.core.export.test_model_card import SPEC, card, front_matter
from tests.core.plan.invented_facts import MACHINES, MODELS, data, spec

FACTS = Facts(MACHINES["rtx4090"], MODELS["1b"], data())


def test_a_script_for_the_loss_of_tokens_is_refused() -> None:
    wanted = spec().replace("data.train_on", "preferences")
    with pytest.raises(UserError) as caught:
        training_script(wanted, FACTS, plan(wanted, FACTS))
    (problem,) = caught.value.problems
    assert problem.path == "data.train_on"
    assert "DPOTrainer" in problem.advice


def test_the_card_says_by_what_it_was_learned() -> None:
    wanted = spec().replace("data.train_on", "preferences").replace("training.preference_beta", 0.25)
    text = _summary(wanted, FACTS, plan(wanted, FACTS), "base")
    assert "by DPO (arXiv 2305.18290) with beta 0.25." in text
    assert "beside it" not in text
    weighed = wanted.replace("training.chosen_weight", 0.5)
    assert "The loss of the chosen answer counted 0.5 beside it." in _summary(weighed, FACTS, plan(wanted, FACTS), "b")
    orpo = weighed.replace("training.preference_loss", "orpo")
    assert "by ORPO (arXiv 2403.07691)" in _summary(orpo, FACTS, plan(orpo, FACTS), "base")
    assert "pairs of answers" not in _summary(spec(), FACTS, plan(spec(), FACTS), "base")


def test_the_card_tells_what_is_preferred_and_no_perplexity() -> None:
    measured = (
        Evaluated(0, 0.6931, 800, 1.0, preferred=0.5, margin=0.0),
        Evaluated(9, 0.4, 800, 1.0, False, 0.75, 0.9),
    )
    told = fold(Event(number, float(number), 0, body) for number, body in enumerate(measured))
    wanted = SPEC.replace("data.train_on", "preferences")
    text = card(wanted, state=told)
    assert "| Step | Validation loss | Preferred | Margin |  |" in text
    assert "| 9 | 0.4000 | 75% | 0.900 | best |" in text
    assert "Perplexity" not in text
    assert "| Step | Validation loss | Perplexity |  |" in card()
    assert front_matter(text)["tags"][1:-1] == ["lora", "dpo"]
    full = wanted.replace("adapter.method", "full").replace("training.preference_loss", "orpo")
    assert front_matter(card(full))["tags"][1:-1] == ["orpo"]
