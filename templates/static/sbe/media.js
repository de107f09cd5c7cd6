import { changeOf, isAllowed, listDevices, mayReturn } from "./devices.js";
import { Emitter } from "./emitter.js";
import { MediaError } from "./errors.js";

/**
 * @typedef {import("./devices.js").Device} Device
 * @typedef {import("./devices.js").DeviceChange} DeviceChange
 * @typedef {import("./devices.js").DeviceName} DeviceName
 *
 * @typedef {"microphone" | "camera" | "screen"} SourceName
 *
 * @typedef {object} LocalMediaEvents
 * @property {null} change
 * @property {null} screen-ended the user has ended the screen share with the browser's own button
 * @property {{device: DeviceName, label: string}} device-lost an open device was unplugged, or its permission was revoked
 * @property {{device: DeviceName, label: string}} device-back a device is open again after a loss
 * @property {DeviceChange} devices-changed devices were plugged in or unplugged
 */

/**
 * The tracks that this side can send: at most one each from a microphone, a camera and a screen.
 *
 * A muted microphone stays open and sends silence. A camera that is off is closed, so that its light goes out. While
 * `paused` (on hold), every track is disabled.
 *
 * A lost microphone counts as muted. A lost device is opened again when it is back, or when the user opens another.
 *
 * @extends {Emitter<LocalMediaEvents & Record<string, unknown>>}
 */
export class LocalMedia extends Emitter {
  /** @type {Record<SourceName, MediaStreamTrack | null>} */
  #tracks = { microphone: null, camera: null, screen: null };
  #muted = false;
  #paused = false;
  /** @type {Device[]} */
  #devices = [];
  /** The lost devices, with their IDs. @type {Map<DeviceName, string>} */
  #lost = new Map();
  #isMutedByLoss = false;
  /** What was asked for when each device was opened: an ID, or empty for the default. */
  #requested = { microphone: "", camera: "" };

  constructor() {
    super();
    /** The preferred devices, by `deviceId`. Empty means the browser's default. */
    this.preferred = { microphone: "", camera: "" };
    globalThis.navigator?.mediaDevices?.addEventListener?.("devicechange", () => void this.#onDeviceChange());
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

  /** The devices that were lost and are not open again. */
  get lost() {
    return [...this.#lost.keys()];
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#isMutedByLoss = false;
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

  /**
   * @param {{deviceId?: string}} [options] the device to use from now on; empty for the default. An open track of another
   * device is replaced, without negotiation.
   * @throws {MediaError} An open track then stays as it was.
   */
  openMicrophone({ deviceId } = {}) {
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return this.#openDevice("microphone", deviceId, (device) => ({ audio: { ...audio, ...device } }));
  }

  /**
   * @param {{deviceId?: string}} [options] as for the microphone
   * @throws {MediaError} An open track then stays as it was.
   */
  openCamera({ deviceId } = {}) {
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    return this.#openDevice("camera", deviceId, (device) => ({ video: { ...video, ...device } }));
  }

  /** @throws {MediaError} `refused` also if the user closed the picker */
  openScreen() {
    return this.#open("screen", () =>
      navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false }),
    );
  }

  /** @param {SourceName} name */
  close(name) {
    if (name !== "screen") this.#lost.delete(name);
    const track = this.#tracks[name];
    if (track === null) return;
    stop(track);
    this.#tracks[name] = null;
    this.#announce();
  }

  closeAll() {
    this.#paused = false;
    this.#muted = this.#isMutedByLoss = false;
    for (const name in this.#tracks) this.close(/** @type {SourceName} */ (name));
  }

  /**
   * @param {DeviceName} name
   * @param {string | undefined} deviceId undefined for the preferred one, or for the one that is open
   * @param {(device: MediaTrackConstraints) => MediaStreamConstraints} constraints
   */
  async #openDevice(name, deviceId, constraints) {
    const replaces = deviceId !== undefined && !this.#uses(name, deviceId);
    const wanted = deviceId ?? this.preferred[name];
    const request = () => preferring(wanted, (device) => navigator.mediaDevices.getUserMedia(constraints(device)));
    const track = await this.#open(name, request, replaces);
    this.preferred[name] = this.#requested[name] = wanted;
    this.#devices = await listDevices();
    return track;
  }

  /** @param {DeviceName} name @param {string} deviceId empty for the default */
  #uses(name, deviceId) {
    if (deviceId === "") return this.#requested[name] === "";
    // The requested device may have been gone.
    return this.#tracks[name]?.getSettings().deviceId === deviceId;
  }

  /**
   * @param {SourceName} name
   * @param {() => Promise<MediaStream>} request
   * @param {boolean} [replaces] open a track even if one is open
   * @returns {Promise<MediaStreamTrack>}
   */
  async #open(name, request, replaces = false) {
    const open = this.#tracks[name];
    if (open?.readyState === "live" && !replaces) return open;
    // Outside a secure context there are no media devices (Media Capture and Streams section 9).
    if (!navigator.mediaDevices) throw new MediaError(name, "missing", null);
    let stream;
    try {
      stream = await request();
    } catch (cause) {
      throw MediaError.from(name, cause);
    }
    const [track] = stream.getTracks();
    const replaced = this.#tracks[name];
    // The user closed the old track while the new one was being opened.
    if (open?.readyState === "live" && replaced !== open) return stop(track);
    if (replaced) stop(replaced);
    track.contentHint = name === "screen" ? "detail" : "";
    track.onended = () => this.#onEnded(name, track);
    this.#tracks[name] = track;
    this.#onOpened(name, track);
    return track;
  }

  /** @param {SourceName} name @param {MediaStreamTrack} track */
  #onOpened(name, track) {
    const isBack = name !== "screen" && this.#lost.delete(name);
    if (name === "microphone" && this.#isMutedByLoss) this.#muted = this.#isMutedByLoss = false;
    this.#announce();
    if (isBack) this.emit("device-back", { device: name, label: track.label });
  }

  /** The browser has ended a track. @param {SourceName} name @param {MediaStreamTrack} track */
  #onEnded(name, track) {
    this.close(name);
    if (name === "screen") return this.emit("screen-ended", null);
    this.#lost.set(name, track.getSettings().deviceId ?? "");
    if (name === "microphone" && !this.#muted) {
      this.muted = true;
      this.#isMutedByLoss = true;
    }
    this.emit("device-lost", { device: name, label: track.label });
    void this.#onDeviceChange();
  }

  async #onDeviceChange() {
    const change = changeOf(this.#devices, await listDevices());
    const isNews = this.#devices.length > 0 && change.added.length + change.removed.length > 0;
    this.#devices = change.devices;
    if (isNews) this.emit("devices-changed", change);
    for (const [name, lost] of [...this.#lost]) await this.#bringBack(name, lost);
  }

  /** Open a lost device again, if that is possible without asking the user. @param {DeviceName} name @param {string} lost */
  async #bringBack(name, lost) {
    const chosen = this.preferred[name];
    if (!mayReturn(name, { chosen, lost }, this.#devices) || !(await isAllowed(name)) || !this.#lost.has(name)) return;
    try {
      await (name === "camera" ? this.openCamera() : this.openMicrophone());
    } catch {
      // It stays lost. The next change of the devices tries again.
    }
  }

  #announce() {
    for (const track of Object.values(this.#tracks))
      if (track) track.enabled = !this.#paused && !(this.#muted && track === this.microphone);
    this.emit("change", null);
  }
}

/** Stop a track for good. @param {MediaStreamTrack} track */
function stop(track) {
  track.onended = null;
  track.stop();
  return track;
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
