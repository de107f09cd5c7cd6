/** @typedef {new (init: {track: MediaStreamTrack}) => {readable: ReadableStream<AudioData>}} AudioProcessor */

const EVERY_MS = 100;
const BARS = 5;
// The loudness in decibels of full scale at which the first bar and all bars are lit.
const QUIET_DB = -55;
const LOUD_DB = -15;

/**
 * Shows how loud a microphone is, in a row of bars (`data-level` from 0 to 5). Without a microphone it is hidden.
 *
 * Chromium starts no AudioContext before the user has clicked or typed, even while the page captures the microphone. So
 * the samples come from a `MediaStreamTrackProcessor` where the browser has one. Other browsers make that exception.
 */
export class LevelMeter {
  #element;
  /** @type {ReadableStreamDefaultReader<AudioData> | null} */
  #reader = null;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    for (const gesture of ["pointerdown", "keydown"])
      document.addEventListener(gesture, () => void this.#context?.resume(), { capture: true });
  }

  /** @param {MediaStreamTrack | null} track of the microphone; null for none */
  follow(track) {
    if (track === this.#track) return;
    this.#stop();
    this.#track = track;
    const { MediaStreamTrackProcessor: Processor } = /** @type {{MediaStreamTrackProcessor?: AudioProcessor}} */ (
      globalThis
    );
    if (track && Processor) void this.#read(new Processor({ track }).readable.getReader());
    else this.#start();
  }

  /** @param {ReadableStreamDefaultReader<AudioData>} reader */
  async #read(reader) {
    this.#reader = reader;
    let shownAt = 0;
    for (;;) {
      const { value: data } = await reader.read();
      if (data === undefined || reader !== this.#reader) return data?.close();
      if (performance.now() - shownAt > EVERY_MS) {
        shownAt = performance.now();
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        this.#element.hidden = false;
        this.#show(levelOf(samples));
      }
      data.close();
    }
  }

  #start() {
    if (this.#track === null || this.#context !== null) return;
    // Nothing is played, so no output device is needed. Firefox ignores the option.
    const context = new AudioContext(/** @type {AudioContextOptions} */ ({ sinkId: { type: "none" } }));
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([this.#track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.#show(levelOf(samples));
    }, EVERY_MS);
    this.#context = context;
    // Without an output device, Firefox does not start the context. The bars would claim that the microphone is silent.
    context.onstatechange = () => {
      if (this.#context === context) this.#element.hidden = context.state !== "running";
    };
  }

  #stop() {
    clearInterval(this.#timer);
    void this.#reader?.cancel();
    this.#reader = null;
    void this.#context?.close();
    this.#context = null;
    this.#element.hidden = true;
    this.#show(0);
  }

  /** @param {number} level */
  #show(level) {
    this.#element.dataset.level = String(level);
  }
}

/** @param {Float32Array} samples @returns {number} from 0 to 5 */
function levelOf(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const share = (10 * Math.log10(power + 1e-12) - QUIET_DB) / (LOUD_DB - QUIET_DB);
  return Math.round(BARS * Math.min(1, Math.max(0, share)));
}
