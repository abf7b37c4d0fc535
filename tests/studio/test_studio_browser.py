"""The studio in a real browser: from an empty page to a rendered clip, by clicks and keys alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_setup import WAITS_S, studio_in, until

from fapvideo.studio.server import Serving, Studio

pytestmark = pytest.mark.browser

ENTER, RIGHT, HOME = "\ue007", "\ue014", "\ue011"
HURT = "<b onclick=alert(1)>two.mp4"


@pytest.fixture(scope="module")
def home(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of its own, so that nothing is opened yet."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(folder, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("studio"))
    return home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[tuple[Studio, str]]:
    studio = studio_in(home)
    serving = Serving(studio)
    yield studio, serving.start()
    serving.close()


@pytest.fixture
def browser(driver: Any, served: tuple[Studio, str]) -> Iterator[Any]:
    """Open the studio, 1440 pixels wide, light; in the end nothing was asked of anybody else."""
    address = served[1]
    driver.get_log("browser")
    show(driver, 1440)
    driver.get(address)
    yield driver
    assert [e["message"] for e in driver.get_log("browser") if "favicon" not in e["message"]] == []
    assert asked_elsewhere(driver, address) == []


def asked_elsewhere(driver: Any, address: str) -> list[str]:
    """Return what was requested that is not of the studio."""
    import json

    own = address.split("/?")[0]
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    local = (own, "data:", "blob:", "chrome", "about:")  # the last two: Chromium's own pages
    return [url for url in urls if not url.startswith(local)]


def show(driver: Any, width: int, *, dark: bool = False) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    wishes = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})


def one(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def many(driver: Any, selector: str) -> list[Any]:
    return driver.find_elements("css selector", selector)


def text(driver: Any, selector: str) -> str:
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    return str(driver.execute_script(script, selector))


def click(driver: Any, selector: str) -> None:
    from selenium.common.exceptions import WebDriverException

    def clicked() -> bool:  # what tells of progress may be made anew just then
        try:
            element = one(driver, selector)
            driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()
        except WebDriverException:
            return False
        return True

    until(clicked, 20)


def press(driver: Any, selector: str, keys: str) -> None:
    """Give an element the focus, as Tab would, and press keys."""
    driver.execute_script("document.querySelector(arguments[0]).focus()", selector)
    sent(driver, keys)


def sent(driver: Any, pressed: str) -> None:
    """Press a key where the focus is, whatever is made anew there meanwhile."""
    from selenium.webdriver import ActionChains

    ActionChains(driver, duration=0).send_keys(pressed).perform()


def keys(driver: Any, pressed: str) -> None:
    driver.execute_script("document.activeElement.blur()")
    one(driver, "body").send_keys(pressed)


def picture(driver: Any) -> str:
    """Return the address of the painted picture that is shown; empty where none is."""
    return str(
        driver.execute_script(
            "const p = document.getElementById('picture');"
            "return !p || p.hidden || document.getElementById('spinner').hidden === false"
            "  || !p.naturalWidth ? '' : p.src"
        )
    )


def painted(driver: Any, unlike: str = "") -> str:
    """Wait for another picture than `unlike`; return its address."""
    until(lambda: picture(driver) not in ("", unlike))
    return picture(driver)


def followed(driver: Any) -> None:
    until(lambda: len(many(driver, "#people .card")) == 3 and text(driver, "#stage-said") == "")


def open_clip(driver: Any, served: tuple[Studio, str]) -> None:
    """Open the clip of two people, and wait until all is known of it."""
    (name,) = (project.id for project in served[0].library.projects())
    driver.get(f"{served[1].split('/?')[0]}/clip/{name}")
    followed(driver)


def wait(condition: Callable[[], Any]) -> Any:
    return until(condition, WAITS_S)


# ------------------------------------------------------------------------------ in this order


def test_a_wrong_token_shows_nothing(driver: Any, served: tuple[Studio, str]) -> None:
    driver.delete_all_cookies()
    driver.get(served[1][:-3] + "xxx")
    assert "token" in text(driver, "body")
    assert many(driver, "a, form, script") == []
    driver.get_log("browser"), driver.get_log("performance")


def test_what_is_no_video_or_too_large_is_refused(
    browser: Any, served: tuple[Studio, str], tmp_path: Path
) -> None:
    wrong = tmp_path / "<i>notes</i>.mp4".replace("/", "_")
    wrong.write_bytes(b"no video at all" * 100)
    one(browser, "#file").send_keys(str(wrong))
    wait(lambda: one(browser, "#problem").is_displayed())
    assert "<i>notes<_i>.mp4" in text(browser, "#problem")
    assert many(browser, "#problem i") == []
    served[0].most_bytes, most = 1000, served[0].most_bytes
    browser.refresh()
    one(browser, "#file").send_keys(str(wrong))
    wait(lambda: "larger than what can be uploaded" in text(browser, "#problem"))
    served[0].most_bytes = most
    refused = [e for e in browser.get_log("browser") if "422" in e["message"]]
    assert len(refused) == 1, "the browser's own line about a refused upload"


@pytest.mark.slow
def test_from_an_empty_page_to_a_rendered_clip_by_clicks(
    browser: Any, home: Path, served: tuple[Studio, str], tmp_path: Path
) -> None:
    assert text(browser, "#opened") == "", "nothing is opened yet"
    clip = tmp_path / HURT
    shutil.copyfile(home / "two_faces-frames-14.mp4", clip)
    one(browser, "#file").send_keys(str(clip))
    wait(lambda: "/clip/" in browser.current_url)
    assert text(browser, "h1") == HURT
    first = painted(browser)
    followed(browser)
    # A photo for the first one's eyes is chosen from the list, one is dragged onto the second's.
    people = [c.get_attribute("aria-label") for c in many(browser, "#people .card")]
    assert people == ["Person 1", "Person 2", "Everyone else"]
    eyes = "#people .card:nth-child(1) .slot:nth-child(1) select"
    (choice,) = (o for o in many(browser, f"{eyes} option") if o.text.startswith("astronaut.png"))
    browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))",
        one(browser, eyes), choice.get_attribute("value"),
    )  # fmt: skip
    second = painted(browser, first)
    nose = "#people .card:nth-child(2) .slot:nth-child(3)"
    assert not many(browser, f"{nose}.filled")
    drag(browser, "#shelf .photo[aria-label^='brand.png']", nose)
    wait(lambda: many(browser, f"{nose}.filled"))
    painted(browser, second)
    preset = served[0].library.projects()[0].preset()
    assert [sorted(person.references) for person in preset.people] == [["eyes"], ["mouth", "nose"]]
    click(browser, "#render")
    done = wait(lambda: many(browser, ".job.status-done") or many(browser, ".status-failed"))
    assert "status-done" in done[0].get_attribute("class"), done[0].text
    names = [a.get_attribute("download") for a in many(browser, ".job a[download]")]
    assert any(name.endswith(".swapped.mp4") for name in names)
    assert any(name.endswith(".tracks.jsonl") for name in names)
    steps = served[0].renders.all()[0].state()["steps"]
    assert {"swap", "measure"} <= set(steps)
    assert "analyse" not in steps, "nobody was followed again"
    click(browser, ".job a[id^=report]")
    wait(lambda: len(browser.window_handles) == 2)
    browser.switch_to.window(browser.window_handles[1])
    wait(lambda: many(browser, "section.clip"))
    browser.close()
    browser.switch_to.window(browser.window_handles[0])


def drag(driver: Any, source: str, target: str) -> None:
    """Drag as a browser does it; ChromeDriver's own pointer starts no HTML drag."""
    driver.execute_script(
        """
        const [from, to] = [...arguments].map((one) => document.querySelector(one));
        const data = new DataTransfer();
        const send = (box, kind) => box.dispatchEvent(
          new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
        send(from, "dragstart"); send(to, "dragover"); send(to, "drop"); send(from, "dragend");
        """,
        source,
        target,
    )


@pytest.mark.slow
def test_casting_and_looking_by_keys(browser: Any, served: tuple[Studio, str]) -> None:
    open_clip(browser, served)
    before = painted(browser)
    press(browser, "#shelf .photo[aria-label^='astronaut.png']", ENTER)
    assert "Carrying astronaut.png" in text(browser, "#carry-said")
    nose = "#people .card:nth-child(1) .slot:nth-child(3)"
    assert many(browser, f"{nose} button[aria-label^='Put astronaut.png']")
    press(browser, f"{nose} button", ENTER)
    wait(lambda: many(browser, f"{nose}.filled"))
    assert "astronaut.png is on the nose of Person 1" in text(browser, "#carry-said")
    focused = browser.switch_to.active_element.get_attribute("id")
    assert focused.startswith("slot-"), "the next key press goes on from there"
    now = painted(browser, before)
    keys(browser, RIGHT)
    assert text(browser, "#clock") == "0:00.04"
    now = painted(browser, now)
    after = one(browser, "#picture").get_attribute("alt")
    assert after == "The frame at 0:00.04, after"
    held = "document.dispatchEvent(new KeyboardEvent('key' + arguments[0], {key: 'b'}))"
    browser.execute_script(held.replace("document.", "document.body.", 1)
                           .replace("{key: 'b'}", "{key: 'b', bubbles: true}"), "down")  # fmt: skip
    assert one(browser, "#picture").get_attribute("alt") == "The frame at 0:00.04, before"
    browser.execute_script(held, "up")
    assert picture(browser) == now
    press(browser, "#views input[value=split]", " ")
    assert one(browser, "#split").is_displayed()
    for view in ("difference", "masks"):
        click(browser, f"#views input[value={view}]")
        assert picture(browser) != now
    keys(browser, "k")
    wait(lambda: browser.execute_script("return !document.getElementById('player').paused"))
    keys(browser, "k")
    painted(browser)


@pytest.mark.slow
def test_a_change_while_a_still_is_painted(browser: Any, served: tuple[Studio, str]) -> None:
    """The last one counts, whatever comes in between."""
    open_clip(browser, served)
    slider = "[id='slider-guide.expression.mouth']"
    browser.execute_script(f'document.querySelector("{slider}").focus()')
    was = painted(browser)
    for _ in range(8):
        browser.switch_to.active_element.send_keys(RIGHT)
    wanted = one(browser, slider).get_attribute("value")
    project = served[0].library.projects()[0]
    wait(lambda: f"{project.preset().guide.expression.mouth:g}" == f"{float(wanted):g}")
    assert painted(browser, was)
    assert one(browser, slider).get_attribute("value") == wanted
    browser.get_log("browser")  # requests that were given up are no errors of the page


@pytest.mark.slow
def test_parts_consent_and_stretches(
    browser: Any, served: tuple[Studio, str], tmp_path: Path
) -> None:
    """What unfolds: settings of a part, a document and scope. A stretch leads where it is."""
    open_clip(browser, served)
    studio = served[0]
    project = studio.library.projects()[0]
    was = painted(browser)
    assert not one(browser, "[id^=strength-][id$=-eyes]").is_displayed()
    press(browser, "#people .card:nth-child(1) summary", ENTER)
    wait(lambda: one(browser, "[id^=strength-][id$=-eyes]").is_displayed())
    browser.execute_script("document.querySelector('[id^=strength-][id$=-eyes]').focus()")
    for pressed in (HOME, *(RIGHT,) * 5):  # faster than answers come: every one counts
        sent(browser, pressed)
    press(browser, "[id^=expression-][id$=-eyes]", RIGHT)

    def own() -> Any:
        return project.preset().people[0].parts.get("eyes")

    wait(lambda: own() and own().expression == 1.01 and own().strength == 0.05)
    assert painted(browser, was)
    assert one(browser, "[id^=expression-][id$=-eyes]").is_displayed(), "it stays unfolded"
    focused = browser.switch_to.active_element
    assert focused.get_attribute("aria-label") == "Expression, eyes of Person 1"
    document = tmp_path / "release.pdf"
    document.write_bytes(b"signed")
    for name, text_ in (("who", "Anna"), ("by", "us"), ("purpose", "a spot")):
        browser.execute_script(
            "document.querySelector(`#consent [name=${arguments[0]}]`).value = arguments[1]",
            name, text_,
        )  # fmt: skip
    browser.execute_script("document.querySelector('#consent [name=until]').value = '2099-01-31'")
    one(browser, "#document-file").send_keys(str(document))
    assert text(browser, "#document-name") == "release.pdf"
    browser.execute_script("document.querySelector('#consent details').open = true")
    press(browser, "#consent-parts input[value=nose]", " ")
    click(browser, "#keep-consent")
    wait(lambda: text(browser, "#consent-said") == "Recorded.")
    consent = project.preset().consent
    assert (consent.who, consent.scope.parts) == (("Anna",), ("nose",))
    browser.execute_script("document.querySelector('#consent [name=until]').value = ''")
    click(browser, "#keep-consent")  # far below the top of the page: what is wrong is seen there
    wait(lambda: one(browser, "#problem").is_displayed())
    assert "give the last day" in text(browser, "#problem")
    place = "const box = document.getElementById('problem').getBoundingClientRect();"
    assert browser.execute_script(f"{place} return box.top >= 0 && box.bottom <= innerHeight")
    browser.execute_script("document.querySelector('#consent [name=until]').value = '2099-01-31'")
    refused = [e for e in browser.get_log("browser") if "422" in e["message"]]
    assert len(refused) == 1, "the browser's own line about what was refused"
    assert consent.document == project.folder / "consent" / "release.pdf"
    assert "the consent of Anna covers nose, not eyes" in text(browser, "#questions")
    press(browser, "#consent-parts input[value=nose]", " ")
    click(browser, "#keep-consent")
    wait(lambda: "the consent of" not in text(browser, "#questions"))
    assert project.preset().consent.document == consent.document
    hard = {"start_s": 0.2, "end_s": 0.4, "words": "turned away", "person": None,
            "why": "a reason", "codes": ["turned"]}  # fmt: skip
    project.write("scan.json", {**project.read("scan.json"), "spans": [hard]})
    studio.board.changed(project.id)
    click(browser, "#timeline .span.hard")
    assert text(browser, "#clock") == "0:00.30"
    player = "return document.getElementById('player').currentTime"
    wait(lambda: abs(browser.execute_script(player) - 0.3) < 0.02)
    painted(browser)
    assert one(browser, "#picture").get_attribute("alt") == "The frame at 0:00.28, after"


@pytest.mark.slow
def test_a_strip_plays(browser: Any, served: tuple[Studio, str]) -> None:
    open_clip(browser, served)
    painted(browser)
    click(browser, "#strip")
    wait(lambda: "Strip, frame" in text(browser, "#look-said"))
    keys(browser, "\ue00c")
    wait(lambda: "Painted" in text(browser, "#look-said"))


@pytest.mark.slow
def test_a_closed_tab_stops_nothing(browser: Any, served: tuple[Studio, str]) -> None:
    open_clip(browser, served)
    count = len(many(browser, ".job.status-done"))
    click(browser, "#render")
    wait(lambda: many(browser, ".job.status-running"))
    browser.get("about:blank")
    studio = served[0]
    render = studio.renders.all()[0]
    wait(lambda: render.state()["status"] == "done")
    open_clip(browser, served)
    assert len(many(browser, ".job.status-done")) == count + 1


@pytest.mark.slow
def test_cancel_and_go_on(browser: Any, served: tuple[Studio, str]) -> None:
    open_clip(browser, served)
    count = len(many(browser, ".job.status-done"))
    click(browser, "#render")
    wait(lambda: many(browser, "[id^=cancel]"))
    click(browser, "[id^=cancel]")
    wait(lambda: many(browser, "[id^=resume]"))
    click(browser, "[id^=resume]")
    wait(lambda: len(many(browser, ".job.status-done")) == count + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, True)])
def test_nothing_is_wider_than_the_page(
    browser: Any, served: tuple[Studio, str], width: int, dark: bool
) -> None:
    show(browser, width, dark=dark)
    open_clip(browser, served)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    size = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide = (
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.track, .screen')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert browser.execute_script(wide) == []
    assert browser.execute_script(size) == [width, width]
    ground = one(browser, "body").value_of_css_property("background-color")
    assert (int(ground.split("(")[1].split(",")[0]) < 60) == dark


@pytest.mark.slow
def test_axe_finds_no_serious_fault(browser: Any, served: tuple[Studio, str]) -> None:
    axe = (Path(__file__).parents[1] / "data" / "axe" / "axe.min.js").read_text("utf-8")
    run = (
        "const done = arguments[0];"
        "axe.run().then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.length,"
        " v.nodes[0].html.slice(0, 150), v.nodes[0].failureSummary])),"
        " e => done([['error', '' + e]]))"
    )
    for dark in (False, True):
        show(browser, 1440, dark=dark)
        browser.get(served[1])
        found = []
        for page in (lambda: None, lambda: open_clip(browser, served)):
            page()
            # As a debugger does, whom the policy of the page does not bind.
            browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
            found += browser.execute_async_script(run)
        assert [one for one in found if one[0] in ("serious", "critical", "error")] == []
