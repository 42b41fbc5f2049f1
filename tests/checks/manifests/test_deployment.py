"""Amounts as Kubernetes writes them; test_manifest.py and test_resources.py have the rest of what is read."""

from __future__ import annotations

import pytest

from pepo_rlhf.checks.manifests.deployment import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[
            ("500m", 0.5),
            ("16Gi", 16 * 2**30),
            ("8", 8),
            (8, 8),
            ("1.5", 1.5),
            ("2M", 2e6),
            ("3k", 3e3),
            ("1Ti", 2**40),
        ],
        *[("1P", 1e15), ("2Pi", 2 * 2**50), ("1E", 1e18), ("1Ei", 2**60), ("1e3", 1000), ("12E2", 1200), (".5Ki", 512)],
        *[("4n", 4e-9), ("4u", 4e-6), ("1G", 1e9), ("1T", 1e12), ("1Mi", 2**20), ("1Ki", 1024)],
    ],
)
def test_quantities(text, number):
    assert quantity(text) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["128GB", "eight", "", "1 Gi", "-1", "nan", "inf", "1.2.3", "1K", "1Gi\n", "1e999", "1e308Ei"]
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is no Kubernetes quantity"):
        quantity(text)
