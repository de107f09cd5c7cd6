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
  /** Whether the two sides may hold different descriptions to be in force. */
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

  /** Reconcile without waiting: the offer runs through the queue, which may be running the caller. */
  reconcileSoon() {
    this.reconcile().catch((error) => this.emit("notice", { code: "media-lost", error }));
  }

  /** @param {RTCPeerConnectionState} state */
  #onConnection(state) {
    if (state === "connected") this.#restarts = 0;
    if (state === "failed") void this.#restartIce();
  }

  /**
   * Offer an ICE restart (RFC 8829 section 3.5.1). A participant who moves has closed their old connection and will
   * offer a new one. That path is not broken, so it needs no restart.
   */
  async #restartIce() {
    const { leg } = this.#negotiator;
    const { hasFocus, isHost, otherMoves } = this.#situation;
    if (otherMoves) return;
    if (this.#restarts >= ICE_RESTARTS) return this.emit("notice", { code: "media-lost" });
    this.#restarts += 1;
    if (!hasFocus && !isHost) await this.#sleep(GUEST_WAITS_MS);
    if (leg !== this.#negotiator.leg || this.#negotiator.connection !== "failed" || !this.#situation.isOpen) return;
    try {
      // If one restart did not help, the focus may no longer know this connection. Then offer a new one.
      await this.#negotiator.modify(hasFocus && this.#restarts > 1 ? { fresh: true } : { iceRestart: true });
    } catch (error) {
      // The other side began to move before the offer was made.
      if (error instanceof Refusal && error.code === "participant-moving") return;
      this.emit("notice", { code: "media-lost", error });
    }
  }
}
