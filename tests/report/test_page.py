"""The page in a real browser: keyboard and mouse, the right crop, no request, no error, hostile names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import DEMO, make_experiment

import bridge
from bridge.pipeline.page_tables import quality
from bridge.pipeline.run import run

HOSTILE = "Drug </script><img src=x onerror=alert(1)> & 10 µM"


def browser_path() -> str | None:
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


needs_browser = pytest.mark.skipif(browser_path() is None, reason="Chromium is not here (apt-get install chromium)")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose second condition has a name that would end the page's script."""
    folder = tmp_path_factory.mktemp("page")
    images = make_experiment(folder / "images")
    sheet = folder / "samples.csv"
    sheet.write_text(f'folder,condition,replicate\nDMSO/day1,DMSO,day1\nDMSO/day2,DMSO,day2\nDrug/day1,"{HOSTILE}",day1\nDrug/day2,"{HOSTILE}",day2\n')  # fmt: skip
    report = run(images, folder / "results", samples=sheet, control="DMSO", **DEMO)
    assert not report.failures
    return folder / "results"


@pytest.fixture(scope="module")
def opened(results: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.said = []
        page.asked = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.error('POLICY ' + e.violatedDirective))"
        )
        page.goto((results / "report.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        yield page
        assert page.said == []
        assert [url for url in page.asked if not url.startswith(("file:", "blob:"))] == []
        browser.close()


def centre_of(page: Any, channel: str) -> int:
    """Brightness in the middle of a crop."""
    found: int = page.evaluate(
        """(name) => {
            const figure = [...document.querySelectorAll("#crops figure")].find((f) => f.textContent === name);
            const canvas = figure.querySelector("canvas");
            return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
        }""",
        channel,
    )
    return found


def chosen(page: Any) -> tuple[int, str]:
    page.wait_for_selector("#crops figure")
    page.wait_for_timeout(300)
    match = re.fullmatch(r"nucleus (\d+) of (\S+)", page.inner_text("#cell-h"))
    assert match is not None
    return int(match[1]), match[2]


@needs_browser
def test_keyboard_leads_to_the_right_crop(opened: Any, results: Path) -> None:
    """The dimmest and the brightest nucleus of the control, by the arrow keys alone."""
    nuclei = pd.read_csv(results / "nuclei.csv")
    control = nuclei[nuclei["condition"] == "DMSO"].sort_values("nucleus_EdU_Mean")
    opened.focus("#plot")
    opened.keyboard.press("ArrowUp")
    for _ in range(len(control)):
        opened.keyboard.press("ArrowDown")
    label, field = chosen(opened)
    assert (field, label) == tuple(control.iloc[0][["field_id", "label"]])
    dim = centre_of(opened, "EdU")
    for _ in range(len(control)):
        opened.keyboard.press("ArrowUp")
    label, field = chosen(opened)
    assert (field, label) == tuple(control.iloc[-1][["field_id", "label"]])
    assert centre_of(opened, "EdU") > dim + 100
    assert centre_of(opened, "TO-PRO-3") > 60
    assert f"{label:05d} of {field}_nuclei_RoiSet.zip" in opened.inner_text("#roi")
    assert "EdU-positive\nyes" in opened.inner_text("#cell-numbers")
    opened.keyboard.press("ArrowRight")
    assert chosen(opened)[1].startswith("Drug")
    opened.keyboard.press("Enter")
    opened.wait_for_selector("dialog[open]")
    opened.keyboard.press("Escape")
    assert opened.query_selector("dialog[open]") is None


@needs_browser
def test_mouse_and_filters(opened: Any, results: Path) -> None:
    box = opened.query_selector("#plot").bounding_box()
    for x in range(80, int(box["width"]) - 20, 14):
        opened.mouse.click(box["x"] + x, box["y"] + box["height"] - 75)
    assert chosen(opened)[1]
    opened.select_option("#show", "positive")
    n = int((pd.read_csv(results / "nuclei.csv")["EdU_positive"] == True).sum())  # noqa: E712
    assert opened.inner_text("#shown").startswith(f"{n} of ")
    opened.select_option("#show", "")
    opened.select_option("#unit", "cell")
    assert "cells shown" in opened.inner_text("#shown")
    opened.select_option("#axis", "log")
    opened.select_option("#axis", "linear")
    opened.select_option("#unit", "nucleus")
    opened.click("#thumbs button")
    opened.wait_for_selector("dialog[open]")
    opened.wait_for_timeout(300)
    canvas = opened.query_selector("#view-canvas").bounding_box()
    first = pd.read_csv(results / "nuclei.csv").iloc[0]
    scale = canvas["width"] / 160
    opened.mouse.click(canvas["x"] + first["nucleus_x_px"] * scale, canvas["y"] + first["nucleus_y_px"] * scale)
    opened.wait_for_timeout(200)
    assert opened.inner_text("#cell-h") == f"nucleus {first['label']:05d} of {first['field_id']}"
    opened.click("#view-close")


@needs_browser
def test_names_are_text_and_nothing_else(opened: Any, results: Path) -> None:
    assert HOSTILE in opened.inner_text("#condition")
    assert HOSTILE in opened.inner_text("#answer-body")
    assert opened.query_selector("img") is None
    source = (results / "report.html").read_text("utf-8")
    assert "onerror=alert" not in source.replace("\\u003cimg src=x onerror=alert(1)\\u003e", "")
    assert source.count("<script>") == 1
    assert "default-src &#x27;none&#x27;" in source
    assert "unsafe" not in source.partition("</head>")[0]


@needs_browser
def test_narrow_screen_and_table_for_readers(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.wait_for_timeout(200)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.set_viewport_size({"width": 1280, "height": 900})
    assert opened.locator("table caption").all_inner_texts()[:2] == ["Share of positives by condition", "Replicates"]


def test_page_is_written_again_to_the_byte(results: Path) -> None:
    before = {name: (results / name).read_bytes() for name in ("report.html", "methods.txt", "legend.txt")}
    (results / "report.html").unlink()
    bridge.summarize(results)
    assert {name: (results / name).read_bytes() for name in before} == before


def test_methods_and_legend(results: Path) -> None:
    methods, legend = (results / "methods.txt").read_text("utf-8"), (results / "legend.txt").read_text("utf-8")
    assert methods.startswith(
        "Cells were segmented in phase with Cellpose 3.1.1.3 (model demo, SHA-256 8c07962037da, diameter 37 px). Nuclei"
    )
    assert "Nuclei were called EdU-positive above 300 grey levels, a threshold set by hand (Mean)." in methods
    # Two replicates make no test, and none is claimed.
    assert "Values are means of replicates (n = 2 a condition), not of cells. " in methods
    assert "Stringer" in methods
    assert "n = 2 a condition" in legend
    assert HOSTILE in legend


def test_long_lists_say_where_the_rest_is(tmp_path: Path) -> None:
    """A run of 100,000 fields had a page of 45 MB, nearly all of it sentences of checks."""
    checks = pd.DataFrame({"field_id": [f"f{k}" for k in range(900)], "channel": "EdU", "meaning": "dark", "flagged": [k < 700 for k in range(900)]})  # fmt: skip
    warnings = [f"warning {k}" for k in range(500)]
    made = quality({"warnings": warnings}, pd.DataFrame({"message": ["f0: bad"]}), checks, tmp_path)
    lists = {name: lines for name, lines, _ in made["quality"]}
    assert lists["Failed"] == ["f0: bad"]
    assert lists["Warnings"] == warnings
    taken = lists["How the images were taken"]
    assert (len(taken), taken[499:]) == (501, ["f499, EdU: dark", "and 200 more: checks.csv"])
