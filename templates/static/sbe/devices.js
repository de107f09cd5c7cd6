/* Which cameras and microphones there are. */

/**
 * @typedef {"microphone" | "camera"} DeviceName
 *
 * @typedef {Pick<MediaDeviceInfo, "kind" | "deviceId" | "label">} Device
 *
 * @typedef {object} DeviceChange
 * @property {Device[]} devices all that are there now
 * @property {Device[]} added
 * @property {Device[]} removed
 */

/** @type {Record<DeviceName, MediaDeviceKind>} */
export const KINDS = { microphone: "audioinput", camera: "videoinput" };

// Not devices, but the system's choice among them.
const ALIASES = ["default", "communications"];

/** Return the devices that are there now. Before the page may use any device, the browser hides most of them. */
export async function listDevices() {
  const all = (await globalThis.navigator?.mediaDevices?.enumerateDevices?.()) ?? [];
  return all.filter(({ deviceId }) => deviceId !== "" && !ALIASES.includes(deviceId));
}

/**
 * @param {Device[]} before
 * @param {Device[]} devices
 * @returns {DeviceChange}
 */
export function changeOf(before, devices) {
  const without = (/** @type {Device[]} */ some, /** @type {Device[]} */ others) =>
    some.filter(({ kind, deviceId }) => !others.some((other) => other.kind === kind && other.deviceId === deviceId));
  return { devices, added: without(devices, before), removed: without(before, devices) };
}

/**
 * Return whether a lost device may be opened again without asking the user. A user who chose no microphone gets any. A
 * camera must be the same as before: another one would show something that the user does not expect.
 *
 * @param {DeviceName} name
 * @param {{chosen: string, lost: string}} ids the device that the user chose (empty for the default), and the lost one
 * @param {Device[]} devices that are there now
 */
export function mayReturn(name, { chosen, lost }, devices) {
  const ids = devices.filter(({ kind }) => kind === KINDS[name]).map(({ deviceId }) => deviceId);
  if (name === "microphone" && chosen === "") return ids.length > 0;
  return ids.includes(chosen || lost);
}

/** Whether the browser would open this device without asking the user. @param {DeviceName} name */
export async function isAllowed(name) {
  try {
    const { state } = await navigator.permissions.query({ name: /** @type {PermissionName} */ (name) });
    return state === "granted";
  } catch {
    // Some browsers do not tell.
    return true;
  }
}
