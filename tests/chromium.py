"""How tests start Chromium: without what only costs time."""

from playwright.async_api import Browser, Playwright

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


async def launch_chromium(playwright: Playwright, *arguments: str) -> Browser:
    """Start the system's Chromium with these arguments besides."""
    return await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*_ARGUMENTS, *arguments])
