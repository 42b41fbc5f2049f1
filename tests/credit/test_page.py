import re

import numpy as np
from PIL import Image

from pepo_rlhf.report.credit_page import render_credit


def page(text="table", tokens=("a", " b", "c")):
    values = np.arange(len(tokens), dtype=np.float32)
    response = {"texts": list(tokens), "rows": {"image dependence, blank": values, "visual_similarity": -values}}
    question = {"prompt": "Find <x>.", "pictures": [Image.new("RGB", (8, 8))], "responses": [response]}
    return render_credit("models/<b>tiny</b>", text, [question])


def test_all_signals_stand_under_each_other_with_a_shade_a_token():
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page())
    assert [label for label, _ in rows] == ["image dependence, blank", "visual similarity"]
    assert re.findall(r'class="s(\d+)" title="(.*?)">', rows[0][1]) == [("0", "0.0"), ("5", "1.0"), ("10", "2.0")]
    assert re.findall(r'class="s(\d+)"', rows[1][1]) == ["10", "5", "0"]


def test_a_token_that_was_not_measured_has_no_shade():
    response = {"texts": list("abcd"), "rows": {"advantage": np.array([np.nan, 2.0, np.nan, -1.0])}}
    made = render_credit("m", "t", [{"prompt": "p", "pictures": [], "responses": [response]}])
    shades = re.findall(r'class="s(\d+)" title="(.*?)">', made)
    assert shades == [("0", "not measured"), ("10", "2.0"), ("0", "not measured"), ("0", "-1.0")]


def test_what_a_user_or_a_model_wrote_is_never_markup():
    made = page("<script>alert(1)</script>", ("<img src=x>", "</td>", "&"))
    assert "<script" not in made and "<img src=x>" not in made and "<b>tiny" not in made
    assert "&lt;img src=x&gt;" in made and "Find &lt;x&gt;." in made
    assert "default-src 'none'" in made and "script-src" not in made
