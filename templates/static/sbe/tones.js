/* Ring tones that are synthesised: two soft notes, and no file to load. */

const INCOMING = { notes: [659.25, 830.61], everyMs: 2_600, level: 0.09 };
const WAITING = { notes: [440], everyMs: 3_800, level: 0.035 };

const TONES = { incoming: INCOMING, waiting: WAITING };
const GESTURES = ["pointerup", "keyup"];

/** @typedef {"incoming" | "waiting"} Tone */

/** Plays one tone at a time, again and again. */
export class Ringer {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {Tone | null} */
  #playing = null;
  /** The user has clicked or typed for the first time. */
  #begun = () => {
    for (const type of GESTURES) removeEventListener(type, this.#begun);
    if (this.#playing !== null) this.#begin(this.#playing);
  };

  /** @param {Tone | null} tone the tone to play from now on; null for silence */
  play(tone) {
    if (tone === this.#playing) return;
    this.#playing = tone;
    clearInterval(this.#timer);
    if (tone === null) void this.#context?.suspend();
    // Before the user has clicked or typed, the browser allows no sound, and the call rings silently.
    else if (navigator.userActivation?.hasBeenActive ?? true) this.#begin(tone);
    else for (const type of GESTURES) addEventListener(type, this.#begun, { once: true });
  }

  /** @param {Tone} tone */
  #begin(tone) {
    clearInterval(this.#timer);
    const context = (this.#context ??= new AudioContext());
    void context.resume();
    strike(context, TONES[tone]);
    this.#timer = setInterval(() => strike(context, TONES[tone]), TONES[tone].everyMs);
  }
}

/** @param {AudioContext} context @param {{notes: number[], level: number}} tone */
function strike(context, { notes, level }) {
  notes.forEach((frequency, index) => {
    const start = context.currentTime + 0.03 + index * 0.22;
    const gain = context.createGain();
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(level, start + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.0001, start + 0.9);
    const oscillator = context.createOscillator();
    oscillator.type = "sine";
    oscillator.frequency.value = frequency;
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + 1);
  });
}
