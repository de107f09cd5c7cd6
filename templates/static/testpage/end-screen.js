import { byId, setText } from "./dom.js";

/** @typedef {import("../sbe/call.js").Call} Call */

/** Asks how a call was, after its end. A rating that was chosen but not sent is sent when the user goes on. */
export class EndScreen {
  #form = /** @type {HTMLFormElement} */ (byId("rating"));
  #comment = /** @type {HTMLTextAreaElement} */ (byId("rating-comment"));
  /** @type {Call | null} */
  #call = null;
  /** The calls that were rated. @type {WeakSet<Call>} */
  #rated = new WeakSet();

  /** @param {(send: () => Promise<void>) => void} attempt runs an action whose error is shown */
  constructor(attempt) {
    this.attempt = attempt;
    this.#form.addEventListener("change", () => this.#drawMore());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** @param {Call | null} call @param {boolean} registered whether a rating can be sent */
  draw(call, registered) {
    if (call !== this.#call) {
      this.#send();
      this.#call = call;
      this.#form.reset();
      this.#drawMore();
    }
    const asks = call !== null && call.state === "ended" && call.openedAt !== null && registered;
    const rated = call !== null && this.#rated.has(call);
    this.#form.hidden = !asks || rated;
    byId("rating-thanks").hidden = !asks || !rated;
  }

  get #stars() {
    return Number(new FormData(this.#form).get("stars") ?? 0);
  }

  #drawMore() {
    byId("rating-more").hidden = this.#stars === 0;
    setText(byId("rating-word"), WORDS[this.#stars] ?? "");
  }

  #send() {
    const [call, stars, comment] = [this.#call, this.#stars, this.#comment.value.trim()];
    if (call === null || stars === 0 || this.#rated.has(call)) return;
    this.#rated.add(call);
    this.attempt(async () => {
      try {
        await call.rate({ stars, ...(comment ? { comment } : {}) });
      } catch (error) {
        this.#rated.delete(call);
        throw error;
      }
    });
  }
}

const WORDS = ["", "Bad", "Poor", "Fair", "Good", "Great"];
