import { byId } from "./dom.js";

/** The drawer that is open. There is space for one. @type {Drawer | null} */
let openDrawer = null;

/** A drawer beside the stage, with the button that opens it. Opening one drawer closes the other. */
export class Drawer {
  #drawer;
  #button;
  #onToggle;

  /**
   * @param {string} id of the drawer; its close button has the ID `<id>-close`
   * @param {string} button its ID
   * @param {(open: boolean) => HTMLElement} onToggle returns the element to focus if the drawer has opened
   */
  constructor(id, button, onToggle) {
    this.#drawer = byId(id);
    this.#button = byId(button);
    this.#onToggle = onToggle;
    this.#button.addEventListener("click", () => this.toggle());
    byId(`${id}-close`).addEventListener("click", () => this.toggle(false));
    this.#drawer.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.toggle(false);
    });
  }

  get isOpen() {
    return !this.#drawer.hidden;
  }

  /** @param {boolean} [open] @param {{focus?: boolean}} [options] whether to move the focus */
  toggle(open = !this.isOpen, { focus = true } = {}) {
    if (open === this.isOpen) return;
    if (open) openDrawer?.toggle(false, { focus: false });
    openDrawer = open ? this : null;
    this.#drawer.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    const first = this.#onToggle(open);
    if (focus) (open ? first : this.#button).focus();
  }
}
