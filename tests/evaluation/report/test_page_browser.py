"""The report in a real browser: it opens from disk, shows everything, and does what it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import report_material as material
from report_material import BAD, FRAMES, OTHER

pytestmark = pytest.mark.browser

NO_STORAGE = "Object.defineProperty(window, 'localStorage', {get() {throw new Error('denied')}})"
CLIP = "section.clip[data-clip='0']"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, driver: Any) -> str:
    """Write the report with everything in it."""
    return material.write_report(tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture
def browser(driver: Any, address: str) -> Iterator[Any]:
    """Open the report, 1280 pixels wide, light; no message may be in the console afterwards."""
    show(driver, 1280)
    driver.get(address)
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def show(driver: Any, width: int, *, dark: bool = False, script: bool = True) -> None:
    """Set the size of the window and what the system prefers."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    wishes = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},  # nothing moves under the pointer
    ]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})


def find(driver: Any, selector: str) -> list[Any]:
    return driver.find_elements("css selector", selector)


def one(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def click(driver: Any, selector: str) -> None:
    """Click as a person would who has scrolled there."""
    element = one(driver, selector)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    driver.execute_async_script("requestAnimationFrame(() => arguments[0]())")
    element.click()


def column(driver: Any, place: int, table: int = 0) -> list[str]:
    """Return what a column of a headline table shows, from the top."""
    rows = find(driver, f"[data-table='{table}'] tbody tr")
    return [row.find_elements("css selector", "th, td")[place].text.split("\n")[0] for row in rows]


def background(driver: Any) -> int:
    """Return the brightness of the page's background."""
    colour = one(driver, "body").value_of_css_property("background-color")
    return int(colour[colour.index("(") + 1 :].split(",")[0])


def wait(driver: Any, condition: Callable[[], object]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 10).until(lambda _: condition())


def test_all_pictures_and_the_video_load(browser: Any) -> None:
    sizes = browser.execute_async_script(
        "const done = arguments[0], all = [...document.images];"
        "Promise.all(all.map(i => i.decode().catch(() => 0)))"
        ".then(() => done(all.map(i => i.naturalWidth)))"
    )
    assert len(sizes) > 40
    assert min(sizes) > 0
    state = (
        "const v = document.querySelector('video'); return [v.readyState, v.videoWidth, v.error]"
    )
    wait(browser, lambda: browser.execute_script(state)[0] >= 2)
    _, width, error = browser.execute_script(state)
    assert width > 0
    assert error is None


def test_nothing_is_asked_of_anybody(browser: Any) -> None:
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in asked if not name.startswith("data:")] == []
    assert browser.execute_script("return window.hacked") is None


@pytest.mark.slow
def test_sorting_by_mouse_and_keyboard(browser: Any) -> None:
    header = "[data-table='1'] thead th:nth-child(2)"
    browser.execute_script("document.querySelectorAll('#table-switch input')[1].click()")
    assert column(browser, 0, 1) == ["ours", OTHER]
    click(browser, f"{header} button.sort")
    assert one(browser, header).get_attribute("aria-sort") == "ascending", "lower is better"
    assert column(browser, 0, 1) == ["ours", OTHER]
    one(browser, f"{header} button.sort").send_keys("\ue007")
    assert one(browser, header).get_attribute("aria-sort") == "descending"
    assert column(browser, 0, 1) == [OTHER, "ours"]
    success = "[data-table='1'] thead th:nth-child(4)"  # the other system has no value there
    for direction in ("descending", "ascending"):
        click(browser, f"{success} button.sort")
        assert one(browser, success).get_attribute("aria-sort") == direction
        assert column(browser, 0, 1) == ["ours", OTHER], "what has no value stays at the end"
    assert one(browser, header).get_attribute("aria-sort") is None


def test_tables_can_be_switched(browser: Any) -> None:
    shown = [box.is_displayed() for box in find(browser, "[data-table]")]
    assert shown == [True, False, False]
    first = one(browser, "#table-switch input")
    first.send_keys("\ue014")  # right
    assert [box.is_displayed() for box in find(browser, "[data-table]")] == [False, True, False]


def test_the_best_and_the_misses_are_told_without_colour(browser: Any) -> None:
    text = one(browser, "[data-table='1']").get_attribute("textContent")
    assert "0.50 (best)" in text
    assert "2.50 (misses its threshold: at most 2)" in text


def test_a_worst_frame_opens_its_strip(browser: Any) -> None:
    inspector = f"{CLIP} .inspector"
    click(browser, f"{CLIP} button.card:nth-child(1)")
    one(browser, f"{CLIP} .scrub input").send_keys("\ue011")  # home
    assert "frame 0" in one(browser, f"{inspector} .framehead").text
    click(browser, f"{CLIP} .chart circle[data-frame='{BAD}']")
    assert f"frame {BAD}" in one(browser, f"{inspector} .framehead").text
    named = [image.get_attribute("alt") for image in find(browser, f"{inspector} .strip img")]
    assert [name.split(",")[0].split(" of ")[0].split(":")[0] for name in named] == [
        "source", "reference photos", "result", "difference", "result", "difference"
    ]  # fmt: skip
    assert any("result of ours" in name for name in named)


def test_suspects_and_film_strips_open_their_frames(browser: Any) -> None:
    click(browser, f"{CLIP} .film th:nth-child(2) button")
    head = f"{CLIP} .framehead"
    assert f"frame {BAD}" not in one(browser, head).text
    click(browser, f"{CLIP} .suspects button")
    assert f"frame {BAD}" in one(browser, head).text
    assert one(browser, f"{CLIP} button.card[aria-pressed='true']").text.startswith("Step at the")
    click(browser, f"{CLIP} .film img[data-frame='0']")
    assert "frame 0" in one(browser, head).text


def test_the_chart_tells_values_and_hides_systems(browser: Any) -> None:
    from selenium.webdriver import ActionChains

    mark = one(browser, f"{CLIP} .chart circle[data-frame='{BAD}']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(browser).move_to_element(mark).perform()
    readout = one(browser, f"{CLIP} .readout").text
    assert f"frame {BAD}" in readout
    assert "6.50" in readout
    shade = one(browser, f"{CLIP} .chart .stretch")
    assert 10 < shade.size["width"] < 0.5 * one(browser, f"{CLIP} .chart svg").size["width"]
    assert "Shaded" in one(browser, CLIP).text
    lines = len(find(browser, f"{CLIP} .curve"))
    click(browser, f"{CLIP} .systems button:nth-child(2)")
    assert len(find(browser, f"{CLIP} .curve")) == lines - 1
    assert len(find(browser, f"{CLIP} .strip > figure")) == 4, (
        "before, reference, after, difference"
    )


def test_frames_are_stepped_through_by_keyboard(browser: Any) -> None:
    scrub = one(browser, f"{CLIP} .scrub input")
    scrub.send_keys("\ue010")  # end
    assert f"frame {FRAMES - 1}" in one(browser, f"{CLIP} .framehead").text
    assert f"frame {FRAMES - 1}" in scrub.get_attribute("aria-valuetext")
    later, earlier = "[aria-label='Later picture']", "[aria-label='Earlier picture']"
    assert not one(browser, f"{CLIP} {later}").is_enabled()
    one(browser, f"{CLIP} {earlier}").send_keys("\ue007")
    assert f"frame {FRAMES - 2}" in one(browser, f"{CLIP} .framehead").text
    focused = browser.switch_to.active_element.get_attribute("aria-label")
    assert focused == "Earlier picture", "the next key press goes on from there"


def test_holding_a_result_shows_the_source(browser: Any) -> None:
    from selenium.webdriver import ActionChains

    click(browser, f"{CLIP} .systems button:nth-child(1)")  # ours does nothing
    picture = f"{CLIP} .strip .blink img"
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", one(browser, picture))
    after = one(browser, picture).get_attribute("src")
    before = one(browser, f"{CLIP} .strip img").get_attribute("src")
    ActionChains(browser).move_to_element(one(browser, picture)).click_and_hold().perform()
    assert one(browser, picture).get_attribute("src") == before != after
    ActionChains(browser).release().perform()
    assert one(browser, picture).get_attribute("src") == after


def test_a_metric_is_explained_where_it_stands(browser: Any) -> None:
    one(browser, "[data-table='0'] button.info").click()
    (box,) = find(browser, "[popover]:popover-open")
    assert "How far." in box.text
    at = box.rect
    assert at["x"] >= 0
    assert at["x"] + at["width"] <= 1280


def test_dark_mode_follows_the_system_and_the_button(browser: Any, address: str) -> None:
    assert background(browser) > 200
    show(browser, 1280, dark=True)
    assert background(browser) < 40
    toggle = one(browser, "#theme")
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    assert background(browser) > 200
    browser.get(address)
    assert background(browser) > 200, "it is remembered"
    browser.execute_script("localStorage.clear()")


def test_dark_mode_works_without_storage(browser: Any, address: str) -> None:
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_STORAGE})
    try:
        browser.get(address)
        one(browser, "#theme").click()
        assert background(browser) < 40
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize("width", [360, 800])
def test_the_body_never_scrolls_sideways(browser: Any, address: str, width: int) -> None:
    show(browser, width)
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    for table in (0, 1):
        browser.execute_script(f"document.querySelectorAll('#table-switch input')[{table}].click()")
        size = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert size == [width, width]


@pytest.mark.slow
def test_texts_have_contrast_in_both_modes(browser: Any) -> None:
    """WCAG AA: 4.5 to 1 for every colour of text on everything it may stand on."""
    inks = ["ink", "muted", "accent", "good", "bad", *(f"s{i}" for i in range(8))]
    for dark in (False, True):
        show(browser, 1280, dark=dark)
        pairs = [(ink, ground) for ground in ("paper", "surface") for ink in inks]
        pairs += [("ink", "sunken"), ("muted", "sunken"), ("bad", "bad-tint")]
        ratios = {pair: contrast(*(luminance(browser, name) for name in pair)) for pair in pairs}
        assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


def luminance(driver: Any, name: str) -> float:
    """Return the relative luminance (WCAG 2.2) of one of the page's colours."""
    script = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0])"
    channels = bytes.fromhex(driver.execute_script(script, f"--{name}").strip().lstrip("#"))
    shares = [value / 255 for value in channels]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one_luminance: float, other: float) -> float:
    """Return the contrast ratio (WCAG 2.2) of two luminances."""
    low, high = sorted((one_luminance, other))
    return (high + 0.05) / (low + 0.05)


def test_without_javascript_numbers_film_and_video_are_there(browser: Any, address: str) -> None:
    show(browser, 1280, script=False)
    try:
        browser.get(address)
        assert len(find(browser, ".film img")) > 30
        assert all(box.is_displayed() for box in find(browser, "[data-table]"))
        assert "need JavaScript" in one(browser, "main").text
    finally:
        show(browser, 1280)


def test_it_prints_in_black_on_white(browser: Any) -> None:
    show(browser, 1280, dark=True)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert background(browser) == 255
    assert not one(browser, "#theme").is_displayed()
    assert all(box.is_displayed() for box in find(browser, "[data-table]"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
