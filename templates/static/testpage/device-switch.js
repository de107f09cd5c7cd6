import { byId, setIcon } from "./dom.js";

const LOOKS = {
  camera: { on: "Turn the camera off", off: "Turn the camera on", icon: "video" },
  microphone: { on: "Mute the microphone", off: "Unmute the microphone", icon: "mic" },
};

/**
 * Draw a round button that switches a device before a call. Its name says what a press does.
 *
 * @param {string} id of the button
 * @param {keyof typeof LOOKS} name
 * @param {boolean} isOn
 */
export function drawSwitch(id, name, isOn) {
  const { on, off, icon } = LOOKS[name];
  const button = byId(id);
  setIcon(button, isOn ? icon : `${icon}-off`);
  button.setAttribute("aria-label", isOn ? on : off);
  button.title = isOn ? on : off;
  button.dataset.on = String(isOn);
}
