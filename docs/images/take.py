"""Make the pictures of this folder with screenshots of the real page: `python -m docs.images.take`.

Each person's camera shows a drawing: `alice.svg`, `bob.svg`, or one of the two in other colours. So the pictures show
no real person, and look the same on every machine. Each picture combines two screenshots on a background: a laptop's
screen, and a phone's screen in front of it.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import av.video.plane
from playwright.async_api import Page, Playwright, async_playwright, expect

from tests.support.chromium import launch_chromium
from tests.support.journeys.focus_people import gather
from tests.support.journeys.pages import begin_afresh
from tests.support.journeys.people import Person, call, move
from tests.support.services import Backends, Server

HERE = Path(__file__).parent
_CAMERA = {"width": 960, "height": 540}
_LAPTOP = {"width": 1280, "height": 800}
_PHONE = {"width": 360, "height": 740}
_ARGUMENTS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-background-networking",
]
# Whether the received video has its full size. A browser reaches full size after a few seconds.
_IS_SHARP = """async () => {
  for (const report of (await window.sbe.pc.getStats()).values())
    if (report.type === "inbound-rtp" && report.kind === "video") return report.frameWidth >= 960;
}"""
_PAIR = """<!doctype html><style>
  body {{ margin: 0; height: 850px; background: linear-gradient(135deg, #dcebe8, #b9d3ce 55%, #93b8b1); }}
  img {{ position: absolute; border-radius: 14px; box-shadow: 0 24px 60px rgb(8 40 36 / 30%); }}
  .laptop {{ left: 50px; top: 50px; width: 1160px; }}
  .phone {{ right: 44px; bottom: 40px; width: 312px; border: 8px solid #0b1110; border-radius: 34px; }}
  .phone {{ background: #0b1110; }}
</style><img class="laptop" src="{laptop}"><img class="phone" src="{phone}">"""
# Whether the page shows `count` other participants, each in a video at least 480 pixels wide.
_SEES = """(count) => {
  const videos = [...document.querySelectorAll('.tile:not([data-sort="self"]) video')];
  return videos.length === count && videos.every(({videoWidth}) => videoWidth >= 480);
}"""
# The drawings of the other people: whose drawing to copy, and which colours to replace.
_OTHERS = {
    "carol": (
        "alice",
        {
            "#e9e2d6": "#c9d6dc", "#b9a996": "#7f95a3", "#fff8e8": "#e8f4ff", "#f4cbac": "#9a6a4a", "#e4ab88": "#7e5238",
            "#c98d6b": "#5f3c29", "#b87b5b": "#4c2f20", "#dba27e": "#764c34", "#7b4a30": "#3b2a2c", "#55301f": "#241a1d",
            "#3d2116": "#151012", "#2f7a72": "#a8455c", "#174a45": "#6d2237", "#3d8f86": "#c25f76", "#55724f": "#3a2417",
            "#b97c5c": "#5a3623", "#b67a5b": "#573524", "#a06a48": "#5b4448", "#123d39": "#4a1626", "#e58f7a": "#a8503e",
        },
    ),
    "dave": (
        "bob",
        {
            "#3f5563": "#d9d3c4", "#22313b": "#a99f8b", "#ffd9a0": "#fff4dc", "#c58a63": "#f6d3bb", "#a86f4b": "#e6b595",
            "#825236": "#c98f6e", "#744730": "#bb8061", "#9b6544": "#dfaa88", "#3a2c28": "#b8642f", "#17110f": "#7a3d18",
            "#f0e9dd": "#4a6a94", "#b9b1a6": "#26405f", "#fbf6ec": "#6c8ab0", "#95603f": "#cf9674", "#b07850": "#e3ae8d",
            "#221814": "#8a4a20", "#1f1613": "#7a4420", "#7c4d32": "#c08a68", "#4a2e1d": "#3f6c86", "#8a6a58": "#dc9a66",
            "#9c948a": "#22354d", "#8b837a": "#dfe6ee",
        },
    ),
}  # fmt: skip


def _drawing(name: str) -> str:
    """Return a person's portrait as SVG."""
    model, colours = _OTHERS.get(name, (name, {}))
    drawing = (HERE / f"{model}.svg").read_text()
    for colour, other in colours.items():
        drawing = drawing.replace(colour, other)
    return drawing


async def _film(playwright: Playwright, drawing: str, video: Path) -> None:
    """Write a drawing as a Y4M video. Chromium plays it in a loop instead of a camera."""
    browser = await launch_chromium(playwright)
    page = await browser.new_page(viewport=_CAMERA)  # type: ignore[arg-type]
    await page.set_content(f"<style>body {{ margin: 0 }} svg {{ width: 100%; height: auto }}</style>{drawing}")
    await page.screenshot(path=video.with_suffix(".png"))
    await browser.close()
    with av.open(str(video.with_suffix(".png"))) as picture:
        frame = next(picture.decode(video=0)).reformat(format="yuv420p")
    head = f"YUV4MPEG2 W{_CAMERA['width']} H{_CAMERA['height']} F20:1 Ip A1:1 C420jpeg\n".encode()
    video.write_bytes(head + 2 * (b"FRAME\n" + b"".join(_rows(plane) for plane in frame.planes)))


def _rows(plane: av.video.plane.VideoPlane) -> bytes:
    """Return the pixels of a plane, without the padding of its rows."""
    pixels = bytes(plane)
    return b"".join(pixels[row : row + plane.width] for row in range(0, len(pixels), plane.line_size))


class Studio:
    """Opens pages, takes screenshots of them, and combines the screenshots."""

    def __init__(self, playwright: Playwright, server: Server, directory: Path) -> None:
        """Keep temporary files under `directory`."""
        self._playwright, self._server, self._directory = playwright, server, directory

    async def visit(self, name: str, device: str, *, direct: bool = True, **options: Any) -> Person:
        """Open the page as this user, in a browser whose camera shows the user's drawing."""
        camera = self._directory / f"{name}.y4m"
        if not camera.exists():
            await _film(self._playwright, _drawing(name), camera)
        arguments = [*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
        browser = await launch_chromium(self._playwright, *arguments)
        context = await browser.new_context(
            base_url=self._server.base_url,
            permissions=["camera", "microphone"],
            device_scale_factor=2,
            **options,
        )
        await context.add_init_script(begin_afresh(direct=direct))
        somebody = Person(await context.new_page(), name)
        await somebody.page.goto(f"/?user={name}&device={device}")
        await somebody.is_live()
        return somebody

    async def take(self, page: Page, name: str) -> str:
        """Take a screenshot after the page's animations have ended, and return the URI of the file."""
        # Nothing is under the mouse.
        await page.mouse.move(0, 0)
        await page.wait_for_timeout(1500)
        path = self._directory / f"{name}.png"
        await page.screenshot(path=path)
        return path.as_uri()

    async def pair(self, name: str, laptop: str, phone: str) -> None:
        """Combine two screenshots into `name.png` of this folder."""
        browser = await launch_chromium(self._playwright)
        page = await browser.new_page(viewport={"width": 1552, "height": 850})
        frame = self._directory / "pair.html"
        frame.write_text(_PAIR.format(laptop=laptop, phone=phone))
        await page.goto(frame.as_uri())
        await page.screenshot(path=HERE / f"{name}.png")
        await browser.close()


async def take(server: Server, directory: Path) -> None:
    """Make a call, and take the pictures of it."""
    async with async_playwright() as playwright:
        studio = Studio(playwright, server, directory)
        bob = await studio.visit("bob", "laptop", viewport=_LAPTOP, color_scheme="light")
        phone = await studio.visit("alice", "phone", viewport=_PHONE, color_scheme="dark")
        alice = await studio.visit("alice", "laptop", viewport=_LAPTOP, color_scheme="light")
        await call(alice, bob)
        for person in (alice, bob):
            await person.until(_IS_SHARP)
        in_call = await studio.take(alice.page, "in-call")
        # So that the timeline has more to show.
        for state in ("on-hold", "open"):
            await alice.press("btn-hold")
            await alice.is_in(state)
        await alice.press("btn-timeline")
        timeline = await studio.take(alice.page, "timeline")
        await alice.page.keyboard.press("Escape")
        await move(alice)
        await expect(phone.part("ring-dialog")).to_be_visible()
        ringing = await studio.take(phone.page, "ringing")
        await phone.press("ring-accept")
        await phone.is_in("open")
        await phone.until(_IS_SHARP)
        on_phone = await studio.take(phone.page, "on-phone")
        await bob.press("btn-hold")
        await bob.is_in("on-hold")
        await phone.is_in("held")
        on_hold, held = await asyncio.gather(studio.take(bob.page, "on-hold"), studio.take(phone.page, "held"))
        await studio.pair("call", in_call, ringing)
        await studio.pair("timeline", timeline, on_phone)
        await studio.pair("hold", on_hold, held)
        for person in (alice, bob, phone):
            await person.page.close()
        await take_conference(studio)


async def take_conference(studio: Studio) -> None:
    """Take the picture of four participants in one conference. One of them is on a phone."""
    alice = await studio.visit("alice", "desk", direct=False, viewport=_LAPTOP, color_scheme="light")
    names = ("bob", "carol", "dave")
    views = ({"viewport": _LAPTOP}, {"viewport": _PHONE, "color_scheme": "dark"}, {"viewport": _LAPTOP})
    guests = [await studio.visit(each, "desk", direct=False, **view) for each, view in zip(names, views, strict=True)]
    await gather(alice, *guests)
    for person in (alice, *guests):
        await person.until(_SEES, 3)
    in_a_grid, on_phone = await asyncio.gather(
        studio.take(alice.page, "conference"), studio.take(guests[1].page, "conference-on-phone")
    )
    await studio.pair("conference", in_a_grid, on_phone)


def main() -> int:
    """Start a server, and take all pictures."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        backends = Backends(path)
        with Server(backends.sqlite(), path / "server") as server:
            asyncio.run(take(server, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
