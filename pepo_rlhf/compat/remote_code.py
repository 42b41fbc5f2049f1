"""One gate for code that comes with a model: closed unless `--run.trust_remote_code` was given."""

from __future__ import annotations

import os

# An environment variable, since it must reach Ray workers, vLLM's engine core and its model-inspection subprocess.
TRUST_REMOTE_CODE = "PEPO_RLHF_TRUST_REMOTE_CODE"


def install_gate(dynamic_module_utils) -> None:
    """Replaces the function by which every transformers loader decides. Called right after its module's import.

    OpenRLHF passes trust_remote_code=True in every loader; with the gate closed that is taken as False: code that
    transformers itself has is used, and a model that has none raises ValueError.
    """
    resolve = dynamic_module_utils.resolve_trust_remote_code

    def resolve_gated(trust_remote_code, model_name, *args, **kwargs):
        allowed = os.environ.get(TRUST_REMOTE_CODE) == "1"
        try:
            return resolve(bool(trust_remote_code) and allowed, model_name, *args, **kwargs)
        except ValueError as error:
            error.add_note(f"To run the code that comes with {model_name}, pass --run.trust_remote_code true.")
            raise

    dynamic_module_utils.resolve_trust_remote_code = resolve_gated
