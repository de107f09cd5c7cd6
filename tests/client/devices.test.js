import assert from "node:assert/strict";
import { test } from "node:test";

import { changeOf, mayReturn } from "../../templates/static/sbe/devices.js";

/** @param {MediaDeviceKind} kind @param {string} deviceId */
function device(kind, deviceId) {
  return { kind, deviceId, label: deviceId };
}

const HEADSET = device("audioinput", "headset");
const BUILT_IN = device("audioinput", "built-in");
const WEBCAM = device("videoinput", "webcam");

test("a change of the devices names those that were added and removed", () => {
  const change = changeOf([HEADSET, WEBCAM], [WEBCAM, BUILT_IN]);
  assert.deepEqual(change, { devices: [WEBCAM, BUILT_IN], added: [BUILT_IN], removed: [HEADSET] });
});

test("a device that is both microphone and speaker counts twice", () => {
  const speaker = device("audiooutput", "headset");
  assert.deepEqual(changeOf([HEADSET], [HEADSET, speaker]).added, [speaker]);
});

test("who uses the default microphone gets any that is there", () => {
  const ids = { chosen: "", lost: "headset" };
  assert.equal(mayReturn("microphone", ids, [BUILT_IN]), true);
  assert.equal(mayReturn("microphone", ids, [WEBCAM]), false);
});

test("who chose a microphone gets it back, and no other", () => {
  const ids = { chosen: "headset", lost: "headset" };
  assert.equal(mayReturn("microphone", ids, [BUILT_IN]), false);
  assert.equal(mayReturn("microphone", ids, [BUILT_IN, HEADSET]), true);
});

test("no other camera than the lost one opens by itself", () => {
  const other = device("videoinput", "other");
  for (const chosen of ["", "webcam"]) {
    assert.equal(mayReturn("camera", { chosen, lost: "webcam" }, [other]), false);
    assert.equal(mayReturn("camera", { chosen, lost: "webcam" }, [other, WEBCAM]), true);
  }
});
