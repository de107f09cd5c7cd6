import { byId, icon, make } from "./dom.js";

const LIMIT = 3;
const SHOWN_MS = 8_000;

/**
 * Show a text in the alert area for a while. The same text is never shown twice at the same time.
 *
 * @param {string} text
 * @param {{bad?: boolean}} [options]
 */
export function toast(text, { bad = false } = {}) {
  const area = byId("toasts");
  for (const shown of area.children) if (shown.querySelector("p")?.textContent === text) shown.remove();
  const close = make("button", { "type": "button", "class": "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const element = make(
    "div",
    { "class": bad ? "toast bad" : "toast", "data-testid": "toast" },
    make("p", {}, text),
    close,
  );
  const remove = () => {
    element.remove();
    if (area.children.length === 0) area.hidePopover();
  };
  close.addEventListener("click", remove);
  setTimeout(remove, SHOWN_MS);
  area.append(element);
  while (area.children.length > LIMIT) area.firstElementChild?.remove();
  // Hide and show the area again, so that it is above a dialog that was opened after it.
  area.hidePopover();
  area.showPopover();
}

/** @param {string} text for screen readers only */
export function announce(text) {
  byId("announcer").textContent = text;
}
