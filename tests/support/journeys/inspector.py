"""Checks the test page as its users see it: nothing overflows, and all text is readable."""

from axe_playwright_python.base import AXE_SCRIPT

from tests.support.depth import DEEP
from tests.support.journeys.people import Person

WIDTHS = (360, 768, 1280)
THEMES = ("light", "dark")
PHONE = (360,)
_EVERYTHING = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
_COLOURS = {"type": "rule", "values": ["color-contrast"]}

# Finds elements that stick out of the page on its sides, buttons whose words are cut, and tiles whose texts overlap.
_LAYOUT_FAULTS = """async () => {
  // The page has its new layout by the second frame.
  for (let frame = 0; frame < 2; frame += 1) await new Promise((next) => requestAnimationFrame(next));
  const wide = document.documentElement.clientWidth;
  const page = document.scrollingElement.scrollWidth > wide ? ["the page"] : [];
  const boxes = document.querySelectorAll("button, input, select, p, h1, h2, dialog[open], video, li");
  const out = [...boxes].filter((element) => {
    // What is scrolled sideways on purpose may.
    const scrolled = ".timeline pre, .tiles[data-layout='strip-below'] > [data-front='false']";
    if (!element.checkVisibility() || element.closest(`.sr-only, .skip-link, ${scrolled}`)) return false;
    const {left, right, width} = element.getBoundingClientRect();
    return width > 0 && (left < -1 || right > wide + 1);
  });
  const names = (elements) => elements.map((element) => element.id || element.className || element.tagName);
  const words = [...document.querySelectorAll(".control-word, .button, .round span")];
  const cut = words.filter((element) => element.scrollWidth > element.clientWidth + 1 && element.checkVisibility());
  const rect = (element) => element.getBoundingClientRect();
  const tiles = [...document.querySelectorAll(".tile")].filter((tile) => {
    const name = tile.querySelector(".tile-name");
    const texts = [...tile.querySelectorAll(".tile-veil > p, .tile-words")].filter((text) => text.textContent !== "");
    return texts.some((text) => text.checkVisibility({visibilityProperty: true}) && name.checkVisibility() &&
      rect(text).bottom > rect(name).top + 1 && rect(text).width > 1 && getComputedStyle(text).fontSize !== "0px");
  });
  return [
    ...[...page, ...names(out)].map((what) => `${what} sticks out`),
    ...cut.map((element) => `“${element.textContent}” is cut`),
    ...tiles.map(({dataset}) => `a text covers the name of ${dataset.name}`),
  ];
}"""

_AXE = """async (runOnly) => {
  // So is what a new theme changes.
  for (let frame = 0; frame < 2; frame += 1) await new Promise((next) => requestAnimationFrame(next));
  // Axe knows no top layer: it takes what lies under a dialog, and cannot be used meanwhile, for something over it.
  const under = document.querySelector("dialog[open]") ? document.querySelector("main") : null;
  if (under) under.style.visibility = "hidden";
  // Of what passes one element is enough; and the style sheets are the page's own, there is none to fetch.
  const options = {runOnly, resultTypes: ["violations"], preload: false};
  const {violations, passes, incomplete} = await axe.run(document, options);
  if (under) under.style.visibility = "";
  const described = (results) => results.flatMap(({id, nodes}) =>
    nodes.map(({target, failureSummary}) => `${id}: ${target.join(" ")}: ${failureSummary}`));
  const looked = passes.some(({id}) => id === "color-contrast");
  return looked ? described(violations) : ["no contrast was looked at", ...described([...violations, ...incomplete])];
}"""


class Inspector:
    """Checks pages in both themes and at all widths, and records faults."""

    def __init__(self) -> None:
        """Start without faults."""
        self.found: list[str] = []
        self.seen: list[str] = []

    async def look(self, state: str, person: Person, *, widths: tuple[int, ...] = WIDTHS) -> None:
        """Record the faults of a page in this state."""
        self.seen.append(state)
        page = person.page
        # Elements that fade in do not have their final colours yet.
        await page.emulate_media(reduced_motion="reduce")
        if not await page.evaluate("() => 'axe' in window"):
            await page.evaluate(AXE_SCRIPT)
        # Colours do not change the layout.
        for width in widths:
            await page.set_viewport_size({"width": width, "height": 800})
            for what in await page.evaluate(_LAYOUT_FAULTS):
                self.found.append(f"{state}, {width} px: {what}")
        # Axe takes a second or two, so it checks every third state, and in deep runs each state.
        if not DEEP and len(self.seen) % 3 != 1:
            return
        # A theme changes only colours.
        for theme, only in zip(THEMES, (_EVERYTHING, _COLOURS), strict=True):
            await page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            self.found += [f"{state}, {theme}: {what}" for what in await page.evaluate(_AXE, only)]
