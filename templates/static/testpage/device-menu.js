import { byId, make } from "./dom.js";
import { moveInMenu } from "./menu-keys.js";
import { preferences } from "./preferences.js";
import { devicesOf } from "./settings.js";

/**
 * @typedef {import("./settings.js").DeviceName} DeviceName
 */

const MARGIN = 8;
/** @type {Record<DeviceName, string>} */
const TITLES = { camera: "Camera", microphone: "Microphone", speaker: "Speaker" };
/** The devices that each button lists. @type {Record<string, DeviceName[]>} */
const BUTTONS = { "btn-mic-devices": ["microphone", "speaker"], "btn-camera-devices": ["camera"] };

/** The menus beside the microphone and camera buttons, which list the devices (ARIA Authoring Practices, menu button). */
export class DeviceMenu {
  #menu = byId("device-menu");
  /** @type {HTMLElement | null} */
  #button = null;

  /** @param {(name: DeviceName, deviceId: string) => void} onChoice */
  constructor(onChoice) {
    this.onChoice = onChoice;
    for (const [id, names] of Object.entries(BUTTONS)) {
      byId(id).addEventListener("click", () => void this.#open(byId(id), names));
    }
    addEventListener("resize", () => this.close());
    this.#menu.addEventListener("keydown", (event) => this.#onKey(event));
    this.#menu.addEventListener("toggle", (event) => {
      const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
      this.#button?.setAttribute("aria-expanded", String(isOpen));
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.close());
  }

  close() {
    this.#menu.hidePopover();
  }

  /** @param {HTMLElement} button @param {DeviceName[]} names */
  async #open(button, names) {
    this.#button = button;
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;
    const shown = names.filter((name) => name !== "speaker" || canChooseSpeaker);
    this.#menu.replaceChildren(...shown.map((name) => this.#group(name, devices)));
    this.#menu.setAttribute("aria-label", shown.map((name) => TITLES[name]).join(" and "));
    this.#menu.showPopover();
    const { left, top } = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    this.#menu.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`;
    this.#menu.style.top = `${Math.max(MARGIN, top - height - MARGIN)}px`;
    (this.#items.find((item) => item.ariaChecked === "true") ?? this.#items[0])?.focus();
  }

  /** @param {DeviceName} name @param {MediaDeviceInfo[]} devices */
  #group(name, devices) {
    const found = devicesOf(name, devices);
    const chosen = found.some(({ deviceId }) => deviceId === preferences[name]) ? preferences[name] : "";
    const choices = [{ deviceId: "", label: "System default" }, ...found];
    return make(
      "div",
      { "role": "group", "aria-label": TITLES[name] },
      make("p", { "class": "menu-title", "aria-hidden": "true" }, TITLES[name]),
      ...choices.map(({ deviceId, label }) => this.#item(name, deviceId, label, deviceId === chosen)),
    );
  }

  /** @param {DeviceName} name @param {string} deviceId @param {string} label @param {boolean} isChosen */
  #item(name, deviceId, label, isChosen) {
    const item = make(
      "button",
      { "type": "button", "role": "menuitemradio", "class": "menu-item", "aria-checked": String(isChosen) },
      make("span", {}, label),
    );
    item.dataset.testid = `device-${name}`;
    item.addEventListener("click", () => {
      this.close();
      this.#button?.focus();
      this.onChoice(name, deviceId);
    });
    return item;
  }

  get #items() {
    return [...this.#menu.querySelectorAll("button")];
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    moveInMenu(event, this.#items, () => this.close());
  }
}
