import assert from "node:assert/strict";
import { test } from "node:test";

import { otherDevice, ringingDevice } from "../../templates/static/testpage/words.js";

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
