"""How tests start Chromium: without what only costs time."""

from playwright.async_api import Browser, Playwright

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    # No processes in reserve, and none of its own for a blank page: each costs half a second to start. No suggestions
    # below the address either: each profile loads a page of 400 modules for them. The last list counts, so this one
    # begins with the driver's.
    "--disable-features=AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,"
    "HttpsFirstBalancedModeAutoEnable,MediaRouter,PaintHolding,OptimizationHints,NetworkTimeServiceQuerying,"
    "AvoidCorsURLLoaderRestartOnRedirect,PreconnectToSearch,"
    "SpareRendererForSitePerProcess,IsolateOrigins,site-per-process,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,PreloadTopChromeWebUI",
    "--disable-site-isolation-trials",
    # There is no graphics card: to draw as if there were one takes longer than to draw.
    "--disable-gpu",
    "--disable-software-rasterizer",
]


async def launch_chromium(playwright: Playwright, *arguments: str) -> Browser:
    """Start the system's Chromium with these arguments besides."""
    return await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*_ARGUMENTS, *arguments])
