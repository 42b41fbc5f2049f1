"""The estimate of a GPU's memory, against counts of real tensors and against sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from pepo_rlhf.checks import memory
from pepo_rlhf.checks.activations import activation_bytes
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import parse_arguments

EXAMPLES = Path(__file__).parents[2] / "examples"
GIB = 2**30
ROWS, LENGTH = 3, 256


def saved_bytes(model, with_checkpointing):
    """Bytes that autograd keeps of a real forward of the decoder, weights left out."""
    model.train()
    if with_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": True})
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    embeddings = torch.randn(ROWS, LENGTH, model.config.get_text_config().hidden_size, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_decoder()(inputs_embeds=embeddings, use_cache=False)
    return sum(size for size, _ in kept.values())


@pytest.fixture
def load(tiny_model):
    return lambda: transformers.AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=torch.float32)


def test_activations_are_what_a_real_forward_keeps(load):
    expected = saved_bytes(load(), with_checkpointing=False)
    assert activation_bytes(load().to("meta"), ROWS, LENGTH, False) == pytest.approx(expected, rel=0.15)


def test_with_checkpointing_they_are_the_layers_inputs_and_one_layer(load):
    whole, num_layers = saved_bytes(load(), False), load().config.get_text_config().num_hidden_layers
    expected = saved_bytes(load(), True) + whole / num_layers
    assert activation_bytes(load().to("meta"), ROWS, LENGTH, True) == pytest.approx(expected, rel=0.15)


def test_activations_are_linear_in_the_rows(load):
    model = load().to("meta")
    once, thrice = (activation_bytes(model, rows, LENGTH, False) for rows in (1, 3))
    assert thrice == pytest.approx(3 * once, rel=0.01)


def test_a_decoder_that_needs_weights_is_named(load, monkeypatch, run_check):
    model = load().to("meta")
    monkeypatch.setattr(
        type(model.get_decoder()), "forward", lambda *args, **kwargs: torch.ones(1, device="meta").item()
    )
    with pytest.raises(ValueError, match="activations of Qwen2_5_VLTextModel cannot be counted"):
        activation_bytes(model, ROWS, LENGTH, False)
    found = run_check(memory.check_memory, Published("one_gpu_80gb_3b"), 80)
    assert found["warning"][0].message.startswith("no estimate: activations of") and not found["ok"]


SHAPES = {  # of Qwen2.5-VL: hidden size, layers, intermediate size, heads, key-value heads, vocabulary, tied
    "3B": (2048, 36, 11008, 16, 2, 151_936, True),
    "7B": (3584, 28, 18944, 28, 4, 152_064, False),
}
NUM_PARAMETERS = {"3B": 3_754_622_976, "7B": 8_292_166_656}  # of the published models
NUM_VISION = 668_684_288  # of the 3B model


class Published(Inputs):
    """A run of a recipe, with a model of published shapes and without its files."""

    def __init__(self, recipe, *flags):
        super().__init__(parse_arguments(["--config", str(EXAMPLES / f"{recipe}.yaml"), *flags]))
        hidden, layers, intermediate, heads, key_value_heads, vocabulary, tied = SHAPES[self.size]
        text = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": intermediate}
        text |= {"num_attention_heads": heads, "num_key_value_heads": key_value_heads, "vocab_size": vocabulary}
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
        vision = {"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": hidden}
        self.shapes = transformers.Qwen2_5_VLConfig(
            text_config=text | {"tie_word_embeddings": tied}, vision_config=vision, tie_word_embeddings=tied
        )

    @property
    def size(self):
        return "7B" if "7B" in self.config.actor.model_name_or_path else "3B"

    @property
    def model_config(self):
        return self.shapes


RECIPES = {"one_gpu_24gb_3b_lora": 24, "one_gpu_80gb_7b_lora": 80, "one_gpu_80gb_3b": 80}


@pytest.mark.parametrize(("recipe", "card"), RECIPES.items())
def test_recipes_fit_their_cards(run_check, recipe, card):
    inputs = Published(recipe)
    assert inputs.num_parameters == NUM_PARAMETERS[inputs.size]
    found = run_check(memory.check_memory, inputs, card)
    assert len(found["ok"]) == 3 and not found["warning"] + found["error"]


def test_the_parts_of_full_training_by_hand():
    inputs = Published("one_gpu_80gb_3b", "--train.micro_batch_size", "64")
    kept, model = memory.kept_bytes(inputs), memory.trained_model(inputs)
    trained = NUM_PARAMETERS["3B"] - NUM_VISION
    assert kept == {"weights": 2 * NUM_PARAMETERS["3B"], "reference": 2 * NUM_PARAMETERS["3B"], "CUDA": 1.5 * GIB}
    assert memory.state_bytes(inputs.config, model) == {"gradients": 2 * trained, "optimiser": 12 * trained}
    passing = memory.passing_bytes(inputs.config, model)
    # two tiles of 4096 x 32768 and the gradient of the head, which is the embeddings
    assert passing["logits"] == 2 * (2 * 4096 * 32768 + 151_936 * 2048)
    assert passing["bucket of gradients"] == 1e9


def test_shares_of_eight_gpus_by_hand():
    flags = ["--actor.num_gpus_per_node", "8", "--ref.num_gpus_per_node", "8", "--vllm.num_engines", "8"]
    inputs = Published("one_gpu_80gb_3b", *flags, "--ds.zero_stage", "3", "--ds.adam_offload")
    kept, model = memory.kept_bytes(inputs), memory.trained_model(inputs)
    assert kept["weights"] == kept["reference"] == 2 * NUM_PARAMETERS["3B"] / 8
    assert memory.state_bytes(inputs.config, model) == {}
    assert memory.passing_bytes(inputs.config, model)["gathered weights"] == 2e9


def test_adapters_are_all_that_is_trained():
    inputs = Published("one_gpu_24gb_3b_lora")
    model = memory.trained_model(inputs)
    # rank 16 times inputs and outputs of q, o, k, v, gate, up and down
    of_layer = 16 * (2 * (2048 + 2048) + 2 * (2048 + 256) + 3 * (2048 + 11008))
    states = memory.state_bytes(inputs.config, model)
    assert states == {"gradients": 2 * 36 * of_layer, "optimiser": 12 * 36 * of_layer}
    assert "reference" not in memory.kept_bytes(inputs)


def test_what_does_not_fit_is_an_error_with_the_flags_that_help(run_check):
    found = run_check(memory.check_memory, Published("one_gpu_80gb_3b"), 24)
    assert [finding.message.partition(":")[0] for finding in found["error"]][:1] == [
        "a GPU of the policy, in the update"
    ]
    assert "--ds.lora.rank" in found["error"][0].flags
    found = run_check(
        memory.check_memory, Published("one_gpu_24gb_3b_lora", "--vllm.gpu_memory_utilization", "0.2"), 24
    )
    assert "does not hold the weights and a cache" in found["error"][0].message


def test_the_float32_gradients_of_the_step_count_where_they_are_more_than_activations():
    inputs = Published("one_gpu_80gb_3b", "--data.max_len", "1100", "--train.micro_batch_size", "1")
    passing = memory.passing_bytes(inputs.config, memory.trained_model(inputs))
    assert passing == {"float32 gradients": 4 * (NUM_PARAMETERS["3B"] - NUM_VISION)}
