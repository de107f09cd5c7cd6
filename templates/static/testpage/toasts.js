import { byId, icon, make } from "./dom.js";

const LIMIT = 3;
const SHOWN_MS = 8_000;
const BELOW_NAME_PX = 42;

/**
 * Show a text in the alert area for a while. At most one toast of each kind is visible: a new one takes the place of the
 * old one.
 *
 * @param {string} text
 * @param {object} [options]
 * @param {boolean} [options.bad]
 * @param {string} [options.kind] without a kind, only equal texts are of the same kind
 * @param {{label: string, act: () => void}} [options.action] a button that also closes the toast
 */
export function toast(text, { bad = false, kind = text, action } = {}) {
  const area = byId("toasts");
  const close = make("button", { "type": "button", "class": "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const element = make(
    "div",
    { "class": bad ? "toast bad" : "toast", "data-testid": "toast", "data-kind": kind },
    make("p", {}, text),
    ...(action ? [make("button", { type: "button", class: "button plain small" }, action.label)] : []),
    close,
  );
  const remove = () => {
    if (!element.isConnected) return;
    element.remove();
    if (area.children.length === 0) area.hidePopover();
  };
  close.addEventListener("click", remove);
  element.querySelector(".button")?.addEventListener("click", () => {
    remove();
    action?.act();
  });
  setTimeout(remove, SHOWN_MS);
  const same = [...area.children].find((shown) => shown instanceof HTMLElement && shown.dataset.kind === kind);
  // A new element, so that screen readers read the repeated text too.
  if (same) same.replaceWith(element);
  else area.append(element);
  while (area.children.length > LIMIT) area.firstElementChild?.remove();
  // Hide and show the area again, so that it is above a dialog that was opened after it.
  area.hidePopover();
  area.showPopover();
  place(area);
}

/** Remove the texts that are no errors, because something else on the page says the same now. */
export function clearToasts() {
  for (const shown of byId("toasts").querySelectorAll(".toast:not(.bad)")) shown.remove();
}

/** Remove the toasts of a kind. @param {string} kind */
export function clearToastsOf(kind) {
  for (const shown of byId("toasts").querySelectorAll(".toast"))
    if (shown instanceof HTMLElement && shown.dataset.kind === kind) shown.remove();
}

/**
 * In a call, put the area under the row with the name of the call, and over the middle of the stage. The names of the
 * tiles are at their lower edges, so no name is covered.
 *
 * @param {HTMLElement} area
 */
function place(area) {
  const top = byId("stage-top");
  const isInCall = top.checkVisibility();
  const { left, width, top: y } = top.getBoundingClientRect();
  area.style.setProperty("top", isInCall ? `${y + BELOW_NAME_PX}px` : "");
  area.style.setProperty("left", isInCall ? `${left + width / 2}px` : "");
  area.style.setProperty("max-width", isInCall ? `${width}px` : "");
}

// The stage changes its size with the window, and when a drawer opens.
new ResizeObserver(() => place(byId("toasts"))).observe(byId("stage-top"));

/** @param {string} text for screen readers only */
export function announce(text) {
  byId("announcer").textContent = text;
}
