import pytest
import torch

from pepo_rlhf.core.fusion import FUSE_FROM, fused


def double(tensor):
    return tensor * 2


def test_a_function_is_compiled_once_and_for_large_calls_only():
    assert fused(double, FUSE_FROM - 1) is double
    compiled = fused(double, FUSE_FROM)
    assert compiled is not double
    assert compiled is fused(double, 2 * FUSE_FROM)
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="compile"):
        compiled(torch.arange(3))
    assert torch.equal(compiled(torch.arange(3)), torch.tensor([0, 2, 4]))
