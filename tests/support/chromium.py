"""How tests start Chromium: without features that only cost time."""

import shutil

from playwright.async_api import Browser, Playwright

_CHROMIUM = "/usr/bin/chromium"
# The same engine without the browser's own windows, which saves a quarter of the work. It never asks for permissions.
_SHELL = shutil.which("chromium-headless-shell") or _CHROMIUM

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    # No spare renderer and no separate process for a blank page: each takes half a second to start. No WebUI for
    # address suggestions: every profile would load its 400 modules. Only the last --disable-features counts, so this
    # one repeats the driver's.
    "--disable-features=AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,"
    "HttpsFirstBalancedModeAutoEnable,MediaRouter,PaintHolding,OptimizationHints,NetworkTimeServiceQuerying,"
    "AvoidCorsURLLoaderRestartOnRedirect,PreconnectToSearch,"
    "SpareRendererForSitePerProcess,IsolateOrigins,site-per-process,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,PreloadTopChromeWebUI",
    "--disable-site-isolation-trials",
    # There is no graphics card, and emulating one is slower than drawing in software.
    "--disable-gpu",
    "--disable-software-rasterizer",
]


async def launch_chromium(playwright: Playwright, *arguments: str, asks: bool = False) -> Browser:
    """Start the system's Chromium with further arguments. With `asks` it is a whole browser, with prompts."""
    executable = _CHROMIUM if asks else _SHELL
    return await playwright.chromium.launch(executable_path=executable, args=[*_ARGUMENTS, *arguments])
