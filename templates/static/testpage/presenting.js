import { byId, setText, showTracks } from "./dom.js";
import { shortName } from "./join-link.js";
import { toast } from "./toasts.js";
import { presentingWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 */

/** The bar with which a presenter sees and stops the own screen share, and the notice about another's new share. */
export class Presenting {
  #bar = byId("presenting");
  #video = /** @type {HTMLVideoElement} */ (byId("presenting-video"));
  /** @type {Call | null} */
  #call = null;
  /** The IDs of the other participants who share a screen. @type {Set<string>} */
  #presenters = new Set();

  /** @param {SbeClient} client */
  constructor(client) {
    this.client = client;
  }

  /** @param {Call | null} call */
  draw(call) {
    const { screen, paused } = this.client.media;
    const shows = screen !== null && call !== null && ["open", "held", "on-hold"].includes(call.state);
    this.#bar.hidden = !shows;
    showTracks(this.#video, [shows ? screen : null]);
    setText(byId("presenting-text"), presentingWords({ paused }));
    this.#notice(call);
  }

  /** @param {Call | null} call */
  #notice(call) {
    if (call !== this.#call) this.#presenters.clear();
    this.#call = call;
    if (call?.state !== "open") return;
    const here = call.others.map(({ id }) => id);
    for (const id of this.#presenters) if (!here.includes(id)) this.#presenters.delete(id);
    for (const { id, username, screen, state } of call.others) {
      if (screen !== null && !this.#presenters.has(id)) {
        this.#presenters.add(id);
        toast(`${shortName(username || "Somebody")} is presenting.`, {
          subject: `presenting ${id}`,
          holds: () => this.#presenters.has(id),
        });
      }
      // A screen that a hold interrupts is the same one afterwards.
      if (screen === null && state === "accepted") this.#presenters.delete(id);
    }
  }
}
