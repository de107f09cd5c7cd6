import { byId, make, setText } from "./dom.js";
import { prefer, preferences } from "./preferences.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {"camera" | "microphone" | "speaker"} DeviceName
 */

/** @type {Record<DeviceName, MediaDeviceKind>} */
const KINDS = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" };
const NAMES = /** @type {DeviceName[]} */ (Object.keys(KINDS));

/** The settings dialog: devices, the switches, and signing off. */
export class Settings {
  #dialog = /** @type {HTMLDialogElement} */ (byId("settings-dialog"));

  /**
   * @param {SbeClient} client
   * @param {object} actions
   * @param {(name: DeviceName, deviceId: string) => void} actions.onDevice
   * @param {() => void} actions.onSignOff
   */
  constructor(client, { onDevice, onSignOff }) {
    this.client = client;
    byId("btn-settings").addEventListener("click", () => void this.open());
    byId("settings-close").addEventListener("click", () => this.#dialog.close());
    byId("sign-off").addEventListener("click", () => {
      this.#dialog.close();
      onSignOff();
    });
    for (const name of NAMES) {
      const select = selectOf(name);
      select.addEventListener("change", () => {
        onDevice(name, select.value);
      });
    }
    this.#bindSwitch("ask-switch", "ask");
    this.#bindSwitch("ring-switch", "ring");
    this.#bindSwitch("keys-switch", "keys");
    this.#bindSwitch("direct-switch", "direct");
    navigator.mediaDevices?.addEventListener("devicechange", () => {
      if (this.#dialog.open) void this.#listDevices();
    });
    // Some browsers cannot choose a speaker.
    byId("speaker-field").hidden = !("setSinkId" in HTMLMediaElement.prototype);
    this.apply();
  }

  /** Pass the choices on to the client. */
  apply() {
    this.client.askBeforeAccepting = preferences.ask;
    this.client.media.preferred = { camera: preferences.camera, microphone: preferences.microphone };
  }

  async open() {
    const { session } = this.client;
    byId("signed-in").hidden = session === null;
    if (session) {
      setText(byId("signed-in-name"), session.username);
      setText(byId("signed-in-detail"), [session.device, session.vtn, session.icmn].filter(Boolean).join(" · "));
    }
    this.#checkbox("ask-switch").checked = this.client.askBeforeAccepting;
    this.#checkbox("ring-switch").checked = preferences.ring;
    this.#dialog.showModal();
    await this.#listDevices();
  }

  async #listDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    for (const name of NAMES) {
      const found = devicesOf(name, devices);
      const options = found.map(({ deviceId, label }) => make("option", { value: deviceId }, label));
      const select = selectOf(name);
      select.replaceChildren(make("option", { value: "" }, "System default"), ...options);
      select.value = found.some(({ deviceId }) => deviceId === preferences[name]) ? preferences[name] : "";
    }
    byId("devices-hint").hidden = devices.some(({ label }) => label !== "");
  }

  /** @param {string} id */
  #checkbox(id) {
    return /** @type {HTMLInputElement} */ (byId(id));
  }

  /** @param {string} id @param {"ask" | "ring" | "keys" | "direct"} preference */
  #bindSwitch(id, preference) {
    const box = this.#checkbox(id);
    box.checked = preferences[preference];
    box.addEventListener("change", () => {
      prefer({ [preference]: box.checked });
      this.apply();
    });
  }
}

/**
 * Return the devices that a user can choose. The browser hides their names until the page may use one.
 *
 * @param {DeviceName} name
 * @param {MediaDeviceInfo[]} devices
 */
export function devicesOf(name, devices) {
  return devices
    .filter(({ kind, deviceId }) => kind === KINDS[name] && !["", "default", "communications"].includes(deviceId))
    .map(({ deviceId, label }, index) => ({ deviceId, label: label || `${name} ${index + 1}` }));
}

/** @param {DeviceName} name */
function selectOf(name) {
  return /** @type {HTMLSelectElement} */ (byId(`select-${name}`));
}
