"""The report in a real browser: what a reader does with it, and what hostile text must not do."""

import json
import shutil
from types import SimpleNamespace

import pytest

from pepo_rlhf.report.__main__ import comparison, report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<script>alert(1)</script></script><!--<img src=x onerror=alert(2)>{{7*7}}"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Function that opens a page's text; at the end of the test nothing may have gone wrong or been fetched."""
    heard = SimpleNamespace(problems=[], requests=[])
    opened = []

    def show(text, viewport=(1440, 900)):
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        page = browser.new_page(viewport={"width": viewport[0], "height": viewport[1]}, color_scheme="light")
        opened.append(page)
        page.set_default_timeout(10_000)
        page.on("console", lambda message: heard.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.problems.append(str(error)))
        page.on("dialog", lambda dialog: (heard.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: heard.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield show
    for page in opened:
        page.close()
    assert heard.problems == []
    assert [url for url in heard.requests if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]


@pytest.fixture(scope="module")
def recorded_report(recorded_run):
    return report(recorded_run)[0]


@pytest.fixture
def prompts(show, recorded_report):
    page = show(recorded_report)
    page.click("#show-prompts")
    page.wait_for_selector(".token")
    return page


def found(page):
    return page.inner_text("#found")


def chosen(page):
    return page.locator(".prompt-row").evaluate_all("rows => rows.findIndex(row => row.ariaSelected === 'true')")


def background(page, selector):
    return page.eval_on_selector(selector, "node => getComputedStyle(node).backgroundColor")


def test_curves_with_their_last_values(show, recorded_report):
    page = show(recorded_report)
    assert page.locator(".chart h3").all_inner_texts() == [
        *("Reward", "accuracy", "Token weight", "Groups of equal rewards", "Gradient norm")
    ]
    tops = page.locator(".chart").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().top)")
    assert len(set(tops)) <= 2
    assert page.inner_text(".legend >> nth=1").endswith("held-out 0.75 [0.72, 0.79]")
    assert "median 1" in page.inner_text(".legend >> nth=2") and " to " in page.inner_text(".legend >> nth=2")
    assert page.locator("g.mark").count() == 2 and page.locator("path.band").count() == 1
    assert "0.75" in page.inner_text("text=Evaluations >> xpath=..")
    assert "alpha\n0.05" in page.inner_text(".facts")


def test_the_running_mean_the_numbers_and_how_even_the_weights_are(show, tmp_path, metrics_writer):
    metrics_writer(tmp_path)
    steps = [{"global_step": step, "reward": float(step), "weight_p20": 0.5, "weight_p80": 1.0} for step in range(1, 9)]
    steps[-2:] = [{**step, "weight_p20": 1.0, "weight_p80": 1.05} for step in steps[-2:]]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    page = show(report(tmp_path)[0])
    assert "p80/p20 1.05: nearly GRPO" in page.inner_text("#overview")
    page.click(".chart >> nth=0 >> summary")
    rows = page.locator(".chart >> nth=0 >> tbody tr").all_inner_texts()
    assert rows[0].split() == ["1", "1", "1"]
    assert rows[-1].split() == ["8", "8", "6"]  # the mean of 4 to 8
    assert len(rows) == 8


def test_prompts_open_on_weights_and_are_filtered_by_right_and_wrong(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    scores = {"a": (1.0, 1.0), "b": (1.0, 0.0), "c": (0.0, 0.5), "d": (0.0, 0.0)}  # of accuracy, by group
    rows = [(group, score) for group, both in scores.items() for score in both]
    # The whole reward says nothing: format counts in it.
    record(
        tmp_path,
        *(
            {"tokens": ["a"], "group": group, "sample": place % 2, "reward": 1.0, "reward_parts": {"accuracy": score}}
            for place, (group, score) in enumerate(rows)
        ),
    )
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    assert page.get_attribute("#group", "data-quantity") == "weight"
    for choice, count in {"right": 2, "wrong": 3, "both": 1, "": 4}.items():
        page.select_option("#filter-right", choice)
        assert found(page).startswith(f"{count} of 4")
    assert "a box a response" in page.inner_text("#filters")


def test_a_signal_that_was_not_computed_is_told(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    record(tmp_path, {"tokens": ["a", "b"], "similarity": None})
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    page.wait_for_selector(".token")  # responses are filled in as they come into view
    assert page.locator(".token.missing").count() == 0
    page.keyboard.press("1")
    assert page.locator(".token.missing").count() == 2
    assert "does without similarity, so it was not computed" in page.inner_text("#group")
    page.keyboard.press("2")
    assert page.locator(".token.missing").count() == 0 and "does without" not in page.inner_text("#group")


def test_filters_narrow_the_table(prompts):
    assert found(prompts) == "24 of 24 prompts, 96 responses"
    prompts.fill("#step-from", "5")
    assert found(prompts).startswith("12 of 24")
    prompts.select_option("#filter-task", "arithmetic")
    assert found(prompts).startswith("3 of 24")
    prompts.fill("#filter-text", "what IS ")
    assert found(prompts).startswith("3 of 24")
    prompts.fill("#filter-text", "no such text")
    assert found(prompts).startswith("0 of 24") and "No prompt passes" in prompts.inner_text("#rows")
    prompts.click("#clear-filters")
    assert found(prompts).startswith("24 of 24")
    prompts.fill("#reward-from", "1.5")
    prompts.fill("#reward-to", "1.5")
    rewards = prompts.locator("tr.prompt-row td:nth-child(5)").all_inner_texts()
    assert rewards and set(rewards) == {"1.5"} and len(rewards) < 24


def test_a_head_sorts_and_sorts_back(prompts):
    def rewards():
        return [float(text) for text in prompts.locator("tr.prompt-row td:nth-child(5)").all_inner_texts()]

    prompts.click("#rows th >> text=Reward")
    assert rewards() == sorted(rewards())
    prompts.click("#rows th >> text=Reward")
    assert rewards() == sorted(rewards(), reverse=True)
    assert prompts.get_attribute("#rows th:nth-child(5)", "aria-sort") == "descending"


def test_a_prompt_shows_its_image_beside_the_responses_of_its_group(prompts):
    prompts.click("tr.prompt-row >> nth=1")
    assert prompts.locator(".card").count() == 4
    assert prompts.eval_on_selector(".images img", "image => image.naturalWidth") == 112
    assert "squares are there?" in prompts.inner_text("#group h2")
    assert "48 of the step's 96 responses recorded" in prompts.inner_text("#group .label")
    prompts.click("tr.prompt-row >> nth=3")
    assert prompts.inner_text(".images") == "text only"


def test_pointing_at_a_token_shows_its_numbers(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    numbers = {"similarity": [0.1, 0.25], "entropy": [0.5, 1.5], "weight": [0.75, 1.25], "log_prob": [-2.0, -0.5]}
    more = {"advantage_before": [0.5, 0.5], "advantage": [0.4, 0.6], "rollout_log_prob": [-2.5, -0.25]}
    record(tmp_path, {"tokens": ["two", " cats\n"], "token_ids": [11, 12], **numbers, **more})
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    page.hover(".token >> nth=1")
    shown = page.inner_text("#tooltip").replace("\n", " ")
    assert shown.startswith('" cats\\n" 2 of 2, id 12')
    for text in ("similarity 0.25", "entropy 1.5 nats", "weight 1.25", "0.5 → 0.6", "log-prob -0.5", "rollout -0.25"):
        assert text in shown
    page.mouse.move(5, 5)
    assert page.is_hidden("#tooltip")
    page.focus(".card")
    page.keyboard.press("ArrowRight")
    assert "1 of 2, id 11" in page.inner_text("#tooltip")


def test_colours_around_a_centre_and_from_low_to_high(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    record(tmp_path, {"tokens": list("abc"), "weight": [0.8, 1.0, 1.2], "entropy": [0.0, 1.0, 2.0]})
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    page.keyboard.press("3")
    assert page.get_attribute("#show-weight", "aria-pressed") == "true"
    shares = page.locator(".token").evaluate_all("nodes => nodes.map(node => +node.style.getPropertyValue('--share'))")
    assert shares == [-1, 0, 1]
    low, middle, high = (background(page, f".token:nth-of-type({place})") for place in (1, 2, 3))
    assert len({low, middle, high}) == 3
    page.keyboard.press("2")
    shares = page.locator(".token").evaluate_all("nodes => nodes.map(node => +node.style.getPropertyValue('--share'))")
    assert shares == [0, 0.5, 1]
    assert "≤ 0" in page.inner_text(".scale") and "≥ 2" in page.inner_text(".scale")
    page.keyboard.press("s")
    assert page.inner_text("#scale-over") == "Scale: run"


def test_keys(prompts):
    assert chosen(prompts) == 0
    for key, row in (("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("ArrowUp", 0)):
        prompts.keyboard.press(key)
        assert chosen(prompts) == row
    for place, name in enumerate(("similarity", "entropy", "weight", "advantage", "log_prob"), start=1):
        prompts.keyboard.press(str(place))
        assert prompts.get_attribute("#group", "data-quantity") == name
    prompts.keyboard.press("?")
    assert prompts.is_visible("#help")
    prompts.keyboard.press("Escape")
    assert prompts.is_hidden("#help")
    prompts.keyboard.press("/")
    prompts.keyboard.type("jjj")
    assert prompts.input_value("#filter-text") == "jjj" and found(prompts).startswith("0 of 24")
    prompts.keyboard.press("Escape")
    prompts.keyboard.press("o")
    assert prompts.is_visible("#overview") and prompts.is_hidden("#prompts")


def test_keyboard_focus_can_be_seen(prompts):
    prompts.keyboard.press("Tab")
    outlines = []
    for _ in range(12):
        prompts.keyboard.press("Tab")
        outlines.append(prompts.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}


def test_theme_follows_the_system_until_it_is_chosen(prompts):
    light = background(prompts, "body")
    prompts.emulate_media(color_scheme="dark")
    dark = background(prompts, "body")
    assert light != dark
    prompts.click("#theme")
    assert prompts.inner_text("#theme") == "Theme: light" and background(prompts, "body") == light
    prompts.keyboard.press("t")
    assert prompts.inner_text("#theme") == "Theme: dark" and background(prompts, "body") == dark


def test_hostile_text_is_shown_as_it_is(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path, settings={"method": HOSTILE})
    hostile = dict.fromkeys(("prompt", "label", "response", "task", "group"), HOSTILE)
    hostile["label"] += "\u202e"  # turns what follows it round, unless it is kept in
    tokens = [HOSTILE[:9], HOSTILE[9:], "\n", HOSTILE]
    record(tmp_path, {"tokens": tokens, **hostile, "reward_parts": {HOSTILE: 1.0}}, {"tokens": ["b"], "group": "b"})
    page = show(report(tmp_path)[0])
    assert HOSTILE in page.inner_text(".facts")
    page.keyboard.press("p")
    page.wait_for_selector(".tokens > *")  # responses are filled in as they come into view
    assert page.text_content(".tokens") == "".join(tokens)
    assert page.text_content("#group h2") == HOSTILE and page.text_content("#group pre") == HOSTILE
    assert page.inner_text(".label b") == hostile["label"] and f"task {HOSTILE}" in page.inner_text("#group .label")
    assert HOSTILE in page.inner_text(".card header") and HOSTILE in page.inner_text("#rows")
    page.hover(".token >> nth=0")
    page.fill("#filter-text", "<script>alert(1)")
    assert found(page).startswith("1 of 2")
    assert page.locator("img[src=x]").count() == 0
    page.wait_for_timeout(100)


def test_what_gets_in_all_the_same_cannot_run_or_call_out(browser, tmp_path, recorded_report):
    (tmp_path / "report.html").write_text(recorded_report, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = true\">')")
    assert page.evaluate("fetch('https://example.com').then(() => 'sent', () => 'blocked')") == "blocked"
    assert page.evaluate("window.ran") is None
    page.close()


def test_of_five_thousand_responses_only_what_is_in_sight_is_built(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    rows = [{"tokens": ["a"] * 40, "group": str(place), "label": f"label {place}"} for place in range(1000)]
    record(tmp_path, *(row | {"sample": sample} for row in rows for sample in range(5)))
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    assert found(page).startswith("1000 of 1000") and page.locator("tr.prompt-row").count() < 60
    assert page.locator(".token").count() == 5 * 40
    page.eval_on_selector("#rows", "node => node.scrollTop = node.scrollHeight")
    page.wait_for_selector("tr.prompt-row >> text=label 999")
    assert page.locator("tr.prompt-row").count() < 60


def test_long_groups_are_built_as_they_come_into_sight(show, tmp_path, metrics_writer, record):
    metrics_writer(tmp_path)
    record(tmp_path, *({"tokens": [" word"] * 2000, "sample": sample} for sample in range(16)))
    page = show(report(tmp_path)[0])
    page.keyboard.press("p")
    page.wait_for_selector(".token")
    assert page.locator(".card").count() == 16 and page.locator(".token").count() <= 4 * 2000
    page.locator(".card >> nth=15").scroll_into_view_if_needed()
    page.wait_for_selector(".card >> nth=15 >> .token")


def test_without_records_the_page_says_how_to_make_some(show, tmp_path, metrics_writer):
    metrics_writer(tmp_path)
    page = show(report(tmp_path)[0])
    assert "--logger.tokens_every" in page.inner_text(".notice")
    assert page.is_disabled("#show-prompts")
    page.keyboard.press("p")
    assert page.is_visible("#overview")


def test_a_run_in_its_first_step_without_config_or_evaluations(show, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"global_step": 1, "reward": 0.5}\n')
    page = show(report(tmp_path)[0])
    assert page.inner_text(".legend >> nth=0").split("\n") == ["samples 0.5", "samples, mean of 5 0.5"]
    assert page.locator(".chart .empty").count() == 3  # no weights, groups or gradient norm


def test_two_runs_over_each_other(show, tmp_path, metrics_writer):
    metrics_writer(tmp_path / "grpo", gain=0.25, settings={"method": "uniform"})
    metrics_writer(tmp_path / "pepo", gain=0.5)
    page = show(comparison(tmp_path / "grpo", tmp_path / "pepo")[0])
    assert page.locator(".chart >> nth=0 >> path.line:not(.pale)").count() == 2
    assert page.inner_text(".runs").split() == ["A", "grpo", "·", "12", "steps", "B", "pepo", "·", "12", "steps"]
    # 0.75 - 0.5, less hypot(0.03, 0.04) and plus hypot(0.04, 0.03)
    assert "0.25\t[0.2, 0.3]" in page.inner_text(".difference table")
    assert "uniform\tpepo" in page.inner_text(".settings table")


def test_narrow_window(show, recorded_report):
    page = show(recorded_report, viewport=(600, 900))
    page.keyboard.press("p")
    page.wait_for_selector(".token")
    assert page.evaluate("document.documentElement.scrollWidth") <= 600
