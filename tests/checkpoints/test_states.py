"""Save and load on a real DeepSpeed engine of one rank, small enough to need no Ray."""

import io
import random
import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints import states as worker_checkpoint
from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.weight_sync.weights import PolicyWeights
from pepo_rlhf.workers.adapters import add_adapters


@pytest.fixture(scope="module")
def process_group(tmp_path_factory):
    """One rank, which meets itself at a file."""
    store = tmp_path_factory.mktemp("store") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_RANK", "0")  # as in a Ray worker; DeepSpeed asks for it
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
        yield
        torch.distributed.destroy_process_group()


def engine(build=lambda: torch.nn.Linear(4, 3), zero_stage=2):
    import deepspeed

    torch.manual_seed(0)
    model = build()
    config = {
        "train_micro_batch_size_per_gpu": 2,
        "zero_optimization": {"stage": zero_stage},
        "zero_allow_untested_optimizer": True,
        "optimizer": {"type": "AdamW", "params": {"lr": 0.1, "torch_adam": True}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 10}},
    }
    return deepspeed.initialize(model=model, config=config, dist_init_required=False)[0]


def train(made, num_steps):
    """Steps on random inputs: both the weights and the generators move."""
    for _ in range(num_steps):
        made.backward(made(torch.randn(2, 4)).square().sum())
        made.step()


def states(made):
    """A copy of everything that a step depends on."""
    random_states = worker_checkpoint.random_states()
    buffer = io.BytesIO()
    torch.save(
        [made.module.state_dict(), made.optimizer.state_dict(), made.lr_scheduler.state_dict(), random_states], buffer
    )
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def flat(value):
    if isinstance(value, dict):
        return [leaf for key in value for leaf in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def assert_same(left, right):
    pairs = list(zip(flat(left), flat(right), strict=True))
    assert sum(isinstance(a, torch.Tensor) and a.is_floating_point() for a, _ in pairs) >= 6, "weights and two moments"
    for a, b in pairs:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else (a == b or not isinstance(a, (int, float, str)))


@pytest.fixture
def args(tmp_path):
    """Settings of a run in `tmp_path`."""
    args = to_arguments(Config())
    args.run.dir = str(tmp_path)
    return args


@pytest.mark.usefixtures("process_group")
def test_training_goes_on_bit_by_bit(tmp_path, args):
    trained = engine()
    train(trained, 3)
    folder = tmp_path / "global_step3"
    average = SimpleNamespace(model=SimpleNamespace(module=torch.nn.Linear(2, 2)))
    worker_checkpoint.save(trained, average, folder, {"global_step": 3}, args)
    at_save = states(trained)
    train(trained, 2)
    at_end = states(trained)
    averaged = average.model.module.weight.clone()

    assert folders.newest_complete(tmp_path) == folder
    assert worker_checkpoint.load_trainer_states(folder) == {"global_step": 3}
    resumed = engine()
    train(resumed, 1)
    random.random(), np.random.rand(), torch.rand(1)
    average = SimpleNamespace(model=SimpleNamespace(module=torch.nn.Linear(2, 2)))
    worker_checkpoint.load(resumed, average, folder, args)
    assert_same(states(resumed), at_save)
    assert torch.equal(average.model.module.weight, averaged)
    train(resumed, 2)
    assert_same(states(resumed), at_end)


def with_adapters():
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=64, **sizes, **heads))
    add_adapters(model, rank=2, alpha=4, dropout=0.1)
    return model


def train_adapters(made, num_steps):
    made.train()
    for _ in range(num_steps):
        made.backward(made(torch.randint(0, 64, (2, 8))).logits.square().mean())
        made.step()


@pytest.mark.parametrize("zero_stage", [2, 3])
@pytest.mark.usefixtures("process_group")
def test_adapters_go_on_bit_by_bit_from_a_checkpoint_without_the_base_model(tmp_path, args, zero_stage):

    def merged_and_states(made):
        """Under ZeRO-3 the model's own dictionary has whole weights or none."""
        return [{name: weight.clone() for name, weight in PolicyWeights(made.module, zero_stage)}, *states(made)[1:]]

    args.ds.lora.rank, args.ds.zero_stage, args.actor.model_name_or_path = 2, zero_stage, str(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    trained, folder = engine(with_adapters, zero_stage), tmp_path / "global_step3"
    train_adapters(trained, 3)
    worker_checkpoint.save(trained, None, folder, {}, args)
    at_save = merged_and_states(trained)
    train_adapters(trained, 2)
    at_end = merged_and_states(trained)

    assert folders.newest_complete(tmp_path) == folder
    num_bytes = {path.name: path.stat().st_size for path in folder.glob("deepspeed/*")}
    assert sum(num_bytes.values()) < 200_000, num_bytes  # of 9,000 numbers with two moments; the model has 30,000
    resumed = engine(with_adapters, zero_stage)
    train_adapters(resumed, 1)
    worker_checkpoint.load(resumed, None, folder, args)
    assert_same(merged_and_states(resumed), at_save)
    train_adapters(resumed, 2)
    assert_same(merged_and_states(resumed), at_end)

    saved = load_file(folder / "adapter" / "adapter_model.safetensors")
    layer = "model.layers.1.mlp.up_proj"
    a, b = (saved[f"base_model.model.{layer}.lora_{matrix}.weight"] for matrix in "AB")
    torch.manual_seed(0)
    frozen = dict(with_adapters().named_parameters())[f"{layer}.base_layer.weight"]
    torch.testing.assert_close(at_save[0][f"{layer}.weight"], frozen + 4 / 2 * b @ a)
    assert b.any()


def test_random_numbers_repeat_from_their_states():
    def draw():
        return random.random(), np.random.rand(), np.random.randn(), torch.rand(2).tolist()

    np.random.randn()  # leaves numpy with half a pair of normal numbers
    saved = worker_checkpoint.random_states()
    first = draw()
    draw()
    worker_checkpoint.set_random_states(saved)
    assert draw() == first


@pytest.mark.usefixtures("process_group")
def test_a_disk_that_takes_no_more_is_told_and_the_checkpoint_before_stays(tmp_path, args):
    trained = engine()
    train(trained, 1)
    worker_checkpoint.save(trained, None, tmp_path / "global_step1", {}, args)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # every larger file fails while it is written
    try:
        with pytest.raises(folders.CheckpointError, match="global_step2 could not be written .* make room"):
            worker_checkpoint.save(trained, None, tmp_path / "global_step2", {}, args)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["global_step1"]
    assert folders.what_is_wrong(tmp_path / "global_step1") is None
