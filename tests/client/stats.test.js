import assert from "node:assert/strict";
import { test } from "node:test";
import { readArrivals } from "../../templates/static/sbe/stats.js";

/** A connection whose statistics are these reports. @param {object[]} reports */
const connection = (...reports) =>
  /** @type {RTCPeerConnection} */ (
    /** @type {unknown} */ ({ getStats: async () => new Map(reports.map((report, at) => [String(at), report])) })
  );

/** @param {object} pair the counters of the candidate pair in use */
const pathOf = async (pair) => {
  const pc = connection({ type: "candidate-pair", ...pair });
  return (await readArrivals(pc, { endsAtParticipant: true })).path ?? NaN;
};

test("any packet on the path counts, in the statistics of Chromium and in those of Firefox", async () => {
  const chromium = { packetsReceived: 10, bytesReceived: 900, requestsReceived: 4, responsesReceived: 5 };
  const before = await pathOf(chromium);
  for (const counter of ["bytesReceived", "requestsReceived", "responsesReceived"])
    assert.ok((await pathOf({ ...chromium, [counter]: 901 })) > before, counter);
  const firefox = { bytesReceived: 900, responsesReceived: 1 };
  assert.ok((await pathOf({ ...firefox, bytesReceived: 928 })) > (await pathOf(firefox)));
});

test("a path to a focus proves nothing about a participant", async () => {
  const pc = connection({ type: "candidate-pair", bytesReceived: 900 });
  assert.equal((await readArrivals(pc, { endsAtParticipant: false })).path, null);
});
