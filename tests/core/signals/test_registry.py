"""What holds for every signal of the folder."""

from pathlib import Path

import pytest
import torch

from pepo_rlhf.core import signals
from pepo_rlhf.core.signal import ResponseText, Signal, response_values
from pepo_rlhf.core.signals import BUILT_IN, describe
from pepo_rlhf.metrics.token_records import SCHEMA, SIGNAL_COLUMNS

RESPONSE = ResponseText(["There", " are", " 3"], "3", "How many?", "counting")


def test_the_files_of_the_folder_are_the_names():
    assert BUILT_IN == ("entropy", "image_dependence", "image_sensitivity", "visual_similarity")
    files = {path.stem for path in Path(signals.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_is_described_and_has_a_column_of_the_records(name):
    assert isinstance(describe(name), Signal) and describe(name).meaning
    assert SCHEMA.field(SIGNAL_COLUMNS[name]).nullable


def test_only_signals_that_need_it_cost_a_second_pass_or_a_look_at_the_layers():
    assert [name for name in BUILT_IN if describe(name).perturbs_images] == ["image_dependence", "image_sensitivity"]
    assert [name for name in BUILT_IN if describe(name).reads_hidden_states] == ["visual_similarity"]


def test_a_signal_may_come_from_a_responses_text_and_row():
    functions = {"states": lambda response: [text.strip() == response.label for text in response.token_texts]}
    values = response_values(functions, RESPONSE)
    assert values["states"].dtype == torch.float32 and values["states"].tolist() == [0.0, 0.0, 1.0]


def test_a_text_signal_of_another_length_is_named():
    with pytest.raises(ValueError, match="signal short has 1 values for 3 tokens"):
        response_values({"short": lambda response: [1.0]}, RESPONSE)
