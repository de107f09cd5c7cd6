import { Emitter } from "./emitter.js";
import { MediaError } from "./errors.js";

/**
 * @typedef {"microphone" | "camera" | "screen"} SourceName
 */

/**
 * The tracks that this side can send: at most one each from a microphone, a camera and a screen.
 *
 * A muted microphone stays open and sends silence. A camera that is off is closed, so that its light goes out. While
 * `paused` (on hold), every track is disabled.
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
    /** The preferred devices, by `deviceId`. Empty means the browser's default. */
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
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return this.#open("microphone", () =>
      preferring(this.preferred.microphone, (device) =>
        navigator.mediaDevices.getUserMedia({ audio: { ...audio, ...device } }),
      ),
    );
  }

  /** @throws {MediaError} */
  openCamera() {
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    return this.#open("camera", () =>
      preferring(this.preferred.camera, (device) =>
        navigator.mediaDevices.getUserMedia({ video: { ...video, ...device } }),
      ),
    );
  }

  /** @throws {MediaError} `refused` also if the user closed the picker */
  openScreen() {
    return this.#open("screen", () =>
      navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false }),
    );
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
    // Outside a secure context there are no media devices (Media Capture and Streams section 9).
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

/**
 * Open the preferred device, or any other if it is gone. The device is requested as `exact`. If it were only `ideal`,
 * the browser would weigh the device against the other constraints and might prefer one with a better picture.
 *
 * @param {string} deviceId empty for no preference
 * @param {(device: MediaTrackConstraints) => Promise<MediaStream>} request
 */
async function preferring(deviceId, request) {
  if (!deviceId) return request({});
  try {
    return await request({ deviceId: { exact: deviceId } });
  } catch (error) {
    if (error instanceof Error && ["OverconstrainedError", "NotFoundError"].includes(error.name)) return request({});
    throw error;
  }
}
