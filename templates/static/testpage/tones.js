/* Ring tones that are synthesised: two soft notes, and no file to load. */

const INCOMING = { notes: [659.25, 830.61], everyMs: 2_600, level: 0.09 };
const WAITING = { notes: [440], everyMs: 3_800, level: 0.035 };

/** @type {AudioContext | null} */
let context = null;
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;
/** @type {keyof typeof TONES | null} */
let playing = null;
const TONES = { incoming: INCOMING, waiting: WAITING };

/** @param {"incoming" | "waiting" | null} tone the tone to play from now on; null for silence */
export function play(tone) {
  if (tone === playing) return;
  playing = tone;
  clearInterval(timer);
  if (tone === null) void context?.suspend();
  // Before the user has clicked or typed, the browser allows no sound, and the call rings silently.
  else if (navigator.userActivation?.hasBeenActive ?? true) begin(tone);
  else for (const type of ["pointerup", "keyup"]) addEventListener(type, begun, { once: true });
}

/** The user has clicked or typed for the first time. */
function begun() {
  for (const type of ["pointerup", "keyup"]) removeEventListener(type, begun);
  if (playing !== null) begin(playing);
}

/** @param {keyof typeof TONES} tone */
function begin(tone) {
  clearInterval(timer);
  context ??= new AudioContext();
  void context.resume();
  strike(TONES[tone]);
  timer = setInterval(() => strike(TONES[tone]), TONES[tone].everyMs);
}

/** @param {{notes: number[], level: number}} tone */
function strike({ notes, level }) {
  if (context === null) return;
  const ctx = context;
  notes.forEach((frequency, index) => {
    const start = ctx.currentTime + 0.03 + index * 0.22;
    const gain = ctx.createGain();
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(level, start + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.0001, start + 0.9);
    const oscillator = ctx.createOscillator();
    oscillator.type = "sine";
    oscillator.frequency.value = frequency;
    oscillator.connect(gain).connect(ctx.destination);
    oscillator.start(start);
    oscillator.stop(start + 1);
  });
}
