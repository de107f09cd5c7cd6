import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal } from "../../templates/static/sbe/errors.js";
import { errorWords, isSilent, noticeWords, pictureless } from "../../templates/static/testpage/words.js";

/** @param {Record<string, unknown>} fields */
const refusal = (fields) => new Refusal({ status: 429, code: "rate-limited", detail: "", fields });

for (const [retryAfterMs, wait] of /** @type {[number | undefined, string][]} */ ([
  [24_001, "in 25 seconds"],
  [1_000, "in 1 second"],
  [120_000, "in 2 minutes"],
  [30_720_000, "in 9 hours"],
  [undefined, "later"],
])) {
  test(`after a denial, a guest may ask again ${wait}`, () => {
    const words = errorWords(refusal({ reason: "denied", retryAfterMs }));
    assert.equal(words, `The host did not let you in. You can ask again ${wait}.`);
  });
}

test("too many requests are no denial", () => {
  assert.match(errorWords(refusal({ retryAfterMs: 60_000 })), /Too many attempts/);
});

test("a call without pictures is what it is: an audio call, a call with the cameras off, or a participant without devices", () => {
  const other = { muted: { audio: false }, noMicrophone: false };
  assert.equal(pictureless({ video: false }, other, false), "Audio call");
  assert.equal(pictureless({ video: true }, other, false), "Both cameras are off");
  assert.equal(pictureless({ video: true }, other, true), "The camera is off");
  assert.equal(pictureless({ video: true }, undefined, true), "The camera is off");
  assert.equal(pictureless({ video: true }, { ...other, noMicrophone: true }, true), "No microphone and no camera");
  assert.deepEqual([isSilent(other), isSilent({ ...other, noMicrophone: true })], [false, true]);
});

test("a guest has one name in notices as on tiles", () => {
  const who = "Gina (guest 9319)";
  assert.equal(noticeWords({ code: "left", reason: "hung-up", who }, "")?.text, "Gina (guest) left.");
});
