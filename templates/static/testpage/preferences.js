/* Choices that outlive the tab. If storage is forbidden, they last as long as the page. */

const KEY = "sbe.preferences";
const DEFAULTS = {
  ask: false,
  ring: true,
  keys: true,
  direct: false,
  camera: "",
  microphone: "",
  speaker: "",
  /** When the newest dismissed missed call of each user began. */
  missedSeen: /** @type {Record<string, string>} */ ({}),
};

/** @typedef {typeof DEFAULTS} Preferences */

/** @type {Preferences} */
export const preferences = { ...DEFAULTS, ...stored() };

/** @param {Partial<Preferences>} changes */
export function prefer(changes) {
  Object.assign(preferences, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // See above.
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}
