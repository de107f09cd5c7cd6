import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Pauses, SentLayers, Tiles } from "../../templates/static/sbe/upkeep.js";
import { Desk } from "./support/conference.js";

/** Let all promises settle that wait for nothing else. */
async function settle(turns = 20) {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A connection that sends one video in three layers. Each change of a layer is recorded. */
class Sending extends EventTarget {
  signalingState = "stable";
  encodings = ["0", "1", "2"].map((rid) => ({ rid, active: true }));
  /** @type {string[]} */
  changes = [];
  refuses = false;

  /** The layers that are sent. */
  get active() {
    return this.encodings.flatMap(({ rid, active }) => (active ? [rid] : [])).join("");
  }

  getTransceivers() {
    return [
      { mid: null, sender: this.#sender },
      { mid: "1", sender: this.#sender },
    ];
  }

  /** Apply a description, after which Chromium sends all layers again. */
  negotiate() {
    for (const state of ["have-remote-offer", "stable"]) {
      this.signalingState = state;
      this.encodings.forEach((encoding) => (encoding.active = true));
      this.dispatchEvent(new Event("signalingstatechange"));
    }
  }

  #sender = {
    getParameters: () => ({ encodings: structuredClone(this.encodings) }),
    setParameters: async (/** @type {{encodings: Sending["encodings"]}} */ { encodings }) => {
      await settle(2);
      if (this.refuses) throw new DOMException("busy", "InvalidStateError");
      this.encodings = encodings;
      this.changes.push(this.active);
    },
  };
}

/** @param {Sending} pc */
function layersOf(pc) {
  const layers = new SentLayers(/** @type {any} */ (pc));
  return (/** @type {string} */ rids, mid = "1") =>
    layers.learn({ type: "layers", confId: "conf", mid, rids: [...rids] });
}

test("the layers that the focus does not need are switched off, and on again", async () => {
  const pc = new Sending();
  const hear = layersOf(pc);
  hear("0");
  await settle();
  assert.equal(pc.active, "0");
  hear("02");
  await settle();
  assert.equal(pc.active, "02");
});

test("the newest event wins, and an event that changes nothing touches nothing", async () => {
  const pc = new Sending();
  const hear = layersOf(pc);
  for (const rids of ["0", "01", "012", "02"]) hear(rids);
  await settle();
  assert.deepEqual(pc.changes, ["02"]);
  hear("02");
  hear("0", "7");
  await settle();
  assert.deepEqual(pc.changes, ["02"]);
});

test("after a negotiation, the unneeded layers are switched off again", async () => {
  const pc = new Sending();
  layersOf(pc)("01");
  await settle();
  pc.negotiate();
  await settle();
  assert.equal(pc.active, "01");
});

test("a refused change is tried again after the negotiation", async () => {
  const pc = new Sending();
  pc.refuses = true;
  layersOf(pc)("0");
  await settle();
  assert.equal(pc.active, "012");
  pc.refuses = false;
  pc.negotiate();
  await settle();
  assert.equal(pc.active, "0");
});

test("a layer that the page itself has switched off stays off", async () => {
  const pc = new Sending();
  pc.encodings[2].active = false;
  const hear = layersOf(pc);
  hear("0");
  await settle();
  hear("012");
  await settle();
  assert.equal(pc.active, "01");
});

test("each event replaces what is paused, and one that was not repeated is forgotten", () => {
  let now = 0;
  const clock = mock.method(performance, "now", () => now);
  const leg = { paused: {} };
  let changes = 0;
  const pauses = new Pauses(leg, () => (changes += 1));
  const camera = { participant: "b", label: "video" };
  pauses.learn({ videos: [camera, { participant: "b", label: "screen" }, { participant: "c", label: "screen" }] });
  assert.deepEqual(leg.paused, { b: { camera: true, screen: true }, c: { screen: true } });
  pauses.learn({ videos: [camera] });
  pauses.learn({ videos: [camera] });
  assert.deepEqual([leg.paused, changes], [{ b: { camera: true } }, 2]);
  for (; now < 20_000; now += 5_000) pauses.tick();
  assert.deepEqual(leg.paused, { b: { camera: true } });
  for (; now < 40_000; now += 5_000) pauses.tick();
  assert.deepEqual([leg.paused, changes], [{}, 3]);
  clock.mock.restore();
});

test("a call with a focus loads the module, and says which videos are paused", async () => {
  // Node has no codecs.
  Object.assign(globalThis, { RTCRtpReceiver: { getCapabilities: () => null } });
  const desk = new Desk();
  await desk.call.invite(["bob"], { video: true, topology: "focus" });
  await import("../../templates/static/sbe/upkeep.js");
  await settle();
  await desk.hear({
    type: "paused-videos",
    videos: [{ participant: "bob", label: "video" }],
    reason: "slow-connection",
  });
  assert.deepEqual(desk.call.others[0].paused, { camera: true });
});

// ── the sizes of the tiles ────────────────────────────────────────────────

/** A page with `<video>` elements, and a connection whose data channel records what is sent. */
class Page {
  /** @type {any[]} */
  videos = [];
  /** @type {any[]} */
  sent = [];
  /** @type {(entries: any[]) => void} */
  look = () => {};
  channel = { readyState: "connecting", send: (/** @type {string} */ text) => this.sent.push(JSON.parse(text).widths) };

  constructor() {
    const page = this;
    Object.assign(globalThis, {
      devicePixelRatio: 2,
      document: { querySelectorAll: (/** @type {string} */ of) => (of === "video" ? [...this.videos] : []) },
      getComputedStyle: (/** @type {any} */ { objectFit }) => ({ objectFit }),
      IntersectionObserver: class {
        /** @param {Page["look"]} look */
        constructor(look) {
          page.look = look;
        }
        observe() {}
        unobserve() {}
      },
    });
    this.leg = {
      pc: { createDataChannel: () => this.channel },
      midOf: (/** @type {any} */ track) => track?.mid ?? null,
    };
    this.tiles = new Tiles(/** @type {any} */ (this.leg));
  }

  /** Show the track of a section. @param {string} mid @param {object} [how] */
  show(mid, how = {}) {
    const size = { clientWidth: 320, clientHeight: 180, videoWidth: 640, videoHeight: 360, objectFit: "cover" };
    const video = { ...size, srcObject: { getVideoTracks: () => [{ mid }] }, ...how };
    this.videos.push(video);
    return video;
  }
}

test("the widths of the tiles are told in device pixels, once the channel is open and after each change", () => {
  const page = new Page();
  const video = page.show("3");
  page.tiles.report();
  assert.deepEqual(page.sent, []);
  page.channel.readyState = "open";
  for (let round = 0; round < 3; round += 1) page.tiles.report();
  assert.deepEqual(page.sent, [{ 3: 640 }]);
  video.clientWidth = 319;
  page.tiles.report();
  assert.equal(page.sent.length, 1);
  video.clientWidth = 160;
  video.clientHeight = 90;
  page.tiles.report();
  assert.deepEqual(page.sent[1], { 3: 320 });
});

test("a tile that cuts the sides off needs a wider picture than it is, and one with borders a narrower one", () => {
  const page = new Page();
  page.channel.readyState = "open";
  page.show("1", { clientWidth: 180, clientHeight: 180 });
  page.show("2", { clientWidth: 320, clientHeight: 90, objectFit: "contain" });
  page.tiles.report();
  assert.deepEqual(page.sent, [{ 1: 640, 2: 320 }]);
});

test("a tile out of view needs nothing, unless the video is shown elsewhere too", () => {
  const page = new Page();
  page.channel.readyState = "open";
  const [one, two] = [page.show("1"), page.show("2")];
  page.show("2", { clientWidth: 80, clientHeight: 45 });
  page.tiles.report();
  page.look([one, two].map((target) => ({ target, isIntersecting: false })));
  assert.deepEqual(page.sent[1], { 1: 0, 2: 160 });
  page.look([{ target: one, isIntersecting: true }]);
  assert.deepEqual(page.sent[2], { 1: 640, 2: 160 });
});

test("a video without a visible element has no limit: a page may draw it elsewhere", () => {
  const page = new Page();
  page.channel.readyState = "open";
  page.show("1", { clientWidth: 0 });
  page.show("2", { srcObject: null });
  page.show("3");
  page.tiles.report();
  page.videos.pop();
  page.tiles.report();
  assert.deepEqual(page.sent, [{ 3: 640 }, {}]);
});
