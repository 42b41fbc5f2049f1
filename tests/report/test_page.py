import base64
import hashlib
import json
import re

from pepo_rlhf.report.page import render
from pepo_rlhf.report.tokens import TokenPages

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)>"


def test_data_cannot_end_its_element_and_reads_back_as_it_was():
    page = render(HOSTILE, {"runs": [{"name": HOSTILE}]}, TokenPages())
    assert "alert(2)>" not in page and "<img" not in page
    (data,) = re.findall(r'<script type="application/json" id="page">(.*?)</script>', page)
    assert json.loads(data)["overview"] == {"runs": [{"name": HOSTILE}]}
    assert "<title>&lt;/script&gt;" in page


def test_policy_allows_the_inlined_script_and_style_and_nothing_else():
    page = render("run", {"runs": []}, TokenPages())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy.replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{hashes[0]}'",
        f"script-src 'sha256-{hashes[1]}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_images_and_groups_are_elements_of_their_own():
    pages = TokenPages(details=[[{"tokens": [0]}], []], images=["data:image/png;base64,AA==", None])
    page = render("run", {"runs": []}, pages)
    assert '<script type="application/json" id="group-0">[{"tokens":[0]}]</script>' in page
    assert '<script type="text/plain" id="image-0">data:image/png;base64,AA==</script>' in page
    assert '<script type="text/plain" id="image-1"></script>' in page
