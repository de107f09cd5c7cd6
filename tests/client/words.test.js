import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal } from "../../templates/static/sbe/errors.js";
import { errorWords } from "../../templates/static/testpage/words.js";

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
