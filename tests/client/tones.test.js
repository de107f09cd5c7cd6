import assert from "node:assert/strict";
import { test } from "node:test";

const page = new EventTarget();
const activation = { hasBeenActive: false };
let contexts = 0;
let strikes = 0;

/** Counts the notes that it plays. Any method and parameter of a node of the audio graph works. */
class FakeAudioContext {
  currentTime = 0;
  destination = {};

  constructor() {
    contexts += 1;
  }

  async resume() {}

  async suspend() {}

  createGain() {
    return node();
  }

  createOscillator() {
    strikes += 1;
    return node();
  }
}

function node() {
  const parameter = { value: 0, setValueAtTime() {}, linearRampToValueAtTime() {}, exponentialRampToValueAtTime() {} };
  return { gain: parameter, frequency: parameter, connect: () => node(), start() {}, stop() {} };
}

Object.defineProperty(globalThis, "navigator", { value: { userActivation: activation }, configurable: true });
Object.assign(globalThis, {
  AudioContext: FakeAudioContext,
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
});
const { Ringer } = await import("../../templates/static/sbe/tones.js");
const ringer = new Ringer();

test("before the user's first click or key there is no sound, and then there is, if it still rings", () => {
  ringer.play("incoming");
  ringer.play(null);
  page.dispatchEvent(new Event("pointerup"));
  assert.deepEqual([contexts, strikes], [0, 0]);

  ringer.play("incoming");
  assert.deepEqual([contexts, strikes], [0, 0]);
  page.dispatchEvent(new Event("keyup"));
  page.dispatchEvent(new Event("pointerup"));
  assert.deepEqual([contexts, strikes], [1, 2]);

  activation.hasBeenActive = true;
  ringer.play(null);
  ringer.play("waiting");
  assert.deepEqual([contexts, strikes], [1, 3]);
  ringer.play(null);
});
