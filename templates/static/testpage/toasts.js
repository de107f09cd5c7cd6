import { byId, icon, make } from "./dom.js";

const LIMIT = 3;
const SHOWN_MS = 8_000;
const BELOW_NAME_PX = 42;

/** Whether each visible toast still holds. @type {WeakMap<Element, () => boolean>} */
const conditions = new WeakMap();

/**
 * @typedef {object} ToastOptions
 * @property {boolean} [bad]
 * @property {string} [subject] At most one toast of each subject is visible: a new one takes the place of the old one.
 * Without a subject, only equal texts have the same subject.
 * @property {() => boolean} [holds] For a toast about a state: whether the state lasts. The toast goes with it.
 * @property {{label: string, act: () => void}} [action] a button that also closes the toast
 */

/** Show a text in the alert area for a while. @param {string} text @param {ToastOptions} [options] */
export function toast(text, { bad = false, subject = text, holds = () => true, action } = {}) {
  const area = byId("toasts");
  const close = make("button", { "type": "button", "class": "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const element = make(
    "div",
    { "class": bad ? "toast bad" : "toast", "data-testid": "toast", "data-subject": subject },
    make("p", {}, text),
    ...(action ? [make("button", { type: "button", class: "button plain small" }, action.label)] : []),
    close,
  );
  const remove = () => removeFrom(area, [element]);
  sweepToasts();
  conditions.set(element, holds);
  close.addEventListener("click", remove);
  element.querySelector(".button")?.addEventListener("click", () => {
    remove();
    action?.act();
  });
  setTimeout(remove, SHOWN_MS);
  const same = toastsOf(area).find((shown) => shown.dataset.subject === subject);
  // A new element, so that screen readers read the repeated text too.
  if (same) same.replaceWith(element);
  else area.append(element);
  while (area.children.length > LIMIT) area.firstElementChild?.remove();
  // Hide and show the area again, so that it is above a dialog that was opened after it.
  area.hidePopover();
  area.showPopover();
  place(area);
}

/** Remove the toasts about states that are over. The page calls it after every change. */
export function sweepToasts() {
  const area = byId("toasts");
  removeFrom(
    area,
    toastsOf(area).filter((shown) => !conditions.get(shown)?.()),
  );
}

/** Remove the texts that are no errors, because something else on the page says the same now. */
export function clearToasts() {
  const area = byId("toasts");
  removeFrom(
    area,
    toastsOf(area).filter((shown) => !shown.classList.contains("bad")),
  );
}

/** @param {HTMLElement} area */
function toastsOf(area) {
  return /** @type {HTMLElement[]} */ ([...area.children]);
}

/** @param {HTMLElement} area @param {HTMLElement[]} toasts */
function removeFrom(area, toasts) {
  for (const shown of toasts) shown.remove();
  if (area.children.length === 0) area.hidePopover();
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
