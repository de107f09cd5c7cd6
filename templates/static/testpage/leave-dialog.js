import { byId, make, setText } from "./dom.js";
import { shortName } from "./join-link.js";

/**
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/roster.js").RemoteParticipant} RemoteParticipant
 */

const HERE = ["accepted", "on-hold"];

/** Asks the host who leaves whether the conference ends for all, or who becomes the host. */
export class LeaveDialog {
  #dialog = /** @type {HTMLDialogElement} */ (byId("leave-dialog"));
  #select = /** @type {HTMLSelectElement} */ (byId("leave-successor"));
  /** @type {Call | null} */
  #call = null;
  /** The IDs of the others who are here, in the order in which this page saw them come. @type {string[]} */
  #here = [];

  /**
   * @param {object} actions
   * @param {(successor: string) => void} actions.onLeave gets the participant ID of the new host
   * @param {() => void} actions.onEnd
   */
  constructor({ onLeave, onEnd }) {
    byId("leave-cancel").addEventListener("click", () => this.#dialog.close());
    byId("leave-start").addEventListener("click", () => {
      const successor = this.#select.value;
      this.#dialog.close();
      if (successor) onLeave(successor);
    });
    byId("leave-end").addEventListener("click", () => {
      this.#dialog.close();
      onEnd();
    });
  }

  open() {
    if (this.#call === null) return;
    this.#fill(successorsOf(this.#call));
    // The one who has been here longest.
    this.#select.selectedIndex = 0;
    this.#dialog.showModal();
    byId(this.#select.value ? "leave-start" : "leave-cancel").focus();
  }

  /** @param {Call | null} call */
  draw(call) {
    if (call !== this.#call) this.#here = [];
    this.#call = call;
    const successors = call === null || call.state === "ended" ? [] : successorsOf(call);
    const ids = successors.map(({ id }) => id);
    this.#here = [...this.#here.filter((id) => ids.includes(id)), ...ids.filter((id) => !this.#here.includes(id))];
    if (!this.#dialog.open) return;
    if (call === null || !canGoOn(call)) this.#dialog.close();
    else this.#fill(successors);
  }

  /** @param {RemoteParticipant[]} successors */
  #fill(successors) {
    const names = new Map(successors.map(({ id, username }) => [id, shortName(username || "Somebody")]));
    const ids = this.#here.filter((id) => names.has(id));
    const chosen = this.#select.value;
    if (JSON.stringify(ids) !== this.#select.dataset.ids) {
      this.#select.replaceChildren(...ids.map((id) => make("option", { value: id }, names.get(id) ?? "")));
      if (ids.includes(chosen)) this.#select.value = chosen;
    }
    this.#select.dataset.ids = JSON.stringify(ids);
    const nobody = ids.length === 0;
    setText(byId("leave-title"), nobody ? "End the conference?" : "Leave the conference?");
    setText(
      byId("leave-text"),
      nobody
        ? "You are the host, and the others are away. They cannot come back after you have ended it."
        : "You are the host. The others can go on with a new host.",
    );
    byId("leave-successor-field").hidden = byId("leave-start").hidden = nobody;
  }
}

/**
 * Whether the end of this call needs a decision: this side is the host of a conference in which others are, maybe away.
 *
 * @param {Call} call
 */
export function canGoOn(call) {
  const isAlone = !call.others.some(({ state }) => HERE.includes(state));
  if (!call.hasFocus || call.state === "ended" || call.me?.role !== "host" || isAlone) return false;
  return call.others.length > 1 || call.conference?.access === "open";
}

/** Whether this side has left a conference that goes on without it. @param {Call} call */
export function hasLeft({ endReason, hasFocus, me, others, conference }) {
  const goesOn = others.length > 1 || conference?.access === "open";
  return endReason === "here" && hasFocus && me?.role === "guest" && goesOn;
}

/** Whether this side has left an open conference that goes on, and may join it again. @param {Call} call */
export function canRejoin(call) {
  return hasLeft(call) && call.conference?.access === "open" && !call.locked;
}

/** The others who can become the host. @param {Call} call */
function successorsOf(call) {
  return call.others.filter(canBeHost);
}

/**
 * Whether a participant can become the host. The enabler refuses those whose page has closed or reloads.
 *
 * @param {{state: string, away?: boolean}} participant
 */
export function canBeHost({ state, away }) {
  return HERE.includes(state) && !away;
}
