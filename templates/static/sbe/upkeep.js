import { bodyOf, deviceKind, sampleOf } from "./samples.js";
import { every } from "./waiting.js";

/**
 * @typedef {import("./event-types.js").SessionEvent} SessionEvent
 * @typedef {import("./event-types.js").Layers} Layers
 * @typedef {import("./event-types.js").PausedVideos} PausedVideos
 * @typedef {import("./focus.js").FocusLeg} FocusLeg
 * @typedef {import("./emitter.js").Emitter<{event: SessionEvent, change: null}>} Events a call's events
 * @typedef {import("./reception.js").Receiving} Receiving
 * @typedef {{receiving: Receiving, modify: () => Promise<unknown>}} Talk the part of a call that a path needs
 * @typedef {import("./samples.js").Sample} Sample
 * @typedef {{rest: Pick<import("./rest.js").Rest, "send">, conferencesUrl: string}} Around
 */

const TICK_MS = 5_000;
/** The number of samples in a report. */
const SAMPLES = 12;
/** How often the sizes of the tiles are compared with what the focus knows. */
const MEASURE_MS = 500;
/** The label of the data channel to the focus itself. */
const TILES = "sbe-tiles";
/** Small changes of a size are not worth a message, in pixels. */
const STEP = 16;
/** The focus repeats what is paused every 10 s. An older event no longer counts. */
const PAUSE_MS = 25_000;
/** How often a path is judged. */
const JUDGE_MS = 250;
/** A path that carries no packet for this long, after media has stopped, is broken. */
const NO_PACKET_MS = 400;
/** The least time between two ICE restarts. It doubles with each restart, and is the first again after a calm time. */
const FIRST_WAIT_MS = 3_000;
const LONGEST_WAIT_MS = 30_000;
const CALM_MS = 60_000;

/*
 * What a call does for one connection with a focus, so that each side sends only what the other can use, and a broken
 * path is replaced soon. The call loads this module when it has such a connection. Without the module, the call goes on:
 * it then sends all layers, gets pictures that are larger than needed, and recovers later.
 */

/**
 * Serve a connection until it is closed.
 *
 * @param {Events & Talk & {confId: string | null, around: Around}} call
 * @param {FocusLeg} leg its connection
 */
export function keepUp(call, leg) {
  const { rest, conferencesUrl } = call.around;
  const url = `${conferencesUrl}/${call.confId}/quality`;
  const quality = new Quality(leg.pc, (body) => rest.send({ method: "POST", url, body }));
  const layers = new SentLayers(leg.pc);
  const pauses = new Pauses(leg, () => call.emit("change", null));
  const stopHearing = call.on("event", (event) => {
    if (event.type === "layers") layers.learn(event);
    if (event.type === "paused-videos") pauses.learn(event);
  });
  const tiles = new Tiles(leg);
  const path = new Path(call, leg.pc);
  const stopWatching = watchNetwork(() => path.renew());
  const stopJudging = every(JUDGE_MS, () => path.judge());
  const stopMeasuring = every(MEASURE_MS, async () => tiles.report());
  const stopTicking = every(TICK_MS, async () => {
    pauses.tick();
    void quality.tick();
    if (leg.pc.signalingState !== "closed") return;
    tiles.stop();
    stopHearing();
    stopMeasuring();
    stopWatching();
    stopJudging();
    stopTicking();
  });
}

/** Samples the quality of a connection, and reports it once a minute and at the end. */
export class Quality {
  #pc;
  #send;
  /** @type {RTCStatsReport | undefined} */
  #last;
  /** @type {{at: number, sample: Sample}[]} */
  #samples = [];

  /** @param {Pick<RTCPeerConnection, "getStats" | "signalingState">} pc @param {(body: object) => Promise<unknown>} send */
  constructor(pc, send) {
    this.#pc = pc;
    this.#send = send;
  }

  async tick() {
    const isOver = this.#pc.signalingState === "closed";
    const stats = isOver ? undefined : await this.#pc.getStats();
    const sample = this.#last && stats && sampleOf(this.#last, stats);
    this.#last = stats;
    if (sample) this.#samples.push({ at: performance.now(), sample });
    if (this.#samples.length < (isOver ? 1 : SAMPLES)) return;
    const body = bodyOf(this.#samples, performance.now(), deviceKind(globalThis.navigator ?? { userAgent: "" }));
    this.#samples = [];
    await this.#send(body).catch(() => undefined);
  }
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

/**
 * Call a function when the device has joined another network. `online` is the event of every browser. A phone that
 * changes from Wi-Fi to the mobile network may never be offline, but its type of connection changes. The `change` event
 * itself proves nothing: it also reports a new estimate of the bit rate.
 *
 * @param {() => void} onChange @returns {() => void} stops it
 */
export function watchNetwork(onChange) {
  const { connection } = /** @type {{connection?: EventTarget & {type?: string}}} */ (globalThis.navigator ?? {});
  let type = connection?.type;
  const compare = () => {
    if (type !== connection?.type) onChange();
    type = connection?.type;
  };
  globalThis.addEventListener?.("online", onChange);
  connection?.addEventListener("change", compare);
  return () => {
    globalThis.removeEventListener("online", onChange);
    connection?.removeEventListener("change", compare);
  };
}

/**
 * Restarts ICE as soon as the path to the focus is broken. Browsers report a failed connection only after 15 s; `Recovery`
 * then restarts it.
 */
export class Path {
  #call;
  #pc;
  /** Whether the network has changed since the last restart. */
  #hasChanged = false;
  /** Whether a restart is in progress. */
  #isRestarting = false;
  #packets = -1;
  /** When the last packet arrived, as far as is known. */
  #arrivedAt = Infinity;
  #restartedAt = -Infinity;
  #waitMs = FIRST_WAIT_MS;

  /** @param {Talk} call @param {Pick<RTCPeerConnection, "connectionState" | "getStats" | "restartIce">} pc */
  constructor(call, pc) {
    this.#call = call;
    this.#pc = pc;
  }

  /** Restart ICE soon, because the network has changed. */
  renew() {
    this.#hasChanged = true;
    return this.judge();
  }

  /** Restart ICE if the path is broken. On a path that breaks again and again, restarts become rarer. */
  async judge() {
    const carriesNothing = await this.#carriesNothing();
    const { connectionState } = this.#pc;
    const isBroken = carriesNothing || this.#hasChanged || connectionState === "disconnected";
    const sinceMs = performance.now() - this.#restartedAt;
    if (!isBroken || this.#isRestarting || sinceMs < this.#waitMs) return;
    this.#hasChanged = false;
    // A new connection has no path yet, and a failed one is restarted by `Recovery`.
    if (!["connected", "disconnected"].includes(connectionState)) return;
    this.#waitMs = sinceMs > CALM_MS ? FIRST_WAIT_MS : Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
    this.#restartedAt = performance.now();
    await this.#restart();
  }

  async #restart() {
    this.#isRestarting = true;
    // The flag remains until an offer with new credentials is accepted. So the offer needs no candidates of the new
    // network yet: the focus learns them from the connectivity checks.
    this.#pc.restartIce();
    await this.#call.modify().catch(() => undefined);
    this.#isRestarting = false;
  }

  /** Whether no packet of any kind arrives. Counters are read only while no media arrives. */
  async #carriesNothing() {
    if (this.#call.receiving !== "silent") {
      this.#arrivedAt = Infinity;
      return false;
    }
    const packets = await this.#countPackets();
    if (packets !== this.#packets || this.#arrivedAt === Infinity) this.#arrivedAt = performance.now();
    this.#packets = packets;
    return performance.now() - this.#arrivedAt >= NO_PACKET_MS;
  }

  /** Count the packets of media, feedback and data that have arrived. */
  async #countPackets() {
    let packets = 0;
    for (const report of (await this.#pc.getStats()).values())
      if (report.type === "transport") packets += report.packetsReceived ?? 0;
    return packets;
  }
}
