import { byId, setText } from "./dom.js";
import { shortName } from "./join-link.js";
import { forwardingWords, modificationWords, secondsUntil } from "./words.js";
import { nameOf } from "./stage.js";

/**
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/call.js").Modification} Modification
 */

/** Asks the user whether to accept a change that the other side offers. */
export class ModificationDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("mod-dialog"));
  /** @type {Modification | null} */
  #shown = null;

  /**
   * @param {(accepted: boolean) => Promise<void>} onChoice
   */
  constructor(onChoice) {
    const choose = async (/** @type {boolean} */ accepted) => {
      this.#enable(false);
      await onChoice(accepted);
      this.#enable(true);
    };
    byId("mod-accept").addEventListener("click", () => void choose(true));
    byId("mod-reject").addEventListener("click", () => void choose(false));
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  /** @param {Call | null} call */
  show(call) {
    const pending = call?.pending?.asking ? call.pending : null;
    if (pending === this.#shown) return;
    this.#shown = pending;
    if (pending === null || call === null) return this.#dialog.close();
    const owners = call.others.filter(({ id }) => pending.who.includes(id)).map(({ username }) => shortName(username));
    const { title, text } = call.hasFocus
      ? forwardingWords(pending, owners.join(" and ") || "The conference")
      : modificationWords(pending, nameOf(call));
    setText(byId("mod-title"), title);
    setText(byId("mod-text"), text);
    this.tick();
    this.#dialog.showModal();
    byId("mod-accept").focus();
  }

  /** Count down to the moment when the offer expires. The page calls it once a second. */
  tick() {
    const left = secondsUntil(this.#shown?.expiresAt);
    setText(byId("mod-countdown"), left === null ? "" : `Expires in ${left} s`);
  }

  /** @param {boolean} enabled */
  #enable(enabled) {
    for (const id of ["mod-accept", "mod-reject"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = !enabled;
  }
}
