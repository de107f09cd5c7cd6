import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Path, Quality, Pauses, SentLayers, Tiles, watchNetwork } from "../../templates/static/sbe/upkeep.js";
import { Desk } from "./support/conference.js";

/** @typedef {import("../../templates/static/sbe/reception.js").Receiving} Receiving */

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

// ── samples of quality ────────────────────────────────────────────────────

test("samples are reported once a minute, and at the end", async (context) => {
  let now = 0;
  context.mock.method(performance, "now", () => now);
  const pc = {
    signalingState: /** @type {RTCSignalingState} */ ("stable"),
    getStats: async () => /** @type {any} */ (new Map([["T", { type: "transport", timestamp: now }]])),
  };
  /** @type {any[]} */
  const sent = [];
  const quality = new Quality(pc, async (body) => {
    sent.push(body);
    throw new Error("The enabler is away.");
  });
  for (let number = 0; number < 15; number++) {
    await quality.tick();
    now += 5_000;
  }
  assert.deepEqual(
    sent.map(({ samples }) => samples.length),
    [12],
  );
  assert.equal(sent[0].samples[0].periodMs, 5_000);
  pc.signalingState = "closed";
  await quality.tick();
  await quality.tick();
  assert.deepEqual(
    sent.map(({ samples }) => samples.length),
    [12, 2],
  );
});

// ── the path to the focus ─────────────────────────────────────────────────

/** A call over a path, and its clock. */
class Trip {
  now = 1_000_000;
  /** When ICE was restarted, in ms. @type {number[]} */
  restarts = [];
  packets = 0;
  arriving = 1;
  /** @type {Receiving} */
  receiving = "live";
  /** @type {"new" | "connected" | "disconnected" | "failed"} */
  connectionState = "connected";
  /** Settles an offer. @type {() => Promise<unknown>} */
  settled = async () => "accepted";
  #begunAt = this.now;
  #offersRestart = false;

  /** @param {import("node:test").TestContext} context */
  constructor(context) {
    context.mock.method(performance, "now", () => this.now);
    const trip = this;
    const pc = {
      get connectionState() {
        return trip.connectionState;
      },
      getStats: async () => new Map([["T", { type: "transport", packetsReceived: trip.packets }]]),
      restartIce: () => (this.#offersRestart = true),
    };
    const call = {
      get receiving() {
        return trip.receiving;
      },
      modify: () => {
        assert.ok(this.#offersRestart);
        this.restarts.push(this.now - this.#begunAt);
        return this.settled();
      },
    };
    this.path = new Path(call, /** @type {any} */ (pc));
  }

  /** Let time pass. @param {number} ms @param {() => void} [each] is called every 250 ms */
  async pass(ms, each = () => {}) {
    for (let passed = 0; passed < ms; passed += 250) {
      this.now += 250;
      this.packets += this.arriving;
      each();
      void this.path.judge();
      await settle(2);
    }
  }

  /** Nothing arrives any more. */
  break() {
    this.arriving = 0;
    this.receiving = "silent";
  }
}

test("a path that carries nothing is restarted at once, and again only if that did not help", async (context) => {
  const trip = new Trip(context);
  await trip.pass(5_000);
  trip.break();
  await trip.pass(1_000);
  assert.deepEqual(trip.restarts, [5_750]);
  trip.arriving = 1;
  await trip.pass(60_000);
  assert.equal(trip.restarts.length, 1);
});

test("a path is not restarted if only the others are silent", async (context) => {
  const trip = new Trip(context);
  trip.receiving = "silent";
  await trip.pass(60_000);
  assert.deepEqual(trip.restarts, []);
});

test("another network restarts the path at once, although packets seem to arrive", async (context) => {
  const trip = new Trip(context);
  await trip.path.renew();
  assert.deepEqual(trip.restarts, [0]);
  await trip.pass(60_000);
  assert.equal(trip.restarts.length, 1);
});

test("a path that the browser reports as disconnected is restarted, a new or failed one is not", async (context) => {
  const trip = new Trip(context);
  for (const state of /** @type {const} */ (["new", "failed"])) {
    trip.connectionState = state;
    trip.break();
    await trip.path.renew();
    await trip.pass(5_000);
  }
  assert.deepEqual(trip.restarts, []);
  trip.receiving = "idle";
  trip.connectionState = "disconnected";
  await trip.pass(250);
  assert.equal(trip.restarts.length, 1);
});

test("a network that changes each second for a minute causes few restarts, and one for the last change", async (context) => {
  const trip = new Trip(context);
  await trip.pass(60_000, () => void (trip.now % 1_000 || trip.path.renew()));
  assert.ok(trip.restarts.length <= 5, `${trip.restarts}`);
  const before = trip.restarts.length;
  await trip.pass(31_000);
  assert.equal(trip.restarts.length, before + 1);
  await trip.pass(61_000);
  await trip.path.renew();
  await trip.pass(3_000);
  await trip.path.renew();
  assert.equal(trip.restarts.length, before + 3);
});

test("no restart begins while another one is in progress", async (context) => {
  const trip = new Trip(context);
  trip.settled = () => new Promise(() => {});
  trip.break();
  await trip.pass(60_000);
  assert.equal(trip.restarts.length, 1);
});

test("a restart that is refused is tried again, more and more rarely", async (context) => {
  const trip = new Trip(context);
  trip.settled = () => Promise.reject(new Error("refused"));
  trip.break();
  await trip.pass(10_000);
  assert.deepEqual(trip.restarts, [750, 3_750, 9_750]);
});

test("the network has changed if the device is online again, or has another type of connection", (context) => {
  const [page, connection] = [new EventTarget(), Object.assign(new EventTarget(), { type: "wifi" })];
  const { addEventListener, removeEventListener } = globalThis;
  Object.assign(globalThis, {
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
  });
  Object.defineProperty(globalThis, "navigator", { value: { connection }, configurable: true });
  context.after(() => {
    Reflect.deleteProperty(globalThis, "navigator");
    Object.assign(globalThis, { addEventListener, removeEventListener });
  });
  let changes = 0;
  const stop = watchNetwork(() => (changes += 1));
  const all = () => {
    page.dispatchEvent(new Event("online"));
    connection.dispatchEvent(new Event("change"));
    connection.type = "cellular";
    connection.dispatchEvent(new Event("change"));
  };
  all();
  assert.equal(changes, 2);
  stop();
  connection.type = "wifi";
  all();
  assert.equal(changes, 2);
});
