"""One gate for weights in pickles (pytorch_model.bin): closed, as unpickling may run code that comes with a model."""

from __future__ import annotations


def install_gate(modeling_utils) -> None:
    """Replaces the function by which transformers reads a file of weights. Called right after its module's import.

    Upstream's loaders take what they find; torch's weights_only mode, which transformers uses, has had holes.
    """
    load_state_dict = modeling_utils.load_state_dict

    def load_safetensors(checkpoint_file, *args, **kwargs):
        if not str(checkpoint_file).endswith(".safetensors"):
            raise ValueError(f"{checkpoint_file} is a pickle: {HOW_TO_CONVERT}")
        return load_state_dict(checkpoint_file, *args, **kwargs)

    modeling_utils.load_state_dict = load_safetensors


HOW_TO_CONVERT = (
    "only safetensors are loaded; if you trust where it comes from, load it with transformers and save it again with "
    "save_pretrained, which writes model.safetensors"
)
