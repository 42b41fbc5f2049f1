"""A policy with adapters, on real engines: the reference that it is, and the merged weights that it sends."""

import deepspeed
import peft
import pytest
import ray
import torch
import transformers
from vllm import SamplingParams

from pepo_rlhf.config import Config
from pepo_rlhf.controller import cluster
from pepo_rlhf.controller.prompts import render_prompts
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.data import load_rows
from pepo_rlhf.workers.micro_batch import MicroBatch


@pytest.fixture(scope="module", params=[(2, 1), (3, 2)], ids=["ZeRO-2", "ZeRO-3 on two ranks"])
def config(request, tiny_model, problems, tmp_path_factory):
    config = Config()
    config.actor.model_name_or_path, config.data.prompt_dataset = str(tiny_model), str(problems)
    config.ds.zero_stage, config.actor.num_gpus_per_node = request.param
    config.actor.lr_scheduler, config.actor.adam.lr = "constant", 1e-6
    config.ds.param_dtype, config.ds.lora.rank = "fp32", 8
    config.data.max_len = 448
    config.train.batch_size, config.train.micro_batch_size = config.num_policy_ranks, 1
    config.vllm.enforce_eager = True
    config.run.dir, config.ckpt.save_merged = str(tmp_path_factory.mktemp("run")), True
    return config


@pytest.fixture(scope="module")
def groups(config):
    """(policy group, engine)."""
    from pepo_rlhf.controller.placement import load_models, start_workers

    assert config.has_reference
    cluster.connect(config)
    with Watchdog(600) as watchdog, start_workers(config, watchdog) as started:
        assert started.reference is None, "the policy without its adapters is the reference"
        yield started.policy, load_models(config, started, max_steps=10).handles[0]
    ray.shutdown()


@pytest.fixture(scope="module")
def sample(config, groups):
    """Samples two responses to the first problem; returns their micro-batches, and the engine's log-probs of each."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(config.actor.model_name_or_path)
    prompt = render_prompts(load_rows(config.data.prompt_dataset).rows, processor)[0]
    params = SamplingParams(temperature=1.0, max_tokens=24, logprobs=0, seed=0)
    arguments = (prompt.text, prompt.label, list(prompt.images), params, config.data.max_len, 2)

    def run():
        group = ray.get(groups[1].generate_group.remote(*arguments))
        start = len(group.prompt_token_ids)
        batches = []
        for response in group.responses:
            sequences = torch.tensor([group.prompt_token_ids + response.token_ids])
            action_mask = (torch.arange(1, sequences.shape[1]) >= start).long()[None]
            batches.append(MicroBatch(sequences, action_mask, torch.ones_like(sequences), [group.image_tensors]))
        return batches, [torch.tensor(response.log_probs) for response in group.responses]

    return run


def on_every_rank(policy, method, *args):
    """What rank 0 returns of a method, or of a function of the worker, that all ranks run."""
    calls = [
        getattr(actor, method).remote(*args) if isinstance(method, str) else actor.__ray_call__.remote(method, *args)
        for actor in policy._actor_handlers
    ]
    return ray.get(calls)[0]


def log_probs(policy, batches, reference=False):
    found = []
    for batch in batches:
        if reference:
            scores = on_every_rank(policy, "reference_log_probs", batch)
        else:
            scores = on_every_rank(policy, "score", batch, False).action_log_probs
        found.append(scores[0, batch.action_mask[0].bool()])
    return found


def gap(policy, sample):
    """Mean |rollout - trainer| log-prob in nats."""
    batches, of_engine = sample()
    return (torch.cat(log_probs(policy, batches)) - torch.cat(of_engine)).abs().mean().item()


def change_adapters(policy, std):
    """Draws B anew, which is 0 at the start."""

    def change(worker):
        generator = torch.Generator().manual_seed(1)
        for name, weight in worker.actor.model.module.named_parameters():
            if "lora_B" in name:
                partitioned = hasattr(weight, "ds_id")
                with deepspeed.zero.GatheredParameters([weight], modifier_rank=0, enabled=partitioned), torch.no_grad():
                    weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    on_every_rank(policy, change)


@pytest.mark.full
def test_an_update_of_one_step_at_1e_6_reaches_the_engine(groups, sample):
    """Adam's first step moves each weight of B, 0 until then, by 1e-6: float32 engines answer with that."""
    policy, _ = groups

    def update(worker, batch):
        images = batch.image_tensors[0] or {}
        worker.actor.train()
        scores = worker.actor(*batch[:3], **images)
        worker.actor.model.backward(scores.sum())
        worker.actor.model.step()

    batches, engine_before = sample()
    policy_before = log_probs(policy, batches)
    on_every_rank(policy, update, batches[0])
    policy_change = log_probs(policy, batches[:1])[0] - policy_before[0]
    on_every_rank(policy, "send_weights", 1)
    batches_after, engine_after = sample()
    assert batches_after[0].sequences.equal(batches[0].sequences), "so small a change alters no sample"
    assert policy_change.abs().mean() > 1e-4
    torch.testing.assert_close(engine_after[0] - engine_before[0], policy_change, atol=1e-5, rtol=0)


@pytest.mark.full
def test_the_reference_is_the_base_model(groups, sample):
    policy, _ = groups
    change_adapters(policy, 0.0)
    batches, _ = sample()
    base = log_probs(policy, batches)
    assert torch.cat(log_probs(policy, batches, reference=True)).equal(torch.cat(base))
    change_adapters(policy, 0.3)
    assert (torch.cat(log_probs(policy, batches)) - torch.cat(base)).abs().mean() > 0.1
    assert torch.cat(log_probs(policy, batches, reference=True)).equal(torch.cat(base))


@pytest.mark.full
def test_after_a_sync_the_engine_answers_with_the_adapters(groups, sample):
    policy, _ = groups
    change_adapters(policy, 0.0)
    on_every_rank(policy, "send_weights", 1)
    assert gap(policy, sample) < 1e-3
    change_adapters(policy, 0.3)
    assert gap(policy, sample) > 0.1, "the change must show before the sync"
    on_every_rank(policy, "send_weights", 2)
    assert gap(policy, sample) < 1e-3, "after the sync the engine still answers with old weights"


@pytest.mark.full
def test_adapters_and_merged_model_are_saved_whole(config, groups, sample):
    """By peft and transformers they compute what the policy does."""
    policy, _ = groups
    change_adapters(policy, 0.3)
    on_every_rank(policy, "save_model")
    batches, _ = sample()
    expected = torch.cat(log_probs(policy, batches))
    load = transformers.AutoModelForImageTextToText.from_pretrained
    base = load(config.actor.model_name_or_path, dtype=torch.float32)
    for model in (load(config.model_dir), peft.PeftModel.from_pretrained(base, config.adapter_dir)):
        found = []
        for sequences, action_mask, _, (images,) in batches:
            image_tokens = (sequences == base.config.image_token_id).int()
            with torch.no_grad():
                logits = model(input_ids=sequences, mm_token_type_ids=image_tokens, **images).logits
            taken = logits.log_softmax(-1)[0, :-1].gather(-1, sequences[0, 1:, None])[:, 0]
            found.append(taken[action_mask[0].bool()])
        torch.testing.assert_close(torch.cat(found), expected, atol=1e-4, rtol=1e-4)
