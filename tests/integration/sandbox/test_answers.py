"""What the sandbox answers: right or wrong by skill and difficulty, and always the same."""

import json

import pytest

from sandbox.models import CHAT_MODELS
from sandbox.skill import chance_right, difficulty, is_right
from sandbox.tasks import find_task
from sandbox.tokens import pieces_of, prompt_tokens

PROMPTS = [f"Explain in {n} steps how part {n} of a concurrency proof works" for n in range(300)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is 17 * 23?", "17 * 23 is 391."),
        ("compute 2 + 3 * 4, please", "2 + 3 * 4 is 14."),
        ("7 / 2", "7 / 2 is 3.5."),
        ("how much is 15% of 80", "15% of 80 is 12."),
        ("What is the capital of Burkina Faso?", "The capital of Burkina Faso is Ouagadougou."),
        ("who wrote Don Quixote", "Don Quixote was written by Miguel de Cervantes."),
    ],
)
def test_a_task_is_really_solved_or_visibly_failed(prompt, expected):
    task = find_task(prompt)

    assert expected == task.right
    assert task.wrong != task.right


@pytest.mark.parametrize(
    "prompt",
    [
        "on 2024-01-02",
        "1 / 0",
        "version 1.2.3",
        "",
        "9" * 10_000,
        "2 + 3 * 4.5",
        "the capital of Atlantis",
    ],
)
def test_what_is_no_task_is_none(prompt):
    assert find_task(prompt) is None


def test_tasks_get_harder_with_their_digits():
    ladder = ["2 + 2", "17 * 23", "4821 * 377", "12345 * 6789 + 42"]

    assert sorted(ladder, key=difficulty) == ladder


def test_skill_pays_on_hard_prompts():
    right = {m: sum(is_right(m, p) for p in PROMPTS) for m in CHAT_MODELS}

    assert sorted(CHAT_MODELS, key=right.get) == ["tiny", "small", "medium", "large", "frontier"]
    assert right["tiny"] < 0.4 * len(PROMPTS)
    assert right["frontier"] > 0.95 * len(PROMPTS)


def test_even_the_smallest_model_is_right_about_easy_prompts():
    assert chance_right(CHAT_MODELS["tiny"].skill, difficulty("hello")) > 0.98


def test_another_seed_gets_other_prompts_wrong():
    verdicts = {seed: [is_right("small", p, seed=seed) for p in PROMPTS] for seed in (0, 1)}

    assert verdicts[0] != verdicts[1]


def test_a_fault_directive_changes_neither_difficulty_nor_verdict():
    plain = "Prove that there are infinitely many primes."

    assert [is_right(m, plain) for m in CHAT_MODELS] == [
        is_right(m, f"{plain} [[fault:status=503,times=1]]") for m in CHAT_MODELS
    ]


def test_tokens_put_together_are_the_text():
    text = "Aber ja:\n\n  naïveté, 東京 and-a-very-long-word-indeed   end"

    assert text == "".join(pieces_of(text))


def test_only_what_came_before_the_last_message_can_be_cached():
    long, short = {"role": "user", "content": "a" * 8_000}, {"role": "user", "content": "hi"}

    assert (2_012, 1_920) == prompt_tokens([long, short], None)
    assert (13, 0) == prompt_tokens([short, short], None)


async def test_the_answer_says_whether_it_is_right(sandbox):
    _, _, body = await sandbox.ask("What is the capital of Nauru?", model="tiny")

    answer = json.loads(body)
    assert is_right("tiny", "What is the capital of Nauru?") == answer["sandbox"]["correct"]
    assert "Denigomodu" in answer["choices"][0]["message"]["content"]


async def test_an_answer_that_solves_no_task_says_that_it_is_simulated(sandbox):
    _, headers, body = await sandbox.ask("Tell me about rivers", model="large")

    text = json.loads(body)["choices"][0]["message"]["content"]
    assert text.startswith("This is a simulated answer by the sandbox model large.")
    assert "simulated" == headers["x-sandbox"]


async def test_equal_questions_get_equal_answers(sandbox):
    answers = [json.loads((await sandbox.ask("Tell me about rivers"))[2]) for _ in range(2)]

    first, second = ((a["choices"], a["usage"]) for a in answers)
    assert first == second
    assert answers[0]["id"] != answers[1]["id"]
