import { byId, setIcon, setText } from "./dom.js";
import { shortName } from "./join-link.js";
import { moveInMenu } from "./menu-keys.js";

/**
 * @typedef {object} Target the participant that the menu is about
 * @property {string} participant its ID
 * @property {string} name
 * @property {boolean} [pinned]
 * @property {boolean} audio whether there is a microphone to mute
 * @property {boolean} video whether there is a camera to turn off
 * @property {boolean} canBeHost whether it can become the host
 * @property {(() => void) | null} pin null if there is nothing to pin
 *
 * @typedef {"mute" | "video" | "host" | "remove"} Deed
 */

const MARGIN = 8;

/** The menu of a tile, with the host's actions for its participant (ARIA Authoring Practices, menu button). */
export class TileMenu {
  #menu = byId("tile-menu");
  /** @type {Target | null} */
  #target = null;
  /** @type {HTMLElement | null} */
  #button = null;

  /** @param {(deed: Deed, target: Target) => void} onChoice */
  constructor(onChoice) {
    byId("menu-pin").addEventListener("click", () => this.#choose(({ pin }) => pin?.()));
    for (const deed of /** @type {Deed[]} */ (["mute", "video", "host", "remove"])) {
      byId(`menu-${deed}`).addEventListener("click", () => this.#choose((target) => onChoice(deed, target)));
    }
    // The menu's tile has moved.
    addEventListener("resize", () => this.close());
    this.#menu.addEventListener("keydown", (event) => this.#onKey(event));
    this.#menu.addEventListener("toggle", (event) =>
      this.#button?.setAttribute("aria-expanded", String(/** @type {ToggleEvent} */ (event).newState === "open")),
    );
  }

  /** @param {Target} target @param {HTMLElement} button that was pressed */
  open(target, button) {
    this.#target = target;
    this.#button = button;
    byId("menu-pin").hidden = target.pin === null;
    setIcon(byId("menu-pin"), target.pinned ? "unpin" : "pin");
    setText(/** @type {Element} */ (byId("menu-pin").querySelector("span")), target.pinned ? "Unpin" : "Pin");
    setText(/** @type {Element} */ (byId("menu-remove").querySelector("span")), `Remove ${shortName(target.name)}`);
    /** @type {HTMLButtonElement} */ (byId("menu-mute")).disabled = !target.audio;
    /** @type {HTMLButtonElement} */ (byId("menu-video")).disabled = !target.video;
    /** @type {HTMLButtonElement} */ (byId("menu-host")).disabled = !target.canBeHost;
    this.#menu.setAttribute("aria-label", shortName(target.name));
    this.#menu.showPopover();
    const { right, bottom, top } = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    this.#menu.style.left = `${Math.max(MARGIN, Math.min(right - width, innerWidth - width - MARGIN))}px`;
    this.#menu.style.top = `${bottom + 4 + height > innerHeight - MARGIN ? Math.max(MARGIN, top - height - 4) : bottom + 4}px`;
    this.#items[0]?.focus();
  }

  close() {
    this.#menu.hidePopover();
  }

  get #items() {
    return [...this.#menu.querySelectorAll("button")].filter((item) => !item.disabled && !item.hidden);
  }

  /** @param {(target: Target) => void} act */
  #choose(act) {
    const target = this.#target;
    this.close();
    this.#button?.focus();
    if (target) act(target);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    moveInMenu(event, this.#items, () => this.close());
  }
}
