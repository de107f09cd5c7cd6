import { byId, icon, make } from "./dom.js";

const LIMIT = 3;
const SHOWN_MS = 8_000;

/**
 * Show a text in the alert area for a while. At most one toast of each kind is visible: a new one takes the place of the
 * old one.
 *
 * @param {string} text
 * @param {{bad?: boolean, kind?: string}} [options] without a kind, only equal texts are of the same kind
 */
export function toast(text, { bad = false, kind = text } = {}) {
  const area = byId("toasts");
  const close = make("button", { "type": "button", "class": "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const element = make(
    "div",
    { "class": bad ? "toast bad" : "toast", "data-testid": "toast", "data-kind": kind },
    make("p", {}, text),
    close,
  );
  const remove = () => {
    if (!element.isConnected) return;
    element.remove();
    if (area.children.length === 0) area.hidePopover();
  };
  close.addEventListener("click", remove);
  setTimeout(remove, SHOWN_MS);
  const same = [...area.children].find((shown) => shown instanceof HTMLElement && shown.dataset.kind === kind);
  // A new element, so that screen readers read the repeated text too.
  if (same) same.replaceWith(element);
  else area.append(element);
  while (area.children.length > LIMIT) area.firstElementChild?.remove();
  // Hide and show the area again, so that it is above a dialog that was opened after it.
  area.hidePopover();
  area.showPopover();
}

/** @param {string} text for screen readers only */
export function announce(text) {
  byId("announcer").textContent = text;
}
