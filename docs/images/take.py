"""Take the pictures of this folder from the real page: `python -m docs.images.take`.

Each person's camera is a drawing, so that the pictures show no one and look the same on every machine.
"""

import asyncio
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Playwright, async_playwright, expect

from tests.journeys.conftest import CHROMIUM
from tests.services import Backends, Server

HERE = Path(__file__).parent
_WIDTH, _HEIGHT = 640, 480
_DESKTOP = {"width": 1280, "height": 800}
_PHONE = {"width": 360, "height": 740}
_ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-background-networking",
]
# Y, U, V of the wall (above and below), the skin, the hair and the clothes.
_ALICE = ((150, 120, 132), (95, 118, 134), (170, 108, 152), (60, 118, 140), (110, 150, 110))
_BOB = ((135, 136, 120), (80, 138, 118), (140, 110, 150), (35, 126, 132), (90, 110, 145))

Colour = tuple[int, int, int]


def _camera(path: Path, person: tuple[Colour, ...]) -> None:
    """Write a Y4M video of a head and shoulders that sway a little."""
    above, below, skin, hair, clothes = person
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F15:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(30):
            sway = 6 * math.sin(2 * math.pi * frame / 30)
            planes = [bytearray(), bytearray(), bytearray()]
            for plane, step in ((0, 1), (1, 2), (2, 2)):
                for y in range(0, _HEIGHT, step):
                    share = y / _HEIGHT
                    wall = round(above[plane] * (1 - share) + below[plane] * share)
                    row = bytearray([wall]) * (_WIDTH // step)
                    _span(row, _shoulders(y), clothes[plane], sway / 2, step)
                    _span(row, _ellipse(y, 208, 68, 80), hair[plane], sway, step)
                    _span(row, _ellipse(y, 306, 28, 40), skin[plane], sway, step)
                    _span(row, _ellipse(y, 226, 53, 66), skin[plane], sway, step)
                    planes[plane] += row
            file.write(b"FRAME\n" + b"".join(planes))


def _ellipse(y: int, centre: int, half_width: int, half_height: int) -> float:
    """Return half the width of an ellipse at a height."""
    offset = (y - centre) / half_height
    return half_width * math.sqrt(1 - offset * offset) if abs(offset) < 1 else 0


def _shoulders(y: int) -> float:
    """Return half the width of the shoulders at a height."""
    return 0 if y < 318 else 150 * math.sqrt(min(1.0, (y - 318) / 70))


def _span(row: bytearray, half: float, value: int, sway: float, step: int) -> None:
    """Paint the middle of a row."""
    left, right = (round((_WIDTH / 2 + sway + side * half) / step) for side in (-1, 1))
    row[left:right] = bytes([value]) * (right - left)


async def _visit(playwright: Playwright, server: Server, name: str, camera: Path, **options: Any) -> Page:
    """Open the page as somebody, in a browser whose camera shows them."""
    arguments = [*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
    browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    context = await browser.new_context(
        base_url=server.base_url, permissions=["camera", "microphone"], device_scale_factor=2, **options
    )
    page = await context.new_page()
    await page.goto(f"/?user={name}&device={'phone' if options['viewport'] == _PHONE else 'laptop'}")
    await expect(page.get_by_test_id("channel-state")).to_have_attribute("data-state", "websocket")
    return page


async def _press(page: Page, part: str) -> None:
    await page.get_by_test_id(part).click()


async def _is_in(page: Page, state: str) -> None:
    await expect(page.get_by_test_id("call-state")).to_have_attribute("data-state", state, timeout=20_000)


async def _shoot(page: Page, name: str) -> None:
    """Take a picture once the page has come to rest."""
    await page.wait_for_timeout(1500)
    await page.screenshot(path=HERE / f"{name}.png", scale="css")


async def take(server: Server, cameras: dict[str, Path]) -> None:
    """Walk through a call and take the pictures."""
    async with async_playwright() as playwright:
        alice = await _visit(playwright, server, "alice", cameras["alice"], viewport=_DESKTOP, color_scheme="light")
        bob = await _visit(playwright, server, "bob", cameras["bob"], viewport=_PHONE, color_scheme="dark")
        await _press(alice, "call-video-bob")
        await expect(bob.get_by_test_id("ring-dialog")).to_be_visible()
        await _shoot(bob, "ringing-phone")
        await _press(bob, "ring-accept")
        await _is_in(alice, "open")
        await alice.wait_for_timeout(2000)
        await _shoot(alice, "call-desktop")
        await _shoot(bob, "call-phone")
        await _press(alice, "btn-hold")
        await _is_in(bob, "held")
        await _shoot(bob, "hold-phone")
        await _shoot(alice, "hold-desktop")
        await _press(alice, "btn-hold")
        await _is_in(alice, "open")
        await _press(alice, "btn-timeline")
        await _shoot(alice, "timeline-desktop")
        await _press(bob, "btn-timeline")
        await _shoot(bob, "timeline-phone")


def main() -> int:
    """Draw the cameras, serve, and take the pictures."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        cameras = {"alice": path / "alice.y4m", "bob": path / "bob.y4m"}
        _camera(cameras["alice"], _ALICE)
        _camera(cameras["bob"], _BOB)
        backends = Backends(path)
        with Server(backends.sqlite(), path / "server") as server:
            asyncio.run(take(server, cameras))
    return 0


if __name__ == "__main__":
    sys.exit(main())
