"""The page at `/`, in a browser, by its keyboard and by its pointer."""

import contextlib
import os
import shutil
import time

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

import tritstream
from tritstream.build import BuildConfig
from tritstream.catalog import Model, resolve
from tritstream.errors import DeviceError
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import CYCLES, GoldenBoard

PROMPT = "It was a dark night, and"
KEY = "correct horse"
WAIT = 60                   # seconds, far more than anything here takes
BROWSERS = "chromium", "chromium-browser", "google-chrome"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A browser without a window."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or shutil.which("chromedriver") is None:
        pytest.fail("The page is tested in Chromium, which is absent: apt install chromium "
                    "chromium-driver, or leave these tests out by -m 'not browser'.")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {
        "download.default_directory": str(tmp_path_factory.mktemp("downloads"))})
    for argument in ("headless=new", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,900",
                     *(["no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.downloads = options.experimental_options["prefs"]["download.default_directory"]
    yield driver
    driver.quit()


class Page:
    """The page of a server, and what a person does with it."""

    def __init__(self, driver, port):
        self.driver = driver
        self.origin = f"http://127.0.0.1:{port}"
        driver.get("about:blank")
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", {
            "origin": self.origin, "storageTypes": "local_storage"})
        driver.get(self.origin)

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def ready(self):
        """Wait until nothing is under way."""
        self.until(lambda: self["go"].is_enabled() and self["go"].is_displayed())
        return self

    def until(self, true):
        ends = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(StaleElementReferenceException):
                if true():
                    return
            assert time.monotonic() < ends, self["error"].text
            time.sleep(0.02)

    def set(self, **settings):
        for name, value in settings.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(str(value))

    def say(self, text):
        self["prompt"].send_keys(text, Keys.ENTER)
        return self.ready()

    def click(self, name):
        self[name].click()
        return self.ready()

    @property
    def text(self):
        return self["text"].get_property("textContent")

    @property
    def tokens(self):
        return int(self["tokens"].text)

    @property
    def listed(self):
        return self.driver.find_elements(By.CSS_SELECTOR, "#list button")

    def complaints(self):
        """What the browser has to say, but for answers that are no 200."""
        return [entry for entry in self.driver.get_log("browser")
                if "the server responded with a status of" not in entry["message"]]


@pytest.fixture
def port(served):
    return served[0]


@pytest.fixture
def page(driver, port):
    page = Page(driver, port).ready()
    page.set(max_tokens=12, seed=3)
    yield page
    assert page.complaints() == []


def alone(prompt=PROMPT, count=12, seed=3):
    """What a text is without a server."""
    with tritstream.load("tiny") as model:
        text = model.generate(prompt, count, 0.7, seed=seed)
        for _ in text:
            pass
        return text


def test_a_text_and_how_fast_it_came(page):
    assert "no chat template" in page["about"].text and "continue stories" in page["about"].text
    page.say(PROMPT)
    expected = alone()
    assert page.text == PROMPT + expected.text
    assert page["digest"].text == f"{expected.digest:08x}"
    assert page.tokens == len(expected.prompt) + len(expected.tokens)
    assert float(page["wall-rate"].text.replace(",", "")) > 0
    assert page["wall-evidence"].text == "measured"
    assert not page["device-clock"].is_displayed()      # golden has no other clock
    assert "no cycles by stage" in page["stages-caption"].text
    assert len(page["gaps"].find_elements(By.TAG_NAME, "rect")) > 3
    assert page["announcer"].get_property("textContent") and page["prompt"].text == ""


def test_a_space_between_words_and_none_elsewhere(page):
    page.say(PROMPT)
    before = page.text
    page.say("then")
    assert page.text.startswith(before + (" then" if not before[-1].isspace() else "then"))
    page.say("")                                        # it goes on by itself
    assert len(page.listed) >= 1 and page.listed[0].get_attribute("aria-current") == "true"


def test_a_device_with_a_clock(driver, serving, tmp_path):
    """Its rate, and the cycles of each kind of stage."""
    source = resolve("tiny")
    build = BuildConfig(max_hidden=64, max_intermediate=256, max_state=512, max_vocab=512,
                        memory_bytes=1 << 18)
    board = Server(Emulator(build, GoldenBoard(source.image, build)))
    with (contextlib.closing(board), tritstream.load(source, board.uri) as model,
          serving(tmp_path, model) as (port, _)):
        page = Page(driver, port).ready()
        page.set(max_tokens=12)
        page.say(PROMPT)
        assert page["device-evidence"].text == "simulated"
        assert page["cycles"].text == f"{CYCLES * source.image.stages:,}"
        assert page["stalls"].text == "10.0 %"
        rate = model.engine.clock_hz / (CYCLES * source.image.stages)
        assert float(page["device-rate"].text.replace(",", "")) == pytest.approx(rate, rel=0.01)
        page.until(lambda: page["stages-table"].is_displayed())
        rows = page["stages-table"].find_elements(By.CSS_SELECTOR, "tbody tr")
        assert [row.text.split("\n")[0] for row in rows][0].startswith("embedding row 1,000 ")
        assert len(rows) == 6
        assert len(page["tape"].find_elements(By.CSS_SELECTOR, ".waits")) == source.image.stages
        assert "(simulated)" in page["stages-caption"].text
        assert page.complaints() == []


def test_rewind_and_fork_by_keys(page):
    page.say(PROMPT)
    whole, tokens, count = page.text, page.tokens, len(page.listed)
    page["at"].send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page["where"].text.startswith(f"{tokens - 2} of {tokens} tokens")
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "#text .behind")) == 2
    page["fork"].send_keys(Keys.ENTER)
    page.until(lambda: page.tokens == tokens - 2)
    page.ready()
    short = page.text
    assert whole.startswith(short) and len(page.listed) == count + 1
    page["at"].send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page["rewind"].send_keys(Keys.SPACE)
    page.until(lambda: page.tokens == 3)
    page.ready()
    assert short.startswith(page.text) and len(page.listed) == count + 1
    page.driver.find_elements(By.CSS_SELECTOR, "#list button")[1].click()
    page.until(lambda: page.text == whole)


def test_a_place_is_a_click(page):
    page.say(PROMPT)
    token = page.driver.find_elements(By.CSS_SELECTOR, "#text .made")[2]
    token.click()
    assert f"“{token.text.strip()}”" in page["where"].text
    assert page["at"].get_attribute("aria-valuetext") == page["where"].text


def test_again_and_undo(page):
    page.say(PROMPT)
    first = page.text
    page.say("")
    page.click("again")
    second = page.text
    assert second.startswith(first) and page.driver.find_element(
        By.NAME, "seed").get_property("value") == "4"
    page.click("undo")
    assert page.text == first
    page.driver.refresh()                               # the address says which one it is
    page.ready()
    page.until(lambda: page.text == first)
    page.click("undo")
    assert page.text == "" and page.tokens == 0


def test_save_load_and_delete(page):
    page.say(PROMPT)
    text = page.text
    page["save"].click()
    directory = page.driver.downloads
    page.until(lambda: [name for name in os.listdir(directory) if name.endswith(".state")])
    (name,) = os.listdir(directory)
    page.ready()
    page["delete"].click()
    page.driver.switch_to.alert.accept()
    page.until(lambda: page.text == "")
    page.ready()
    page["file"].send_keys(os.path.join(directory, name))
    page.until(lambda: page.text == text)
    page.ready()


def test_escape_stops(page):
    page.set(max_tokens=100_000, logit_bias="0:-100, 1:-100")
    page["prompt"].send_keys(PROMPT, Keys.ENTER)
    page.until(lambda: len(page.text) > len(PROMPT) + 20)
    assert page["text"].get_attribute("aria-busy") == "true"
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.ready()
    text = page.text
    page.driver.refresh()
    page.ready()
    assert page.text == text                            # what was shown is what is kept


def test_errors_are_sentences(page, model, monkeypatch):
    page.say("")
    assert page["error"].text == "Begin a text: there is nothing to go on from."
    page.set(temperature="")
    page.say(PROMPT)
    assert page["error"].text == "Temperature needs a number."
    page.set(temperature=-1)
    page.say("")
    assert page["error"].text.startswith("The temperature must be at least 0")
    page.set(temperature=0.7)

    def failing(works):
        raise DeviceError("The device at golden is gone: plug it in again.")

    monkeypatch.setattr(model.engine, "step", failing)
    page.say("")
    assert page["error"].text == "The device at golden is gone: plug it in again."
    assert page["prompt"].get_property("value") == PROMPT       # not lost
    monkeypatch.undo()
    page.say("")
    assert not page["error"].is_displayed() and page.text.startswith(PROMPT)


def test_what_looks_like_markup_is_text(page):
    markup = "<img src=x onerror=\"document.title='no'\"><b>bold</b>"
    page.say(markup)
    assert page.text.startswith(markup) and page.driver.title == "tritstream"
    assert not page.driver.find_elements(By.CSS_SELECTOR, "#text img, #text b, #list img, #list b")


def test_a_key(driver, model, serving, tmp_path):
    with serving(tmp_path, model, key=KEY) as (port, _):
        page = Page(driver, port)
        page.until(lambda: page["key"].is_displayed())
        page["key"].send_keys("wrong key", Keys.ENTER)
        page.until(lambda: "missing or wrong" in page["key-error"].text)
        page["key"].send_keys(KEY, Keys.ENTER)
        page.ready().set(max_tokens=2)
        page.say(PROMPT)
        assert page.text.startswith(PROMPT)
        driver.refresh()                                # it is kept in this tab
        page.ready()
        assert not page["key-dialog"].is_displayed() and page.text.startswith(PROMPT)
        assert page.complaints() == []


def test_a_chat(driver, chat_image, serving, tmp_path):
    with (tritstream.load(Model("chatty", chat_image)) as model,
          serving(tmp_path, model) as (port, _)):
        page = Page(driver, port).ready()
        assert page["go"].text == "Send" and not page["openings"].is_displayed()
        page.set(max_tokens=5, system="Be short.")
        page.say("Hello")
        assert page.text.startswith("[system] Be short.\n[user] Hello\n[assistant] ")
        page.say("And then?")
        assert "[user] And then?\n[assistant] " in page.text
        page.say("")
        assert page["error"].text == "Say something first."
    model.source.chat_template.close()


def test_several_models(driver, model, chat_image, serving, tmp_path):
    """A conversation is one with its model, and says so; the device follows."""
    with (tritstream.load(Model("chatty", chat_image)) as chatty,
          serving(tmp_path, model, chatty) as (port, _)):
        page = Page(driver, port).ready()
        page.set(max_tokens=5)
        page.say(PROMPT)
        first = page.text
        Select(page["model"]).select_by_value("chatty")
        page.until(lambda: page["go"].text == "Send")
        page.ready().say("Hello")
        assert page.text.startswith("[user] Hello\n[assistant] ")
        assert "answers by its chat template" in page["about"].text
        assert [entry.text.split("\n")[1].split(", ")[1] for entry in page.listed] == [
            "chatty", "tiny"]
        page.listed[1].click()
        page.until(lambda: page.text == first)
        assert page.ready()["model"].get_property("value") == "tiny"
        page.say("")
        assert page.text.startswith(first) and len(page.text) > len(first)
        assert page.complaints() == []
    chatty.source.chat_template.close()


def test_a_phone_and_the_dark(page):
    page.say(PROMPT)
    driver = page.driver
    light = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        dark = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert min(channels(light)) > 200 and max(channels(dark)) < 60
        assert not page["settings"].is_displayed() and not page["list"].is_displayed()
        for button in driver.find_elements(By.CSS_SELECTOR, ".panels button"):
            button.click()
            panel = page[button.get_attribute("aria-controls")]
            assert panel.is_displayed() and button.get_attribute("aria-expanded") == "true"
            assert driver.execute_script(
                "return document.documentElement.scrollWidth <= innerWidth && "
                "[...document.querySelectorAll('button, input, textarea')].every("
                "(each) => each.getBoundingClientRect().right <= innerWidth + 1)")
        button.click()
        assert not panel.is_displayed() and page["prompt"].is_displayed()
        for _ in range(3):
            page.click("go")
        # A keyboard comes, and the end of the text stays in view.
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": 360, "height": 380, "deviceScaleFactor": 2, "mobile": True})
        rest = ("const text = document.getElementById('text');"
                "return [text.scrollHeight - text.clientHeight, text.scrollTop]")
        page.until(lambda: driver.execute_script(rest)[0] > 40)
        page.until(lambda: abs(float.__sub__(*map(float, driver.execute_script(rest)))) < 2)
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def channels(colour):
    """Red, green and blue of `rgb(…)`."""
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]


def test_everything_has_a_name_and_is_reached_by_keys(page):
    """As a screen reader sees it."""
    page.say(PROMPT)
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "textbox", "spinbutton", "slider", "combobox", "region", "navigation",
             "image", "list", "table", "group")
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes
             if not node["ignored"] and node["role"]["value"] in roles]
    assert {"button", "textbox", "spinbutton", "slider"} <= {role for role, _ in named}
    assert [role for role, name in named if not name and role not in ("list", "group")] == []
    page["prompt"].click()
    reached = set()
    for _ in range(60):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = page.driver.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("name"))
    assert {"go", "again", "undo", "save", "delete", "at", "fork", "new", "load", "model", "text",
            "prompt", "temperature", "stop", "logit_bias"} <= reached


def test_nothing_comes_from_elsewhere(page):
    page.say(PROMPT)
    found = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(found) > 6 and all(name.startswith(page.origin + "/") for name in found)
