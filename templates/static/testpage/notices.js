import { nameOf } from "./stage.js";
import { sweepToasts, toast } from "./toasts.js";
import { addedWords, deviceWords, noticeWords } from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Notice} Notice
 * @typedef {import("../sbe/devices.js").DeviceChange} DeviceChange
 * @typedef {import("./toasts.js").ToastOptions} ToastOptions
 * @typedef {Pick<ToastOptions, "subject" | "holds">} About
 */

/**
 * Show what `SbeClient` reports about the call and the devices as toasts.
 *
 * @param {SbeClient} client
 */
export function showNotices(client) {
  const { media } = client;
  const isInCall = () => isGoingOn(client);
  client.on("notice", (notice) => {
    if (isSaidByTheEnd(client, notice)) return;
    const words = noticeWords(notice, client.currentCall ? nameOf(client.currentCall) : "The other side");
    if (words) toast(words.text, { bad: words.bad, ...aboutNotice(client, notice) });
  });
  /** The latest change of the devices. @type {DeviceChange | null} */
  let latest = null;
  media.on("device-lost", (event) => {
    const { device } = event;
    const holds = () => isInCall() && media.lost.includes(device);
    toast(deviceWords("lost", event), { bad: true, subject: device, holds });
  });
  media.on("device-back", (event) => {
    const { length } = media.lost;
    const holds = () => media[event.device] !== null && media.lost.length <= length;
    toast(deviceWords("back", event), { subject: "devices", holds });
  });
  media.on("devices-changed", (change) => {
    latest = change;
    // A device that replaces a lost one is announced once it works.
    const words = isInCall() && media.lost.length === 0 ? addedWords(change.added) : null;
    if (words) toast(words, { subject: "devices", holds: () => latest === change && media.lost.length === 0 });
    else sweepToasts();
  });
}

/**
 * Return the subject of a notice, and whether it is still true.
 *
 * @param {SbeClient} client
 * @param {Notice} notice
 * @returns {About}
 */
export function aboutNotice(client, { code, kind, who }) {
  const { media, currentCall: call } = client;
  switch (code) {
    case "left": {
      const count = () => call?.others.filter(({ username }) => username === who).length ?? 0;
      const before = count();
      // Another one means that they are back.
      return { subject: `left ${who}`, holds: () => count() <= before };
    }
    case "muted-by-host":
      return kind === "audio"
        ? { subject: "microphone", holds: () => media.muted }
        : { subject: "camera", holds: () => media.camera === null };
    case "mine-rejected":
    case "mine-expired":
    case "theirs-cancelled":
    case "theirs-expired":
    case "unusable-offer":
      return { subject: "change" };
    case "move-expired":
      return { subject: code, holds: () => call?.state === "on-hold" };
    case "media-lost":
      return { subject: code, holds: () => isGoingOn(client) && call?.connection !== "connected" };
    case "session-over":
      return { subject: "unauthenticated", holds: () => client.session === null };
    default:
      return {};
  }
}

/** @param {SbeClient} client */
function isGoingOn({ currentCall: call }) {
  return call !== null && !["ended", "moved"].includes(call.state);
}

/**
 * Whether the call ends because the last other participant left. The end screen says so.
 *
 * @param {SbeClient} client
 * @param {Notice} notice
 */
function isSaidByTheEnd({ currentCall: call }, { code }) {
  return code === "left" && call !== null && call.others.length === 0 && call.conference?.access !== "open";
}
