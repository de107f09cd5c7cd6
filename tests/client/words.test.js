import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal } from "../../templates/static/sbe/errors.js";
import { errorWords, otherDevice, ringingDevice } from "../../templates/static/testpage/words.js";

/** @param {Record<string, unknown>} fields */
const refusal = (fields) => new Refusal({ status: 429, code: "rate-limited", detail: "", fields });

for (const [retryAfterMs, wait] of /** @type {[number | undefined, string][]} */ ([
  [24_001, "in 25 seconds"],
  [1_000, "in 1 second"],
  [120_000, "in 2 minutes"],
  [30_720_000, "in 9 hours"],
  [undefined, "later"],
])) {
  test(`a person whom the host has denied may ask again ${wait}`, () => {
    const words = errorWords(refusal({ reason: "denied", retryAfterMs }));
    assert.equal(words, `The host did not let you in. You can ask again ${wait}.`);
  });
}

test("too many requests are no denial", () => {
  assert.match(errorWords(refusal({ retryAfterMs: 60_000 })), /Too many attempts/);
});

test("another device with the same name is distinguishable", () => {
  assert.equal(otherDevice("computer", "computer"), "another computer");
  assert.equal(otherDevice("phone", "computer"), "phone");
  assert.equal(otherDevice("", "computer"), "a device without a name");
});

test("a device that has never read events may not ring", () => {
  assert.equal(ringingDevice({ device: "laptop", followed: true }, "phone"), "laptop");
  // An older back end does not say.
  assert.equal(ringingDevice({ device: "laptop" }, "phone"), "laptop");
  assert.match(ringingDevice({ device: "laptop", followed: false }, "laptop"), /^another laptop \(may not ring: /);
});
