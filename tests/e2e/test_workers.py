"""Policy, reference and rollout workers on one set of real engines: scores, weight sync, placeholders, vision check."""

import dataclasses
import io
import json

import pytest
import ray
import torch
from PIL import Image
from vllm import SamplingParams

from pepo_rlhf.config import Config
from pepo_rlhf.controller import cluster
from pepo_rlhf.controller.prompts import render_prompts
from pepo_rlhf.controller.vision_check import VisionError, check_vision
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.core.signals import BUILT_IN
from pepo_rlhf.core.signals.visual_similarity import visual_similarity
from pepo_rlhf.data import Row, load_rows
from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.perturbations import Perturbation
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.workers.micro_batch import MicroBatch


@pytest.fixture(scope="module")
def config(tiny_model, problems, tmp_path_factory):
    config = Config()
    config.actor.model_name_or_path, config.data.prompt_dataset = str(tiny_model), str(problems)
    config.actor.freeze_visual_encoder = False
    config.data.max_len = 448
    config.data.min_pixels, config.data.max_pixels = 84 * 84, 140 * 140  # the model's own: 56 * 56, 112 * 112
    config.train.batch_size = config.train.micro_batch_size = 4
    config.vllm.enforce_eager = True
    config.algo.kl.init_coef = 0.0  # no reference
    config.run.dir = str(tmp_path_factory.mktemp("run"))
    return config


@pytest.fixture(scope="module")
def groups(config):
    """(policy group, engines): one worker each, loaded from the same folder."""
    from pepo_rlhf.controller.placement import load_models, start_workers

    cluster.connect(config)
    with Watchdog(600) as watchdog, start_workers(config, watchdog) as started:
        yield started.policy, load_models(config, started, max_steps=10)
    ray.shutdown()


@pytest.fixture(scope="module")
def workers(groups):
    """(policy actor, engine)."""
    policy, engines = groups
    return policy._actor_handlers[0], engines.handles[0]


@pytest.fixture(scope="module")
def processor(config):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(config.actor.model_name_or_path)


@pytest.fixture(scope="module")
def prompt(config, processor):
    """The first problem."""
    return render_prompts(load_rows(config.data.prompt_dataset).rows, processor)[0]


def sample(engine, config, prompt, num_samples=2, seed=0, perturbation=None, **params):
    defaults = {"temperature": 1.0, "max_tokens": 24, "logprobs": 0, "seed": seed}
    return ray.get(
        engine.generate_group.remote(
            prompt.text,
            prompt.label,
            list(prompt.images),
            SamplingParams(**(defaults | params)),
            config.data.max_len,
            num_samples,
            perturbation,
        )
    )


def micro_batch(group, response):
    """One response as the policy's forward takes it."""
    sequences, start = torch.tensor([group.prompt_token_ids + response.token_ids]), len(group.prompt_token_ids)
    action_mask = torch.zeros(1, sequences.shape[1] - 1, dtype=torch.long)
    action_mask[:, start - 1 :] = 1
    images, perturbed = [group.image_tensors], [group.perturbed_tensors]
    return MicroBatch(sequences, action_mask, torch.ones_like(sequences), images, perturbed)


def score(policy, group, response, signals=("visual_similarity",)):
    """The policy's scores of one response, and the columns of its tokens."""
    start = len(group.prompt_token_ids)
    scores = ray.get(policy.score.remote(micro_batch(group, response), signals=signals))
    return scores, slice(start - 1, start - 1 + len(response.token_ids))


def gap(policy, group):
    """Mean |rollout - trainer| log-prob in nats."""
    gaps = []
    for response in group.responses:
        scores, columns = score(policy, group, response)
        gaps.append((scores.action_log_probs[0, columns] - torch.tensor(response.log_probs)).abs())
    return torch.cat(gaps).mean().item()


def test_scores_equal_the_formulas_over_hidden_states_and_logits(config, workers, prompt):
    policy, engine = workers
    group = sample(engine, config, prompt, num_samples=1, perturbation=Perturbation("patches"))
    tokens = group.prompt_token_ids + group.responses[0].token_ids
    scores, columns = score(policy, group, group.responses[0], BUILT_IN)

    def reference(worker):
        """The definition, from Hugging Face's own outputs of the very same model."""
        ids = torch.tensor([tokens])
        model = worker.actor.model.module
        mask = ids == model.config.image_token_id
        with torch.no_grad():
            output, perturbed = (
                model(input_ids=ids, mm_token_type_ids=mask.int(), output_hidden_states=True, **images)
                for images in (group.image_tensors, group.perturbed_tensors)
            )
        log_probs = output.logits.double().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)[0, :-1]
        taken = log_probs[0, :-1].gather(-1, ids[0, 1:, None])[:, 0]
        # Of two passes the logits are compared before the head rounds them to bfloat16.
        head = model.get_output_embeddings().weight.double()
        true, other = ((each.hidden_states[-1].double() @ head.T).log_softmax(-1) for each in (output, perturbed))
        dependence = (true.exp() * (true - other)).sum(-1)[0, :-1]
        change = (true - other)[0, :-1].gather(-1, ids[0, 1:, None])[:, 0].abs()
        similarity = visual_similarity(output.hidden_states, mask)[0, 1:]
        return taken, similarity, entropy, dependence, change, int(mask.sum())

    log_probs, similarity, entropy, dependence, change, num_visual = ray.get(policy.__ray_call__.remote(reference))
    assert dependence[columns].max() > 1e-3
    for name, expected in (("image_dependence", dependence), ("image_sensitivity", change)):
        actual = scores.signals[name][0, columns].double()
        torch.testing.assert_close(actual, expected[columns], atol=5e-6, rtol=1e-4)
    assert num_visual > 4
    torch.testing.assert_close(scores.action_log_probs[0, columns].double(), log_probs[columns], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(
        scores.signals["visual_similarity"][0, columns], similarity[columns], atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(scores.signals["entropy"][0, columns].double(), entropy[columns], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "num_visual"),
    [
        (28, 9),  # enlarged to 84 x 84: 3 x 3 visual tokens of 28 x 28 pixels, where the model's own limit makes 4
        (112, 16),  # within the limits
        (280, 25),  # shrunk to 140 x 140: 5 x 5, where the model's own limit makes 16
    ],
)
def test_pixel_limits_hold_in_trainer_and_engine(config, workers, processor, side, num_visual):
    """The engine's prompt is compared with the trainer's in every call: had it other limits, this would raise."""
    _, engine = workers
    png = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(png, "PNG")
    row = Row("<image>Find x.", (png.getvalue(),), "13", "here:row 1", "here")
    (prompt,) = render_prompts([row], processor)
    group = sample(engine, config, prompt, num_samples=1)
    assert group.prompt_token_ids.count(processor.image_token_id) == num_visual


def test_rollout_and_trainer_agree_before_any_update(config, workers, prompt):
    policy, engine = workers
    assert gap(policy, sample(engine, config, prompt)) < 0.03


def test_same_seed_same_responses_and_samples_differ(config, workers, prompt):
    _, engine = workers
    first, again = (sample(engine, config, prompt, seed=5) for _ in range(2))
    assert [response.token_ids for response in first.responses] == [response.token_ids for response in again.responses]
    assert first.responses[0].token_ids != first.responses[1].token_ids


def test_more_prompts_at_once_than_one_engine_step_takes(config, workers, prompt):
    """vLLM would cut the last of them in two, and die of it on a CPU: see compat/cpu.py."""
    _, engine = workers
    params = SamplingParams(temperature=1.0, max_tokens=2, logprobs=0, seed=0)
    asked = (prompt.text, prompt.label, list(prompt.images), params, config.data.max_len, 4)
    groups = ray.get([engine.generate_group.remote(*asked) for _ in range(40)])
    assert [len(group.responses) for group in groups] == [4] * 40


def test_placeholders_cannot_be_sampled(config, workers, prompt, processor):
    """Even when the policy wants nothing else: the bias that the samples generator sets beats any logit."""
    from pepo_rlhf.controller.rollouts import forbidden_tokens

    _, engine = workers
    ids = vision_token_ids(processor)
    wanted = {token: 60.0 for token in ids}
    wanting = sample(engine, config, prompt, max_tokens=4, logit_bias=wanted, num_samples=1)
    assert set(wanting.responses[0].token_ids) <= ids, "the test's premise: unforbidden, they are sampled"
    forbidden = sample(
        engine, config, prompt, temperature=2.0, max_tokens=24, num_samples=16, logit_bias=forbidden_tokens(processor)
    )
    for response in forbidden.responses:
        assert not ids & set(response.token_ids)


def test_prompt_that_does_not_fit_is_refused_with_the_flag(config, workers, prompt):
    _, engine = workers
    with pytest.raises(ray.exceptions.RayTaskError, match="--data.max_len"):
        sample(engine, config, prompt, max_tokens=config.data.max_len)


@pytest.fixture
def check(config, groups, processor):
    """Makes the vision check; returns what is wrong, and the record in the run folder."""
    prompts = render_prompts(load_rows(config.data.prompt_dataset).rows, processor)

    def run():
        fault = None
        try:
            check_vision(config, *groups, prompts, processor)
        except VisionError as error:
            fault = str(error)
        return fault, json.loads((config.run_dir / "vision_check.json").read_text())

    return run


def change_weights(policy, part, change):
    """Replaces weights of the policy whose name contains `part`, and returns a call that puts the old ones back."""

    def edit(worker):
        named = {name: weight for name, weight in worker.actor.model.module.named_parameters() if part in name}
        assert named, part
        old = {name: weight.detach().clone() for name, weight in named.items()}
        with torch.no_grad():
            for weight in named.values():
                weight.copy_(change(weight))
        return old

    def restore(worker, old):
        with torch.no_grad():
            for name, weight in worker.actor.model.module.named_parameters():
                if name in old:
                    weight.copy_(old[name])

    old = ray.get(policy.__ray_call__.remote(edit))
    return lambda: ray.get(policy.__ray_call__.remote(restore, old))


def test_vision_check_passes_a_random_model(check):
    fault, measured = check()
    assert fault is None
    assert measured["num_responses"] == 4
    # Another image changes more than repetition does, by a wide margin.
    for side in ("policy", "engine"):
        assert min(measured[side]["blank"], measured[side]["swapped"]) > 5 * measured["limits"]["change"]


def test_vision_check_names_the_side_whose_image_path_is_cut(workers, check):
    policy, _ = workers
    restore = change_weights(policy, "visual.merger.mlp.2", torch.zeros_like)  # weight and bias: features are constant
    assert check()[0].startswith("policy is blind: ")
    ray.get(policy.send_weights.remote(1))
    fault, measured = check()
    assert fault.startswith("policy and rollout engine are blind: ")
    assert measured["policy"]["blank"] == measured["engine"]["blank"] == 0
    restore()
    assert check()[0].startswith("rollout engine is blind: ")
    ray.get(policy.send_weights.remote(1))
    assert check()[0] is None


def test_vision_check_stops_where_policy_and_engine_have_different_weights(workers, check):
    policy, _ = workers

    def disturb(weight):
        return weight + torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight.dtype) * 0.1

    restore = change_weights(policy, "language_model", disturb)
    fault, measured = check()
    assert fault.startswith("policy and rollout engine disagree by ")
    assert measured["gap"] > measured["limits"]["gap"]
    restore()
    assert check()[0] is None


def test_probe_leaves_the_sampling_temperature_out(config, workers, prompt):
    policy, engine = workers
    group = sample(engine, config, prompt, num_samples=1)
    at_one = score(policy, group, group.responses[0])[0].action_log_probs

    def probe_at_two(worker, batch):
        worker.actor.sampling_temperature = 2.0
        probed, scored = worker.probe(batch), worker.score(batch).action_log_probs
        worker.actor.sampling_temperature = 1.0
        return probed, scored

    probed, at_two = ray.get(policy.__ray_call__.remote(probe_at_two, micro_batch(group, group.responses[0])))
    assert probed.equal(at_one)
    assert not at_two.equal(at_one)


def test_probe_names_a_prompt_without_image_tokens(config, workers, prompt):
    _, engine = workers
    images = list(prompt.images)
    blind = prompt.text.replace("<|vision_start|><|image_pad|><|vision_end|>", "")
    assert blind != prompt.text
    with pytest.raises(ray.exceptions.RayTaskError, match="has no image tokens.*chat template"):
        ray.get(engine.probe.remote(blind, images, images, SamplingParams(max_tokens=4), config.data.max_len))


def test_sync_carries_language_and_vision_weights_and_drops_old_images(config, workers, prompt):
    policy, engine = workers

    def disturb(worker, part):
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            for name, weight in worker.actor.model.module.named_parameters():
                if part in name and weight.dim() > 1:
                    weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)

    for part in ("language_model", "visual"):
        ray.get(policy.__ray_call__.remote(disturb, part))
        stale = gap(policy, sample(engine, config, prompt))
        ray.get(policy.send_weights.remote(1))
        fresh = gap(policy, sample(engine, config, prompt))
        assert stale > 0.1, f"disturbing {part} must show before the sync"
        assert fresh < 0.06, f"after the sync the engine still answers with old {part} weights"


def test_a_prompt_is_cached_for_its_samples_until_a_sync(config, workers, prompt):
    policy, engine = workers
    longer = dataclasses.replace(prompt, text=prompt.text + "count " * 50)
    tokens = sample(engine, config, longer, num_samples=1).prompt_token_ids
    assert len(tokens) > 256, "vLLM caches whole blocks, of 128 tokens on a CPU"
    pictures = {"image": [decode_image(image) for image in prompt.images]}

    def num_cached():
        return ray.get(engine.generate.remote(tokens, SamplingParams(max_tokens=1), pictures)).num_cached_tokens

    assert num_cached() == 256
    ray.get(policy.send_weights.remote(1))
    assert num_cached() == 0, "keys and values of old weights"
    assert num_cached() == 256


def test_a_prompt_is_encoded_once_for_its_samples(config, workers, prompt):
    _, engine = workers

    def count(worker):
        from pepo_rlhf.workers import rollout

        worker.originals, worker.counts = {}, {}
        for name in ("encode_prompt", "decode_image"):
            worker.originals[name], worker.counts[name] = getattr(rollout, name), 0

            def counted(*arguments, name=name):
                worker.counts[name] += 1
                return worker.originals[name](*arguments)

            setattr(rollout, name, counted)

    def restore(worker):
        from pepo_rlhf.workers import rollout

        for name, original in worker.originals.items():
            setattr(rollout, name, original)
        return worker.counts

    ray.get(engine.__ray_call__.remote(count))
    group = sample(engine, config, prompt, num_samples=4)
    assert len(group.responses) == 4 and len(prompt.images) == 1
    assert ray.get(engine.__ray_call__.remote(restore)) == {"encode_prompt": 1, "decode_image": 1}


def test_a_weight_that_does_not_arrive_is_named(workers):
    policy, _ = workers

    def hide_one_weight(worker):
        worker.weight_sync.weights.trained.add("forgotten")

    def restore(worker):
        worker.weight_sync.weights.trained.remove("forgotten")

    ray.get(policy.__ray_call__.remote(hide_one_weight))
    with pytest.raises(ray.exceptions.RayTaskError, match="did not receive 1 weights.*forgotten"):
        ray.get(policy.send_weights.remote(1))
    ray.get(policy.__ray_call__.remote(restore))
    ray.get(policy.send_weights.remote(1))


def test_a_blind_prompt_is_an_error(config, workers, prompt):
    policy, engine = workers
    group = sample(engine, config, prompt, num_samples=1)
    image_token = max(set(group.prompt_token_ids), key=group.prompt_token_ids.count)
    blind = group._replace(prompt_token_ids=[5 if token == image_token else token for token in group.prompt_token_ids])
    with pytest.raises(
        ray.exceptions.RayTaskError, match="1 prompts of a micro-batch have an image without image tokens"
    ):
        score(policy, blind, blind.responses[0])
