import { every } from "./waiting.js";

/**
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./event-types.js").Layers} Layers
 * @typedef {import("./event-types.js").PausedVideos} PausedVideos
 * @typedef {import("./focus.js").FocusLeg} FocusLeg
 * @typedef {import("./emitter.js").Emitter<{event: SessionEvent, change: null}>} Events a call's events
 */

const TICK_MS = 5_000;
/** The focus repeats what is paused every 10 s. An older event no longer counts. */
const PAUSE_MS = 25_000;

/*
 * What a call does for one connection with a focus, so that each side sends only what the other can use. The call loads
 * this module when it has such a connection. Without the module, the call goes on: it then sends all layers.
 */

/** Serve a connection until it is closed. @param {Events} call @param {FocusLeg} leg its connection */
export function keepUp(call, leg) {
  const layers = new SentLayers(leg.pc);
  const pauses = new Pauses(leg, () => call.emit("change", null));
  const stopHearing = call.on("event", (event) => {
    if (event.type === "layers") layers.learn(event);
    if (event.type === "paused-videos") pauses.learn(event);
  });
  const stopTicking = every(TICK_MS, async () => {
    pauses.tick();
    if (leg.pc.signalingState !== "closed") return;
    stopHearing();
    stopTicking();
  });
}

/** Switches off the layers (rids) of this side's videos that nobody receives, and on again. */
export class SentLayers {
  /** The layers that the focus needs, by the mid of the video. @type {Map<string, string[]>} */
  #needed = new Map();
  /** The layers that are off because of the focus. A page may have switched off others. @type {Set<string>} */
  #off = new Set();
  #turn = Promise.resolve();
  #pc;

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    this.#pc = pc;
    // Chromium switches all layers on again when it applies a description of the focus.
    pc.addEventListener("signalingstatechange", () => this.#apply());
  }

  /** @param {Layers} event */
  learn({ mid, rids }) {
    this.#needed.set(mid, rids);
    this.#apply();
  }

  #apply() {
    // While an offer is open, some browsers refuse changes. The end of the offer tries again.
    this.#turn = this.#turn.then(() => this.#switch()).catch(() => undefined);
  }

  async #switch() {
    if (this.#pc.signalingState !== "stable") return;
    for (const { mid, sender } of this.#pc.getTransceivers()) {
      const rids = this.#needed.get(mid ?? "");
      const parameters = rids && sender.getParameters();
      const changed = rids && parameters?.encodings.filter((encoding) => this.#changes(`${mid}`, encoding, rids));
      if (parameters && changed?.length) await sender.setParameters(parameters);
    }
  }

  /**
   * Set whether a layer is active. Return whether this is a change.
   *
   * @param {string} mid @param {RTCRtpEncodingParameters} encoding @param {string[]} rids the layers that are needed
   */
  #changes(mid, encoding, rids) {
    const layer = `${mid} ${encoding.rid}`;
    const isNeeded = rids.includes(encoding.rid ?? "");
    if (isNeeded ? !this.#off.delete(layer) : encoding.active === false) return false;
    if (!isNeeded) this.#off.add(layer);
    encoding.active = isNeeded;
    return true;
  }
}

/** Which videos the focus has paused, because this side's connection is slow. */
export class Pauses {
  #heardAt = 0;
  #leg;
  #changed;

  /** @param {Pick<FocusLeg, "paused">} leg @param {() => void} changed is called after each change of `leg.paused` */
  constructor(leg, changed) {
    this.#leg = leg;
    this.#changed = changed;
  }

  /** @param {Pick<PausedVideos, "videos">} event */
  learn({ videos }) {
    this.#heardAt = performance.now();
    /** @type {FocusLeg["paused"]} */
    const paused = {};
    for (const { participant, label } of videos)
      paused[participant] = { ...paused[participant], [label === "video" ? "camera" : label]: true };
    const changes = JSON.stringify(paused) !== JSON.stringify(this.#leg.paused);
    this.#leg.paused = paused;
    if (changes) this.#changed();
  }

  /** Forget an event that was not repeated: the one that ended the pause was lost. */
  tick() {
    if (performance.now() - this.#heardAt > PAUSE_MS) this.learn({ videos: [] });
  }
}
