import { Emitter } from "./emitter.js";
import { MediaError } from "./errors.js";

/**
 * @typedef {"microphone" | "camera" | "screen"} SourceName
 */

/**
 * What this side can send: at most one track each from a microphone, a camera and a screen.
 *
 * A muted microphone stays open and sends silence; a camera that is off is closed, so that its light goes out.
 * While `paused` (on hold) every track is disabled, whatever its own switch says.
 *
 * @extends {Emitter<{change: null, "screen-ended": null}>}
 */
export class LocalMedia extends Emitter {
  /** @type {Record<SourceName, MediaStreamTrack | null>} */
  #tracks = { microphone: null, camera: null, screen: null };
  #muted = false;
  #paused = false;

  constructor() {
    super();
    /** Preferred devices, by `deviceId`; empty means the browser's default. */
    this.preferred = { microphone: "", camera: "" };
  }

  get microphone() {
    return this.#tracks.microphone;
  }

  get camera() {
    return this.#tracks.camera;
  }

  get screen() {
    return this.#tracks.screen;
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    this.#announce();
  }

  get paused() {
    return this.#paused;
  }

  set paused(paused) {
    this.#paused = paused;
    this.#announce();
  }

  /** @throws {MediaError} */
  openMicrophone() {
    return this.#open("microphone", () =>
      navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...wish(this.preferred.microphone) },
      }),
    );
  }

  /** @throws {MediaError} */
  openCamera() {
    return this.#open("camera", () =>
      navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 }, ...wish(this.preferred.camera) },
      }),
    );
  }

  /** @throws {MediaError} `refused` also when the person closed the picker */
  openScreen() {
    return this.#open("screen", () => navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false }));
  }

  /** @param {SourceName} name */
  close(name) {
    const track = this.#tracks[name];
    if (track === null) return;
    track.onended = null;
    track.stop();
    this.#tracks[name] = null;
    this.#announce();
  }

  closeAll() {
    this.#paused = false;
    this.#muted = false;
    for (const name of /** @type {SourceName[]} */ (["microphone", "camera", "screen"])) this.close(name);
  }

  /**
   * @param {SourceName} name
   * @param {() => Promise<MediaStream>} request
   * @returns {Promise<MediaStreamTrack>}
   */
  async #open(name, request) {
    const open = this.#tracks[name];
    if (open?.readyState === "live") return open;
    // Outside a secure context the browser does not offer media devices at all (Media Capture and Streams section 9).
    if (!navigator.mediaDevices) throw new MediaError(name, "missing", null);
    let stream;
    try {
      stream = await request();
    } catch (cause) {
      throw MediaError.from(name, cause);
    }
    const [track] = stream.getTracks();
    track.contentHint = name === "screen" ? "detail" : "";
    track.onended = () => {
      this.close(name);
      if (name === "screen") this.emit("screen-ended", null);
    };
    this.#tracks[name] = track;
    this.#announce();
    return track;
  }

  #announce() {
    const { microphone, camera, screen } = this.#tracks;
    if (microphone) microphone.enabled = !this.#muted && !this.#paused;
    if (camera) camera.enabled = !this.#paused;
    if (screen) screen.enabled = !this.#paused;
    this.emit("change", null);
  }
}

/** @param {string} deviceId */
function wish(deviceId) {
  return deviceId ? { deviceId: { ideal: deviceId } } : {};
}
