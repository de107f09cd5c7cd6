"""How the pages of the journeys start: the browser, its devices, and what is stored in a new tab."""

import json

from playwright.async_api import Browser, Page, Playwright, ViewportSize

from tests.support.chromium import launch_chromium

_ARGUMENTS = [
    "--auto-select-desktop-capture-source=Entire screen",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    # Switch off the animations of the browser's own window.
    "--animation-duration-scale=0",
]
# Fake cameras and microphones, which the page can use without a prompt. Two of the three
# cameras give a picture. The one between them acts as a depth camera.
FAKE_DEVICES = "--use-fake-device-for-media-stream=device-count=3,fps=10"
NO_QUESTIONS = "--use-fake-ui-for-media-stream"
# Deadlines of the service that suit a slow machine.
LONG_DEADLINES = {"SBE_RING_SECONDS": "120", "SBE_MODIFICATION_SECONDS": "120", "SBE_MOVE_WINDOW_SECONDS": "60"}

# Pages are only as large as the desktop layout needs, because the processor draws them. Cameras give small pictures,
# and echo cancellation is off. More would cost time without testing more.
VIEWPORT: ViewportSize = {"width": 880, "height": 520}
_SMALL_DEVICES = """(() => {
  const {mediaDevices} = navigator;
  const open = mediaDevices?.getUserMedia.bind(mediaDevices);
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const small = {width: 320, height: 240, frameRate: 10};
  if (open) mediaDevices.getUserMedia = ({audio, video}) =>
    open({audio: audio && {...audio, ...plain}, video: video && {...video, ...small}});
})()"""


async def start_chromium(playwright: Playwright, *arguments: str, asks: bool = False) -> Browser:
    """Start a Chromium with the devices that the arguments name. Without `asks` it grants every permission."""
    return await launch_chromium(playwright, *_ARGUMENTS, *arguments, asks=asks)


async def prepare(page: Page, *, direct: bool) -> None:
    """Clear the storage of a new tab, and make its cameras send small pictures."""
    await page.add_init_script(begin_afresh(direct=direct))
    await page.add_init_script(_SMALL_DEVICES)


def begin_afresh(*, direct: bool) -> str:
    """Return a script that clears the storage of a new tab. With `direct` it then stores that calls are direct.

    It does this only once, so that later data survives a reload. (about:blank has no storage.)
    """
    stored = json.dumps({"direct": True} if direct else {})
    return f"""if (location.protocol !== "about:" && !sessionStorage.getItem("journey")) {{
      sessionStorage.setItem("journey", "begun");
      localStorage.setItem("sbe.preferences", '{stored}');
    }}"""
