"""Pictures of the server's page, as Chromium shows it; writes those of docs/serving.md.

``python -m tritstream_sim.report.page [--write docs/images]``. The page goes on with a text on a
device, in daylight, in the dark, and on a phone. It needs `chromium` and `chromedriver`.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import time

from tritstream.catalog import DEFAULT_MODEL
from tritstream.errors import DeviceError, MissingTool, TritstreamError
from tritstream_sim.report.serve import Server

__all__ = ["main"]

PROMPT = "It was a dark night, and"
TOKENS = 40
TEXT_SECONDS = 300.0        # in which the text has to come
# Width, height, and what the person prefers.
SIZES = {"page-light": (1280, 820, "light"), "page-dark": (1280, 820, "dark"),
         "page-phone": (390, 780, "light")}


@contextlib.contextmanager
def _browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise MissingTool("The pictures need chromium and chromedriver: install them, e.g. by apt "
                          "install chromium chromium-driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("headless=new", "disable-gpu", "hide-scrollbars",
                     *(["no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(f"--{argument}")
    opened = webdriver.Chrome(options, Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def pictures(model: str, device: str) -> dict[str, bytes]:
    """Return the pictures by their names, as PNG."""
    with (Server(["tritstream", "serve", "-m", model, "--device", device, "--port", "0"]) as server,
          _browser() as browser):
        browser.get(f"http://127.0.0.1:{server.port}/")
        _wait(browser, "!document.getElementById('go').disabled")
        browser.execute_script(
            "document.getElementsByName('max_tokens')[0].value = arguments[0];"
            "document.getElementById('prompt').value = arguments[1];"
            "document.getElementById('composer').requestSubmit();", TOKENS, PROMPT)
        _wait(browser, "!document.getElementById('stop').hidden")
        _wait(browser, "document.getElementById('stop').hidden")
        _wait(browser, "!document.getElementById('go').disabled")
        found = {}
        for name, (width, height, prefers) in SIZES.items():
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
                "features": [{"name": "prefers-color-scheme", "value": prefers}]})
            found[name] = browser.get_screenshot_as_png()
        return found


def _wait(browser, true: str) -> None:
    ends = time.monotonic() + TEXT_SECONDS
    while not browser.execute_script(f"return {true}"):
        if time.monotonic() > ends:
            raise DeviceError(f"The page has not come so far within {TEXT_SECONDS:g} s: {true}.")
        time.sleep(0.05)


def main(argv=None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.page",
                                     description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="sim")
    parser.add_argument("--write", type=pathlib.Path, default=pathlib.Path(),
                        help="directory of the pictures")
    options = parser.parse_args(argv)
    try:
        for name, picture in pictures(options.model, options.device).items():
            (options.write / f"{name}.png").write_bytes(picture)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    main()
