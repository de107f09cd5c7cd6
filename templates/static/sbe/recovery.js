import { Emitter } from "./emitter.js";
import { Refusal } from "./errors.js";
import { sleep as reallySleep } from "./waiting.js";

/**
 * @typedef {import("./negotiator.js").Negotiator} Negotiator
 * @typedef {import("./negotiator.js").Notice} Notice
 * @typedef {import("./negotiator.js").Situation} Situation
 */

const ICE_RESTARTS = 3;
// When a connection fails, both peers notice. The guest waits this long, so that the host can restart ICE first.
const GUEST_WAITS_MS = 3_000;

/**
 * Brings lost media back: by an ICE restart when the path breaks, by a new connection when an answer was lost.
 *
 * @extends {Emitter<{notice: Notice}>}
 */
export class Recovery extends Emitter {
  /** ICE restarts since the connection last worked. */
  #restarts = 0;
  /** Whether each side may consider a different description to be in force. */
  #inDoubt = false;
  #negotiator;
  #situation;
  #sleep;

  /**
   * @param {object} options
   * @param {Negotiator} options.negotiator
   * @param {Situation} options.situation
   * @param {typeof reallySleep} [options.sleep]
   */
  constructor({ negotiator, situation, sleep = reallySleep }) {
    super();
    this.#negotiator = negotiator;
    this.#situation = situation;
    this.#sleep = sleep;
    negotiator.on("doubt", () => (this.#inDoubt = true));
    negotiator.on("contradiction", () => this.reconcileSoon());
    negotiator.on("connection", (state) => this.#onConnection(state));
  }

  /** Offer a new connection if an answer was lost, so that both sides agree again. */
  async reconcile() {
    if (!this.#inDoubt || !this.#situation.isOpen) return;
    this.#inDoubt = false;
    await this.#negotiator.modify({ fresh: true });
  }

  /** Start to reconcile, and do not wait: the offer needs the queue, and the caller may occupy the queue. */
  reconcileSoon() {
    this.reconcile().catch((error) => this.emit("notice", { code: "media-lost", error }));
  }

  /** @param {RTCPeerConnectionState} state */
  #onConnection(state) {
    if (state === "connected") this.#restarts = 0;
    if (state === "failed") void this.#restartIce();
  }

  /**
   * Offer an ICE restart (RFC 8829 section 3.5.1). If the other side is moving, it closed its old connection on purpose
   * and will offer a new one. So no restart is needed. A side that reloads its page does the same.
   */
  async #restartIce() {
    const { leg } = this.#negotiator;
    const { hasFocus, isHost, otherMoves, otherIsAway } = this.#situation;
    if (otherMoves || otherIsAway) return;
    if (this.#restarts >= ICE_RESTARTS) return this.emit("notice", { code: "media-lost" });
    this.#restarts += 1;
    if (!hasFocus && !isHost) await this.#sleep(GUEST_WAITS_MS);
    if (leg !== this.#negotiator.leg || this.#negotiator.connection !== "failed" || !this.#situation.isOpen) return;
    try {
      // If one restart did not help, the focus may no longer know this connection. In that case offer a new one.
      await this.#negotiator.modify(hasFocus && this.#restarts > 1 ? { fresh: true } : { iceRestart: true });
    } catch (error) {
      // The other side began to move before the offer was made.
      if (error instanceof Refusal && error.code === "participant-moving") return;
      this.emit("notice", { code: "media-lost", error });
    }
  }
}
