import { Emitter } from "./emitter.js";
import { Refusal } from "./errors.js";

/**
 * @typedef {import("./media.js").LocalMedia} LocalMedia
 * @typedef {import("./negotiator.js").Negotiator} Negotiator
 * @typedef {import("./negotiator.js").Notice} Notice
 * @typedef {import("./negotiator.js").Outcome} Outcome
 * @typedef {import("./negotiator.js").Situation} Situation
 * @typedef {import("./peer.js").Wishes} Wishes
 */

/**
 * This side's tracks in a call. Each method changes the local media at once, and makes an offer if the description in
 * force does not allow the change. A change that is not accepted is undone.
 *
 * @extends {Emitter<{notice: Notice}>}
 */
export class Sending extends Emitter {
  /** Whether this side wants a video section. It may want one without a camera. */
  video = false;
  /** Whether the camera was switched before the call opened, when nothing could be offered. */
  #switched = false;
  /** @type {Promise<Outcome> | null} */
  #adding = null;
  #media;
  #negotiator;
  #situation;
  #holdDirection;
  #unmuteVideo;

  /**
   * @param {object} options
   * @param {LocalMedia} options.media
   * @param {Negotiator} options.negotiator
   * @param {Situation} options.situation
   * @param {() => "recvonly" | "inactive"} options.holdDirection the direction that a hold offers
   * @param {() => Promise<void>} options.unmuteVideo undoes a mute by the host, which only the participant can do
   */
  constructor({ media, negotiator, situation, holdDirection, unmuteVideo }) {
    super();
    this.#media = media;
    this.#negotiator = negotiator;
    this.#situation = situation;
    this.#holdDirection = holdDirection;
    this.#unmuteVideo = unmuteVideo;
  }

  /** @param {boolean} holding @returns {Wishes} what to offer now */
  wishes(holding) {
    const { microphone: audio, camera, screen } = this.#media;
    // In a call with a focus the first video section always belongs to the camera, so the offer always contains it.
    const video = this.video || this.#situation.hasFocus;
    return { audio, camera, screen, video, hold: holding ? this.#holdDirection() : null };
  }

  /** @returns {Promise<Outcome>} of the attempt in progress, if there is one */
  addVideo() {
    this.#adding ??= this.#addVideo().finally(() => (this.#adding = null));
    return this.#adding;
  }

  /** @returns {Promise<Outcome>} */
  async #addVideo() {
    await this.#media.openCamera();
    await this.#unmuteVideo();
    if (!this.#situation.isOpen) {
      this.video = true;
      this.#switched = true;
      return "accepted";
    }
    if (this.#maySend("camera") || this.#situation.isOnHold) return "accepted";
    const { video } = this;
    this.video = true;
    return this.#orElse(
      () => this.#negotiator.modify(),
      () => {
        this.video = video;
        this.#media.close("camera");
      },
    );
  }

  /** The call has opened: offer the camera as it is now, if it was switched before. */
  catchUp() {
    if (!this.#switched) return;
    this.#switched = false;
    this.#negotiator.confirm();
  }

  /** @returns {Promise<void>} */
  stopVideo() {
    this.#media.close("camera");
    return this.tellVideoStopped();
  }

  /** Offer that the camera is off, so that the other side does not show the last frame as live video. */
  async tellVideoStopped() {
    if (!this.#situation.isOpen) this.#switched = true;
    if (!this.#situation.isOpen || this.#situation.isOnHold) return;
    // A pending offer may still allow the camera.
    if (!this.#maySend("camera") && !this.#negotiator.pending) return;
    try {
      await this.#negotiator.modify();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** @returns {Promise<Outcome>} */
  async shareScreen() {
    await this.#media.openScreen();
    await this.#unmuteVideo();
    return this.#orElse(
      () => this.#negotiator.modify(),
      () => this.#media.close("screen"),
    );
  }

  /** @returns {Promise<Outcome>} */
  async stopScreen() {
    this.#media.close("screen");
    return this.#situation.isOpen && this.#maySend("screen") ? this.#negotiator.modify() : "accepted";
  }

  /** @returns {Promise<Outcome>} */
  hold() {
    // This side sends nothing from now on, no matter when the other side accepts.
    this.#media.paused = true;
    return this.#orElse(
      async () => (await this.#offerHold("initiate-conference-hold")).settled,
      () => this.#unpause(),
    );
  }

  /** Stop sending and offer the hold that precedes a move. The move does not wait for the answer to this hold. */
  async holdForMove() {
    this.#media.paused = true;
    try {
      await this.#offerHold("initiate-call-hold");
    } catch (error) {
      this.#unpause();
      throw error;
    }
  }

  /** @returns {Promise<Outcome>} */
  async resume() {
    const plan = { action: "initiate-conference-resume", kind: "resume", holding: false };
    return (await this.#negotiator.offer(plan)).settled;
  }

  /**
   * Follow a mute by the host: do not capture media that the focus would drop.
   *
   * @param {{audio: boolean, video: boolean}} muted
   */
  followMute({ audio, video }) {
    const media = this.#media;
    if (audio && !media.muted) {
      media.muted = true;
      this.emit("notice", { code: "muted-by-host", kind: "audio" });
    }
    if (!video) return;
    const isSending = media.camera || media.screen;
    media.close("camera");
    media.close("screen");
    if (isSending) {
      this.#negotiator.confirm();
      this.emit("notice", { code: "muted-by-host", kind: "video" });
    }
  }

  /** @param {string} action */
  #offerHold(action) {
    return this.#negotiator.offer({ action, kind: "hold", holding: true });
  }

  #unpause() {
    this.#media.paused = this.#negotiator.holding;
  }

  /** @param {"camera" | "screen"} role */
  #maySend(role) {
    return this.#negotiator.leg?.maySend(role) ?? false;
  }

  /**
   * @param {() => Promise<Outcome>} attempt
   * @param {() => void} otherwise runs unless the outcome is `accepted`
   */
  async #orElse(attempt, otherwise) {
    const undo = (/** @type {unknown} */ error) => {
      otherwise();
      throw error;
    };
    const outcome = await attempt().catch(undo);
    if (outcome !== "accepted") otherwise();
    return outcome;
  }
}
