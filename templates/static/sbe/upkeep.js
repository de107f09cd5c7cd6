import { every } from "./waiting.js";

/**
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./event-types.js").Layers} Layers
 * @typedef {import("./event-types.js").PausedVideos} PausedVideos
 * @typedef {import("./focus.js").FocusLeg} FocusLeg
 * @typedef {import("./emitter.js").Emitter<{event: SessionEvent, change: null}>} Events a call's events
 */

const TICK_MS = 5_000;
/** How often the sizes of the tiles are compared with what the focus knows. */
const MEASURE_MS = 500;
/** The label of the data channel to the focus itself. */
const TILES = "sbe-tiles";
/** Small changes of a size are not worth a message, in pixels. */
const STEP = 16;
/** The focus repeats what is paused every 10 s. An older event no longer counts. */
const PAUSE_MS = 25_000;

/*
 * What a call does for one connection with a focus, so that each side sends only what the other can use. The call loads
 * this module when it has such a connection. Without the module, the call goes on: it then sends all layers, and gets
 * pictures that are larger than needed.
 */

/** Serve a connection until it is closed. @param {Events} call @param {FocusLeg} leg its connection */
export function keepUp(call, leg) {
  const layers = new SentLayers(leg.pc);
  const pauses = new Pauses(leg, () => call.emit("change", null));
  const stopHearing = call.on("event", (event) => {
    if (event.type === "layers") layers.learn(event);
    if (event.type === "paused-videos") pauses.learn(event);
  });
  const tiles = new Tiles(leg);
  const stopMeasuring = every(MEASURE_MS, async () => tiles.report());
  const stopTicking = every(TICK_MS, async () => {
    pauses.tick();
    if (leg.pc.signalingState !== "closed") return;
    tiles.stop();
    stopHearing();
    stopMeasuring();
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

/**
 * Tells the focus how wide the page shows each video of the others, so that no larger picture is sent. It looks at the
 * `<video>` elements in the document and in `<sbe-call>`. A video that no visible-size element shows has no limit.
 */
export class Tiles {
  #leg;
  #channel;
  #told = "{}";
  /** Whether an element is in view. @type {Map<Element, boolean>} */
  #seen = new Map();
  #observer;

  /** @param {Pick<FocusLeg, "pc" | "midOf">} leg */
  constructor(leg) {
    this.#leg = leg;
    this.#channel = leg.pc.createDataChannel(TILES);
    // A tile that is about to scroll into view needs its picture already.
    if (globalThis.IntersectionObserver)
      this.#observer = new IntersectionObserver((seen) => this.#look(seen), { rootMargin: "100px" });
  }

  /** @param {Pick<IntersectionObserverEntry, "target" | "isIntersecting">[]} entries */
  #look(entries) {
    for (const { target, isIntersecting } of entries) this.#seen.set(target, isIntersecting);
    this.report();
  }

  /** Tell the focus the widths, if they have changed. */
  report() {
    if (this.#channel.readyState !== "open") return;
    const widths = JSON.stringify(this.#widths(shownVideos()));
    if (widths === this.#told) return;
    this.#channel.send(`{"widths":${widths}}`);
    this.#told = widths;
  }

  /** @param {HTMLVideoElement[]} videos @returns {Record<string, number>} by mid */
  #widths(videos) {
    this.#observe(videos);
    /** @type {Record<string, number>} */
    const widths = {};
    for (const video of videos) {
      const [track] = /** @type {MediaStream | null} */ (video.srcObject)?.getVideoTracks() ?? [];
      const mid = this.#leg.midOf(track ?? null);
      if (track && mid) widths[mid] = Math.max(widths[mid] ?? 0, this.#seen.get(video) === false ? 0 : widthOf(video));
    }
    // JSON has no infinity: without a limit, a video is not listed.
    return Object.fromEntries(Object.entries(widths).filter(([, width]) => width < Infinity));
  }

  /** @param {HTMLVideoElement[]} videos */
  #observe(videos) {
    for (const video of this.#seen.keys()) {
      if (videos.includes(/** @type {HTMLVideoElement} */ (video))) continue;
      this.#observer?.unobserve(video);
      this.#seen.delete(video);
    }
    for (const video of videos) {
      if (this.#seen.has(video)) continue;
      this.#seen.set(video, true);
      this.#observer?.observe(video);
    }
  }

  stop() {
    this.#observer?.disconnect();
  }
}

/** The elements of the page that may show a video. @returns {HTMLVideoElement[]} */
function shownVideos() {
  const { document } = globalThis;
  const roots = document
    ? [document, ...[...document.querySelectorAll("sbe-call")].map((each) => each.shadowRoot)]
    : [];
  return roots.flatMap((root) => [...(root?.querySelectorAll("video") ?? [])]);
}

/**
 * Return how wide a whole picture is on the screen, in device pixels, although the element may cut its sides off.
 * An element without a size may be drawn elsewhere, so it has no limit.
 *
 * @param {HTMLVideoElement} video
 */
export function widthOf(video) {
  const { clientWidth: width, clientHeight: height, videoWidth, videoHeight } = video;
  if (!width || document.pictureInPictureElement === video) return Infinity;
  const filling = videoHeight ? (height * videoWidth) / videoHeight : width;
  const shown = getComputedStyle(video).objectFit === "cover" ? Math.max(width, filling) : Math.min(width, filling);
  return Math.ceil((shown * devicePixelRatio) / STEP) * STEP;
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
