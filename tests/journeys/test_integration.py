"""An application with its own login, as docs/integrate.md describes it."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.journeys.people import BRIGHT
from tests.support.services import ROOT, Backends, Server, free_port, wait_until

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# The first attempt gets a page of HTML, as from a login form.
_FAIL_ONCE = """() => {
  const element = document.querySelector("sbe-call");
  const {register} = element;
  let attempts = 0;
  element.register = async (registration) => (attempts++ ? register(registration) : (await fetch("/")).json());
}"""

_SEES = f"""() => {{
  const video = document.querySelector("sbe-call").shadowRoot.querySelector(".grid video");
  return Boolean(video?.videoWidth) && ({BRIGHT})(video);
}}"""


@pytest.fixture(scope="module")
def application(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example application, with the client as `make client` builds it; return its address."""
    folder, port = tmp_path_factory.mktemp("application"), free_port()
    address = f"http://127.0.0.1:{port}"
    subprocess.run(["node", ROOT / "clients/npm/build.js", f"--out={folder}"], check=True, capture_output=True)
    with Server(backends.sqlite(), folder, {"SBE_ALLOWED_ORIGINS": address, "SBE_DEV_SERVER": "0"}) as enabler:
        variables = {
            "SBE_ENABLER": enabler.base_url,
            "SBE_API_KEY": enabler.api_key,
            "PORT": str(port),
            "CLIENT": str(folder / "sbe-client/dist"),
            "PATH": os.environ["PATH"],
        }
        program = [sys.executable, "docs/examples/application/app.py"]
        with subprocess.Popen(program, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: _answers(address), "the application answers")
                yield address
            finally:
                process.terminate()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False


@pytest_asyncio.fixture(loop_scope="session")
async def windows(chromium: Browser) -> AsyncIterator[list[BrowserContext]]:
    """Two browser windows with separate cookies."""
    opened = [await chromium.new_context(permissions=["camera", "microphone"]) for _ in range(2)]
    yield opened
    for each in opened:
        await each.close()


async def _log_in(window: BrowserContext, address: str, name: str, password: str) -> Page:
    page = await window.new_page()
    await page.goto(address)
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()
    return page


async def test_two_users_who_are_logged_in_call_each_other(application: str, windows: list[BrowserContext]) -> None:
    assert httpx.post(f"{application}/calls/session").status_code == httpx.codes.UNAUTHORIZED
    wrong = await _log_in(windows[0], application, "alice", "guess")
    await expect(wrong.get_by_role("heading", name="Log in")).to_be_visible()
    alice = await _log_in(windows[0], application, "alice", "wonderland")
    bob = await _log_in(windows[1], application, "bob", "builder")
    await expect(bob.get_by_role("button", name="Call")).to_be_enabled()

    # A failed registration shows no error of JavaScript, and can be repeated.
    await bob.evaluate(_FAIL_ONCE)
    await expect(bob.get_by_role("alert")).to_have_text("Calls are not available at the moment.")
    await expect(bob.get_by_text("Connecting…")).to_have_count(0)
    await bob.get_by_role("button", name="Try again").click()
    await expect(bob.get_by_role("button", name="Call alice")).to_be_visible()
    await expect(bob.get_by_role("button", name="Try again")).to_be_hidden()

    # Users cannot call themselves.
    await bob.evaluate("document.querySelector('sbe-call').to = 'bob'")
    await expect(bob.get_by_role("button", name="Call")).to_be_hidden()

    await alice.get_by_role("button", name="Call").click()
    await bob.get_by_role("button", name="Accept").click()
    for page in (alice, bob):
        await page.wait_for_function(_SEES)
    await alice.get_by_role("button", name="Hang up").click()
    await expect(bob.get_by_role("button", name="Accept")).to_be_hidden()
