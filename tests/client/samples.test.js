import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, deviceKind, MOST_SAMPLES, sampleOf } from "../../templates/static/sbe/samples.js";

/** Return the result of getStats() at this time. @param {number} timestamp @param {Record<string, object>} reports */
const stats = (timestamp, reports) =>
  new Map(Object.entries(reports).map(([id, report]) => [id, { id, timestamp, ...report }]));

/** The sample of five seconds. @param {Record<string, object>} before @param {Record<string, object>} after */
const sample = (before, after) => {
  const found = sampleOf(stats(1_000, before), stats(6_000, after));
  assert.ok(found);
  return found;
};

const path = { type: "candidate-pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.0414 };
const camera = { type: "inbound-rtp", kind: "video", frameWidth: 640, frameHeight: 360 };
const voice = { type: "inbound-rtp", kind: "audio" };

test("a call with camera and microphone is sampled in both directions", () => {
  const { periodMs, up, down } = sample(
    {
      p: path,
      a: { ...voice, bytesReceived: 1_000, packetsReceived: 100, packetsLost: 1, totalSamplesReceived: 48_000 },
      v: {
        ...camera,
        bytesReceived: 50_000,
        packetsReceived: 500,
        packetsLost: 2,
        framesDecoded: 60,
        freezeCount: 1,
        totalFreezesDuration: 0.2,
      },
      o: {
        type: "outbound-rtp",
        kind: "video",
        mid: "1",
        bytesSent: 10_000,
        framesEncoded: 30,
        retransmittedPacketsSent: 3,
      },
    },
    {
      p: path,
      a: {
        ...{ ...voice, bytesReceived: 21_000, packetsReceived: 345, packetsLost: 6, jitter: 0.0071 },
        ...{ totalSamplesReceived: 288_000, concealedSamples: 3_600, silentConcealedSamples: 1_200 },
      },
      v: {
        ...{
          ...camera,
          bytesReceived: 655_000,
          packetsReceived: 1_050,
          packetsLost: 2,
          jitter: 0.03,
          framesDecoded: 208,
        },
        ...{ freezeCount: 3, totalFreezesDuration: 0.45, retransmittedPacketsReceived: 7 },
      },
      o: {
        ...{ type: "outbound-rtp", kind: "video", mid: "1", bytesSent: 635_000, framesEncoded: 180 },
        ...{ frameWidth: 1280, frameHeight: 720, retransmittedPacketsSent: 12 },
      },
      r: { type: "remote-inbound-rtp", kind: "video", fractionLost: 0.0123, jitter: 0.002 },
    },
  );
  assert.equal(periodMs, 5_000);
  assert.deepEqual(up, {
    ...{ bitrate: 1_000_000, loss: 0.012, jitterMs: 2, roundTripMs: 41, retransmissions: 9 },
    ...{ videos: 1, framesPerSecond: 30, width: 1280, height: 720 },
  });
  assert.deepEqual(down, {
    ...{ bitrate: 1_000_000, loss: 0.02, jitterMs: 7, roundTripMs: 41, retransmissions: 7 },
    ...{ videos: 1, framesPerSecond: 30, width: 640, height: 360, freezes: 2, frozenMs: 250, concealed: 0.01 },
  });
});

test("the layers of a picture are one video, and the largest one counts", () => {
  const layer = { type: "outbound-rtp", kind: "video", mid: "1" };
  const { up } = sample(
    { q: { ...layer, framesEncoded: 0 }, h: { ...layer, framesEncoded: 0 }, f: { ...layer, framesEncoded: 7 } },
    {
      q: { ...layer, rid: "q", framesEncoded: 150, frameWidth: 160, frameHeight: 90 },
      h: { ...layer, rid: "h", framesEncoded: 75, frameWidth: 320, frameHeight: 180 },
      // The sender has paused this layer.
      f: { ...layer, rid: "f", framesEncoded: 7, frameWidth: 640, frameHeight: 360 },
    },
  );
  assert.deepEqual([up.videos, up.width, up.framesPerSecond], [1, 320, 15]);
});

test("a picture that shows nothing does not count, and the one that was frozen longest does", () => {
  const at = (/** @type {number} */ frames, /** @type {number} */ seconds, /** @type {number} */ freezeCount) => ({
    ...camera,
    framesDecoded: frames,
    totalFreezesDuration: seconds,
    freezeCount,
  });
  const { down } = sample(
    { a: at(100, 0, 0), b: at(100, 1, 1), c: at(100, 0, 0) },
    { a: at(250, 0.5, 5), b: at(150, 2.5, 2), c: at(100, 0, 0) },
  );
  assert.deepEqual([down.videos, down.freezes, down.frozenMs], [2, 1, 1_500]);
});

test("without media, only the rates are known", () => {
  assert.deepEqual(sample({ p: path }, { p: { ...path, currentRoundTripTime: undefined } }), {
    periodMs: 5_000,
    up: { bitrate: 0, retransmissions: 0, videos: 0 },
    down: { bitrate: 0, retransmissions: 0, videos: 0 },
  });
});

test("a new connection counts from zero", () => {
  const { down } = sample({ a: { ...voice, bytesReceived: 9_000_000 } }, { a: { ...voice, bytesReceived: 5_000 } });
  assert.equal(down.bitrate, 8_000);
  assert.equal(sample({ p: path }, { a: { ...voice, bytesReceived: 5_000 } }).down.bitrate, 8_000);
});

test("results that are too close together, too far apart or empty give no sample", () => {
  for (const [first, last] of [
    [1_000, 1_000],
    [1_000, 1_400],
    [2_000, 1_000],
    [0, 700_000],
  ])
    assert.equal(sampleOf(stats(first, { p: path }), stats(last, { p: path })), null);
  assert.equal(sampleOf(new Map(), new Map()), null);
});

test("no value is larger than the enabler takes", () => {
  const huge = 1e300;
  const { up, down } = sample(
    { p: path },
    {
      p: { ...path, currentRoundTripTime: huge },
      v: {
        ...{ ...camera, bytesReceived: huge, packetsReceived: 0, packetsLost: huge, framesDecoded: huge, jitter: huge },
        ...{ freezeCount: huge, totalFreezesDuration: huge, totalSamplesReceived: 1, concealedSamples: huge },
      },
      o: { type: "outbound-rtp", kind: "video", bytesSent: huge, framesEncoded: huge },
      r: { type: "remote-inbound-rtp", fractionLost: 7, jitter: NaN },
    },
  );
  assert.deepEqual(
    [up.bitrate, up.loss, up.roundTripMs, up.jitterMs, up.framesPerSecond],
    [1e9, 1, 30_000, undefined, 1_000],
  );
  assert.deepEqual(
    [down.loss, down.jitterMs, down.frozenMs, down.freezes, down.concealed],
    [1, 30_000, 30_000, 10_000, 1],
  );
});

test("a request has the newest samples with their ages", () => {
  const one = { periodMs: 5_000, up: { bitrate: 1 }, down: { bitrate: 2 } };
  const samples = Array.from({ length: MOST_SAMPLES + 5 }, (_, number) => ({ at: 5_000 * number, sample: one }));
  const body = bodyOf(samples, 5_000 * (MOST_SAMPLES + 4) + 250.4, "phone");
  assert.equal(body.device, "phone");
  assert.equal(body.samples.length, MOST_SAMPLES);
  assert.deepEqual(body.samples.at(-1), { ageMs: 250, ...one });
  assert.deepEqual(bodyOf([{ at: 0, sample: one }], 600_001, "desktop").samples, []);
});

test("phones, tablets and desktops are told apart", () => {
  const kinds = {
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36": "desktop",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/156.0.0.0 Mobile Safari/537.36": "phone",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36": "tablet",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148": "phone",
    "Mozilla/5.0 (Android 15; Tablet; rv:153.0) Gecko/153.0 Firefox/153.0": "tablet",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15": "desktop",
  };
  for (const [userAgent, kind] of Object.entries(kinds)) assert.equal(deviceKind({ userAgent }), kind, userAgent);
  const [mac] = Object.keys(kinds).filter((each) => each.includes("Macintosh"));
  assert.equal(deviceKind({ userAgent: mac, maxTouchPoints: 5 }), "tablet");
});
