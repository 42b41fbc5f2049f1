"""Check that the rewards tell a right answer from a wrong one, on the data of the run."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config.learning import Reward
from pepo_rlhf.config.secret_names import redact
from pepo_rlhf.data import Row
from pepo_rlhf.data.labels import read_label, right_answer, stated_value
from pepo_rlhf.rewards import Grade, RewardError, RewardService, load_rewards
from pepo_rlhf.rewards.reward import built_in

_NUM_ROWS = 16
_NUM_CALLS = 3
_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}")
_MIN_WORDS = 6  # "not enough information" is an answer


def respond(answer: str) -> str:
    """Return a response in the format that prompts ask for."""
    return f"<think>As the picture shows.</think><answer>{answer}</answer>"


def check_functions(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether the functions load. Running a user's file may raise anything."""
    try:
        reward = load_rewards(inputs.config.reward.functions)
    except RewardError:
        raise
    except (Exception, SystemExit) as problem:
        place: Any = traceback.extract_tb(problem.__traceback__)[-1]
        if isinstance(problem, SyntaxError):
            place = problem
        reason = redact(f"{place.filename}:{place.lineno}: {type(problem).__name__}: {problem}")
        raise ValueError(f"--reward.functions: {reason}") from problem
    yield ok(", ".join(reward.components))


def check_call(inputs: Inputs) -> Iterator[Finding]:
    """Yield an error if the functions cannot grade any of the first rows, as with parameters of another library."""
    rows = inputs.training_rows.rows[:_NUM_CALLS]
    grades = _grade([(respond(right_answer(row.label)), row.label) for row in rows], inputs.config.reward)
    if all(grade.error for grade in grades):
        yield error(
            f"{rows[0].source}: grader error: {grades[0].headline}; a reward function is f(response, label) and "
            "returns a number",
            "--reward.functions",
        )


def check_answers(inputs: Inputs) -> Iterator[Finding]:
    """Yield what the right answer of each sampled row scores, and what an answer scores that is right for no label."""
    rows = inputs.training_rows.rows
    worked = [row for row in rows if not read_label(row.label) and stated_value(row.label) != row.label]
    sample = worked[:_NUM_ROWS] + rows[:: max(1, len(rows) // _NUM_ROWS)][:_NUM_ROWS]
    answers = [right_answer(row.label) if read_label(row.label) else stated_value(row.label) for row in sample]
    right = [(respond(answer), row.label) for row, answer in zip(sample, answers, strict=True)]
    wrong = [(respond("no answer at all"), row.label) for row in sample]
    grades = _grade(right + wrong, inputs.config.reward)
    right_grades, wrong_grades = grades[: len(sample)], grades[len(sample) :]
    for row, right_grade, wrong_grade in zip(sample, right_grades, wrong_grades, strict=True):
        if finding := _judge(row, right_grade, wrong_grade, inputs.config.reward.functions):
            yield finding  # one row shows what is wrong
            return
    means = [sum(grade.reward for grade in part) / len(sample) for part in (right_grades, wrong_grades)]
    sentences = [row for row in rows if not read_label(row.label) and len(_WORD.findall(row.label)) >= _MIN_WORDS]
    if sentences:
        yield warning(
            f"{len(sentences)} labels are sentences, as of {sentences[0].source}: a response must repeat them word by "
            "word; write the bare answers",
            "--data.prompt_dataset",
        )
    yield ok(f"{len(sample)} labels as answers score {means[0]:.2f} on average, a wrong answer {means[1]:.2f}")


def _judge(row: Row, right: Grade, wrong: Grade, functions: list[str]) -> Finding | None:
    if failed := next((grade for grade in (right, wrong) if grade.error), None):
        return error(f"{row.source}: grader error: {failed.headline}", "--reward.functions")
    # Built-in components score from 0 to 1; a user's function has a scale of its own.
    for name in (name for name in functions if name in built_in()):
        if right.components[name] < 1.0:
            value = "" if read_label(row.label) or stated_value(row.label) == row.label else "the value of "
            return error(
                f"{row.source}: {value}the label {row.label!r} as the answer scores {right.components[name]:g} for "
                f"{name}; mend the row",
                "--data.prompt_dataset",
            )
        if name != "format" and wrong.components[name] == 1.0:
            return error(
                f"{row.source}: any answer is right for the label {row.label!r}; mend the row", "--reward.functions"
            )
    if right.reward <= wrong.reward:
        return warning(
            f"{row.source}: the label {row.label!r} as the answer scores {right.reward:g}, a wrong answer "
            f"{wrong.reward:g}: nothing rewards being right",
            "--reward.functions",
            "--reward.weights",
        )
    return None


def _grade(pairs: list[tuple[str, str]], settings: Reward) -> list[Grade]:
    with closing(RewardService(settings)) as service:
        return [future.result() for future in [service.submit(*pair) for pair in pairs]]
