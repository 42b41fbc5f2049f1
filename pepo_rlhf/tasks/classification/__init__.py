"""Few-shot classification: FGVC Aircraft, Flowers102, and scikit-learn's digits. An answer is a name of the class."""

from pepo_rlhf.tasks.classification.adapter import asking
from pepo_rlhf.tasks.classification.digits import generate_digits
from pepo_rlhf.tasks.classification.label_match import label_match_reward, name_vote
from pepo_rlhf.tasks.task import Task

VERIFIERS = {"label_match": label_match_reward}

FGVC_AIRCRAFT = Task(
    name="fgvc_aircraft",
    hub_id="HuggingFaceM4/FGVC-Aircraft",
    make_rows=asking("Which aircraft variant is this?"),
    verifiers=("label_match",),
    vote=name_vote,
)
FLOWERS102 = Task(
    name="flowers102",
    hub_id="Multimodal-Fatima/OxfordFlowers_{split}",
    make_rows=asking("Which species of flower is this?"),
    verifiers=("label_match",),
    vote=name_vote,
)
DIGITS = Task(
    name="digits",
    generate=generate_digits,
    make_rows=asking("Which digit is this?"),
    verifiers=("label_match",),
    vote=name_vote,
)
